"""An adapter as it is named and where it comes from: plain data, without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from everlearn.errors import CorruptWeightsError, SettingsError

FORM = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One version of a domain's low-rank weights, with its lineage.

    Attributes:
        name: of the domain, for example "support".
        step: its version, from 1; 0 = not kept yet.
        base: name of the base model.
        base_digest: sha256 hex of the base model's weights; on any other it is refused.
        parent: `name@step` that training began from; empty = from nothing.
        lessons: ids of all lessons that went into it, those of its parents included.
        answers: those of them that the weights answer by themselves: their rows in look-up tables retire.
        data: name of each other data set that went into it -> sha256 hex of its bytes.
        settings: what it was trained with.
        weights: sha256 hex of its tensors.
        created_at: when it was kept.
    """

    name: str
    base: str
    base_digest: str
    step: int = 0
    parent: str = ""
    lessons: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    created_at: datetime | None = None

    @property
    def id(self) -> str:
        """`name@step`, which never means two things."""
        return f"{self.name}@{self.step}"


def checked_name(name: str) -> str:
    """The name, if it can name an adapter.

    Raises:
        SettingsError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot name an adapter.",
            hint="Use letters, digits, '-' and '_', at most 64, a letter or digit first.",
        )
    return name


def parsed(spoken: str) -> tuple[str, int | None]:
    """The name and the step of "name@step"; the step is None where only a name was given.

    Raises:
        SettingsError: neither of the two.
    """
    name, at, step = spoken.partition("@")
    if at and not (step.isascii() and step.isdigit() and int(step) > 0):
        raise SettingsError(f"{spoken!r} names no adapter.", hint="Wanted: name or name@step, for example support@3.")
    return checked_name(name), int(step) if at else None


def to_json(adapter: Adapter) -> str:
    """The lineage as JSON."""
    moment = (adapter.created_at or datetime.now(UTC)).isoformat()
    return json.dumps({"form": FORM, **asdict(adapter), "created_at": moment}, indent=1, sort_keys=True) + "\n"


def from_json(text: str, where: str) -> Adapter:
    """Read what `to_json` wrote.

    Args:
        text: JSON.
        where: it was read from, for the message.

    Raises:
        CorruptWeightsError: damaged, or of a newer form.
    """
    hint = "Delete that version, or copy it again."
    try:
        values = json.loads(text)
        form = values.pop("form")
        if form > FORM:
            raise CorruptWeightsError(f"{where} has form {form}, newer than {FORM}.", hint="Update everlearn.")
        moment = datetime.fromisoformat(values.pop("created_at"))
        values["lessons"], values["answers"] = tuple(values["lessons"]), tuple(values["answers"])
        return Adapter(**values, created_at=moment)
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise CorruptWeightsError(f"{where} cannot be read: {cause}.", hint=hint) from cause
