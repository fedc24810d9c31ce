"""Personal data taken out of a text that comes in pieces.

What may still become part of something that is to be taken out is held back: no piece ever shows the first half of a
card number. What comes out, put together, is what `redacted` makes of the whole text, however it was cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from everlearn.safety.flag import Flag
from everlearn.safety.phrases import recogniser_of
from everlearn.safety.pii import Patch, flags_of, patches, recognisers
from everlearn.safety.plain import Plain, plain, unfinished
from everlearn.safety.policy import Action, worst
from everlearn.safety.recogniser import LOOK_BACK

_SHARE = 16  # what is held back is looked at again once it has grown by this part: a long key is not read once a letter
_LONG = 1000  # characters that take milliseconds


@final
@dataclass(frozen=True, slots=True)
class Cleared:
    """What of a text may be shown.

    Attributes:
        text: it, what was taken out replaced.
        flags: what was found in it.
        blocked: something was found that ends the text here.
    """

    text: str = ""
    flags: tuple[Flag, ...] = ()
    blocked: bool = False


@final
class HeldText:
    """A text in the making.

    Args:
        actions: what is done with each kind of personal data, and with the category "phrase"; of what is not named
            nothing is looked for.
        phrases: that "phrase" means, in small letters.
    """

    def __init__(self, actions: Mapping[str, Action], phrases: Sequence[str] = ()) -> None:
        self._actions = {kind: action for kind, action in actions.items() if action != "allow"}
        self._recognisers = recognisers(self._actions)
        if phrases and "phrase" in self._actions:
            self._recognisers += (recogniser_of(tuple(phrases)),)
        self._left = ""  # the end of what was cleared, as it came: what stands behind may depend on it
        self._held = ""
        self._fresh: list[str] = []  # pieces that were not looked at yet, and how long they are together
        self._more = 0
        self._passed = 0

    @property
    def long(self) -> bool:
        """Whether so much is held back that the next piece takes milliseconds."""
        return len(self._held) + self._more > _LONG

    def feed(self, piece: str) -> Cleared:
        """Take a piece; returns what can be shown now."""
        if not self._recognisers:
            return Cleared(piece)
        self._fresh.append(piece)
        self._more += len(piece)
        if self._more * _SHARE < len(self._held):
            return Cleared()
        return self._clear(last=False)

    def end(self) -> Cleared:
        """The text is whole; returns what was held back."""
        return self._clear(last=True) if self._held or self._fresh else Cleared()

    def _clear(self, *, last: bool) -> Cleared:
        self._held += "".join(self._fresh)
        self._fresh, self._more = [], 0
        text, begin = self._left + self._held, len(self._left)
        read = plain(text if last else text[: unfinished(text)])
        found = patches([flag for flag in flags_of(read, self._recognisers) if flag.start >= begin])
        cut = len(text) if last else self._cut(read, found)
        if cut <= begin:
            return Cleared()
        parts: list[str] = []
        flags: list[Flag] = []
        at, blocked = begin, False
        for patch in found:
            if patch.start >= cut:
                break
            flags += self._moved(patch, self._passed - begin)
            action = worst(self._actions[flag.category] for flag in patch.flags)
            if action in ("redact", "block"):
                parts += [text[at : patch.start], patch.label if action == "redact" else ""]
                at = patch.end
            if action == "block":
                blocked = True
                break
        if not blocked:
            parts.append(text[at:cut])
        self._keep(read, text, cut)
        self._passed += cut - begin
        return Cleared("".join(parts), tuple(flags), blocked)

    def _cut(self, read: Plain, found: Collection[Patch]) -> int:
        """Up to where nothing can change any more, whatever comes."""
        cut = read.origin(min(each.open_from(read.text) for each in self._recognisers))
        return next((patch.start for patch in found if patch.start < cut < patch.end), cut)

    def _keep(self, read: Plain, text: str, cut: int) -> None:
        self._left = text[read.origin(max(0, read.place(cut) - LOOK_BACK - 1)) : cut]
        self._held = text[cut:]

    @staticmethod
    def _moved(patch: Patch, by: int) -> list[Flag]:
        return [Flag(f.category, f.score, f.start + by, f.end + by, f.rule) for f in patch.flags]


def cleared(text: str, actions: Mapping[str, Action], phrases: Sequence[str] = ()) -> Cleared:
    """What of a whole text may be shown; the same as its pieces give."""
    held = HeldText(actions, phrases)
    first = held.feed(text)
    if first.blocked:
        return first
    rest = held.end()
    return Cleared(first.text + rest.text, first.flags + rest.flags, rest.blocked)
