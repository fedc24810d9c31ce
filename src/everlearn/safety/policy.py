"""What a tenant wants done with what is found: plain data, read and set by its administrators."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final, get_args

from everlearn.errors import SettingsError
from everlearn.safety.flag import CATEGORIES, PII_KINDS

Action = Literal["allow", "flag", "redact", "block"]
Stage = Literal["input", "lesson", "recalled", "output"]
ACTIONS: tuple[Action, ...] = get_args(Action)
STAGES: tuple[Stage, ...] = get_args(Stage)
_REDACTABLE = frozenset({*PII_KINDS, "phrase"})
_MOST_PHRASES, _LONGEST_PHRASE = 1000, 200


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with what is found, and where it is looked for. By default nothing is.

    Attributes:
        actions: kind of personal data or category -> "allow" (not looked for), "flag" (counted and told, nothing
            changes), "redact" (taken out, personal data and phrases only) or "block".
        stages: where it is looked for: in messages that come in, lessons, lessons that are recalled, answers.
        phrases: words that the category "phrase" means, compared without case.
    """

    actions: Mapping[str, Action] = field(default_factory=dict)
    stages: tuple[Stage, ...] = STAGES
    phrases: tuple[str, ...] = ()

    def action(self, category: str) -> Action:
        """What is done with a kind or category."""
        return self.actions.get(category, "allow")

    def at(self, stage: Stage) -> Mapping[str, Action]:
        """What is looked for at a stage, and what is done with it; empty where nothing is."""
        if stage not in self.stages:
            return {}
        return {name: action for name, action in self.actions.items() if action != "allow"}

    def told(self) -> dict[str, Any]:
        """As the API and the store have it: every name with its action."""
        actions = {name: self.action(name) for name in (*PII_KINDS, *CATEGORIES)}
        return {"actions": actions, "stages": list(self.stages), "phrases": list(self.phrases)}


def policy_of(given: Mapping[str, Any], base: Policy | None = None) -> Policy:
    """A policy from plain data, laid over another; "pii" stands for every kind of personal data.

    Raises:
        SettingsError: a name, action or stage that does not exist, or an action that does not fit its category.
    """
    policy = base or Policy()
    if unknown := set(given) - {"actions", "stages", "phrases"}:
        raise SettingsError(f"A policy has no {_named(unknown)}.", hint="It has actions, stages and phrases.")
    actions, stages, phrases = given.get("actions", {}), given.get("stages"), given.get("phrases")
    if not isinstance(actions, Mapping):
        raise SettingsError("actions is no object.", hint='For example: {"credit_card": "redact"}.')
    policy = replace(policy, actions={**policy.actions, **_actions(actions)})
    if stages is not None:
        policy = replace(policy, stages=_stages(stages))
    if phrases is not None:
        policy = replace(policy, phrases=_phrases(phrases))
    return policy


def policy_of_words(words: Iterable[str]) -> Policy:
    """A policy from words such as "pii=redact" and "hate=block"; later ones win.

    Raises:
        SettingsError: a word of another form, or as for `policy_of`.
    """
    policy = Policy()
    for word in words:
        name, sign, action = word.partition("=")
        if not sign:
            raise SettingsError(f"The filter {word!r} names no action.", hint="For example: pii=redact, hate=block.")
        policy = policy_of({"actions": {name.strip(): action.strip()}}, policy)
    return policy


def worst(actions: Iterable[Action]) -> Action:
    """The strongest of some actions."""
    return max(actions, key=ACTIONS.index, default="allow")


def _actions(given: Mapping[Any, Any]) -> dict[str, Action]:
    found: dict[str, Action] = {}
    for name, action in given.items():
        if name != "pii" and name not in PII_KINDS and name not in CATEGORIES:
            near = difflib.get_close_matches(str(name), (*PII_KINDS, *CATEGORIES, "pii"), n=1)
            known = f"Known are: pii, {', '.join((*PII_KINDS, *CATEGORIES))}."
            raise SettingsError(f"There is no filter {name!r}.", hint=f"Did you mean {near[0]}?" if near else known)
        if action not in ACTIONS:
            raise SettingsError(f"The action of {name} is {action!r}.", hint=f"Wanted: {', '.join(ACTIONS)}.")
        if action == "redact" and name != "pii" and name not in _REDACTABLE:
            raise SettingsError(f"{name} cannot be redacted.", hint="It judges whole sentences: allow, flag or block.")
        found |= dict.fromkeys(PII_KINDS if name == "pii" else (name,), action)
    return found


def _stages(given: Any) -> tuple[Stage, ...]:  # noqa: ANN401 -- plain data of a client
    if not isinstance(given, list | tuple) or any(stage not in STAGES for stage in given):
        raise SettingsError(f"stages is {given!r}.", hint=f"Wanted: a list of {', '.join(STAGES)}.")
    return tuple(stage for stage in STAGES if stage in given)


def _phrases(given: Any) -> tuple[str, ...]:  # noqa: ANN401 -- plain data of a client
    fits = isinstance(given, list | tuple) and all(isinstance(p, str) and p.strip() for p in given)
    if not fits or len(given) > _MOST_PHRASES or any(len(p) > _LONGEST_PHRASE for p in given):
        raise SettingsError(
            "phrases is no list of phrases.", hint=f"At most {_MOST_PHRASES:,}, each of 1 to {_LONGEST_PHRASE} letters."
        )
    return tuple(dict.fromkeys(" ".join(p.casefold().split()) for p in given))


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, names)))
