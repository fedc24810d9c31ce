"""An answer on its way out: judged sentence by sentence, personal data taken out, before anybody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from everlearn.safety.flag import Flag
from everlearn.safety.harm import is_short, units
from everlearn.safety.held import Cleared, HeldText
from everlearn.safety.policy import Policy
from everlearn.safety.screen import Screen, categories_at, personal


@final
class Outgoing:
    """One answer.

    Where categories are judged a sentence is shown when it is whole and was judged; else text is held back only as far
    as personal data may still come of it.

    Args:
        screen: judges.
        policy: of the tenant.

    Attributes:
        flags: all that was found so far.
        blocked: the answer ends here.
    """

    def __init__(self, screen: Screen, policy: Policy) -> None:
        self._screen = screen
        self._actions = policy.at("output")
        self._categories = categories_at(self._actions, "output")
        self._held = HeldText(personal(self._actions), policy.phrases)
        self._unit = ""
        self._before = ""
        self._passed = 0
        self.flags: list[Flag] = []
        self.blocked = False

    @property
    def looks(self) -> bool:
        """Whether anything is looked for at all."""
        return bool(self._actions)

    @property
    def slow(self) -> bool:
        """Whether the next piece takes milliseconds: sentences are judged, or much is held back."""
        return bool(self._categories) or self._held.long

    def feed(self, piece: str) -> str:
        """Take a piece; returns what can be shown now."""
        if self.blocked:
            return ""
        if not self._categories:
            return self._shown([self._held.feed(piece)])
        self._unit += piece
        whole = [text for text in self._units() if text]
        return self._judged(whole)

    def end(self) -> str:
        """The answer is whole; returns what was held back."""
        if self.blocked:
            return ""
        last, self._unit = self._unit, ""
        shown = self._judged([last] if last else [])
        return shown if self.blocked else shown + self._shown([self._held.end()])

    def _units(self) -> list[str]:
        """Units that are whole; the last one may still grow."""
        *whole, last = units(self._unit) or [(0, 0)]
        texts = [self._unit[start:end] for start, end in whole]
        self._unit = self._unit[last[0] : last[1]]
        return texts

    def _judged(self, texts: Sequence[str]) -> str:
        parts: list[Cleared] = []
        for text in texts:
            before = self._before if is_short(text) else ""
            known = len(before)
            flags = [f for f in self._screen.flags(before + text, self._categories) if f.end > known]
            by = self._passed - known
            self.flags += [Flag(f.category, f.score, max(0, f.start + by), f.end + by, f.rule) for f in flags]
            if any(self._actions[f.category] == "block" and f.score > 0 for f in flags):
                shown = self._shown([*parts, self._held.end()])  # what stood before is cleared
                self.blocked = True
                return shown
            self._before, self._passed = text, self._passed + len(text)
            parts.append(self._held.feed(text))
            if parts[-1].blocked:
                break
        return self._shown(parts)

    def _shown(self, parts: Sequence[Cleared]) -> str:
        for part in parts:
            self.flags += part.flags
            self.blocked = self.blocked or part.blocked
        return "".join(part.text for part in parts)
