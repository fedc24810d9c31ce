"""The pipeline: a text is made plain, then rules, linear models and, where there is one, a guard model look at it.

Which of them look depends on the policy: what nobody wants anything done about is not looked for.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

from everlearn.errors import SettingsError
from everlearn.safety import harm, instructions
from everlearn.safety.flag import PII_KINDS, Flag
from everlearn.safety.guard_endpoint import GuardEndpoint
from everlearn.safety.held import cleared
from everlearn.safety.hidden import hidden_characters, markers, seen, unseen_parts
from everlearn.safety.policy import Action, Policy, Stage

_MOST_KEPT = 4096
# Where each category means something. Orders and hidden text in lessons are what the quarantine looks for.
JUDGED_AT: Mapping[Stage, frozenset[str]] = {
    "input": frozenset({"hate", "illicit", "prompt_injection", "hidden_text", "guard"}),
    "lesson": frozenset({"hate", "illicit", "guard"}),
    "recalled": frozenset({"hate", "illicit", "prompt_injection", "hidden_text"}),
    "output": frozenset({"hate", "illicit", "hidden_text", "guard"}),
}


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a text.

    Attributes:
        text: as it may be used: what was to be taken out replaced; where `blocked`, what stood before it.
        flags: what was found.
        blocked: it must not be used.
    """

    text: str
    flags: tuple[Flag, ...] = ()
    blocked: bool = False


@final
class Screen:
    """All checks of texts. Safe to use from several threads.

    Args:
        embed: texts -> unit vectors [N, K], of the encoder that keys are made with.
        encoder: its digest: the models of harm read vectors of one encoder only.
        guard: a guard model; None = there is none.
    """

    def __init__(self, embed: harm.Embed, encoder: str, guard: GuardEndpoint | None = None) -> None:
        self._embed, self._guard = embed, guard
        self._model = harm.packaged()
        self.judges_harm = encoder == self._model.encoder
        self._known: OrderedDict[tuple[bytes, frozenset[str]], tuple[Flag, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, policy: Policy) -> Policy:
        """The policy, if everything that it wants judged can be.

        Raises:
            SettingsError: a model is missing: there is none for this encoder, or no guard.
        """
        wanted = {name for name, action in policy.actions.items() if action != "allow"}
        if not self.judges_harm and (harms := wanted & set(harm.HARMS)):
            raise SettingsError(
                f"{', '.join(sorted(harms))} cannot be judged: the packaged models read another encoder.",
                hint="Use the default encoder, or a guard endpoint.",
            )
        if "guard" in wanted and self._guard is None:
            raise SettingsError("There is no guard to ask.", hint="Set guard_url (docs/settings.md).")
        if "phrase" in wanted and not policy.phrases:
            raise SettingsError("No phrases are named.", hint='Set "phrases" in the policy.')
        return policy

    def whole(self, text: str, policy: Policy, stage: Stage, *, personal_only: bool = False) -> Outcome:
        """Apply a policy to a whole text.

        Args:
            text: of any length.
            policy: of the tenant.
            stage: where the text stands.
            personal_only: look for personal data and phrases only, as in what the system or the model said before.
        """
        actions = policy.at(stage)
        if not actions or not text:
            return Outcome(text)
        harms = () if personal_only else self.flags(text, categories_at(actions, stage))
        blocking = [flag for flag in harms if actions[flag.category] == "block" and flag.score > 0]
        if blocking:
            cut = min(flag.start for flag in blocking)
            return Outcome(text[:cut], tuple(harms), blocked=True)
        found = cleared(text, personal(actions), policy.phrases)
        return Outcome(found.text, (*harms, *found.flags), found.blocked)

    def flags(self, text: str, categories: Collection[str]) -> tuple[Flag, ...]:
        """What rules and models find of some categories; personal data and phrases are `HeldText`'s matter."""
        if not categories:
            return ()
        place = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), frozenset(categories))
        with self._lock:
            known = self._known.get(place)
        if known is not None:
            return known
        found = (*_rules(text, categories), *self._harms(text, categories), *self._guarded(text, categories))
        if not any(flag.rule == "guard/unreachable" for flag in found):
            with self._lock:  # conversations come again and again with all that was said before
                self._known[place] = found
                while len(self._known) > _MOST_KEPT:
                    self._known.popitem(last=False)
        return found

    def harms(self, text: str) -> dict[str, tuple[float, bool]]:
        """The highest probability of each harm in a text, and whether it counts; empty where none can be judged."""
        if not self.judges_harm:
            return {}
        reads = harm.readings(text)
        if not reads:
            return dict.fromkeys(harm.HARMS, (0.0, False))
        vectors = self._embed([read for _, _, read in reads])
        most = {name: float(self._model.models[name].log_odds(vectors).max()) for name in harm.HARMS}
        return {
            name: (harm.probability(odds), odds >= self._model.models[name].threshold) for name, odds in most.items()
        }

    def _harms(self, text: str, categories: Collection[str]) -> list[Flag]:
        wanted = [name for name in harm.HARMS if name in categories]
        reads = harm.readings(text) if wanted and self.judges_harm else []
        if not reads:
            return []
        vectors = self._embed([read for _, _, read in reads])
        found = []
        for name in wanted:
            model = self._model.models[name]
            for (start, end, _), odds in zip(reads, model.log_odds(vectors).tolist(), strict=True):
                if odds >= model.threshold:
                    found.append(Flag(name, harm.probability(odds), start, end, f"model/{name}"))
        return found

    def _guarded(self, text: str, categories: Collection[str]) -> list[Flag]:
        return self._guard.judge(text) if self._guard is not None and "guard" in categories else []


def categories_at(actions: Mapping[str, Action], stage: Stage) -> frozenset[str]:
    """Categories of a policy's actions that are judged at a stage."""
    return JUDGED_AT[stage] & actions.keys()


def personal(actions: Mapping[str, Action]) -> dict[str, Action]:
    """Those of a policy's actions that are about personal data and phrases."""
    return {name: action for name, action in actions.items() if name in PII_KINDS or name == "phrase"}


def _rules(text: str, categories: Collection[str]) -> list[Flag]:
    found = []
    if "hidden_text" in categories and (hidden_characters(text) or markers(text)):
        found.append(Flag("hidden_text", 1.0, 0, len(text), "rule/hidden_text"))
    if "prompt_injection" in categories:
        model = instructions.packaged()
        odds = max(model.log_odds(part)[0] for part in (seen(text), *unseen_parts(text)))
        if odds >= model.threshold:
            found.append(Flag("prompt_injection", harm.probability(odds), 0, len(text), "model/prompt_injection"))
    return found
