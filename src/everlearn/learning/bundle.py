"""Bundles: a look-up table as something to share, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors

from everlearn.corpus.lesson_fields import row_of
from everlearn.engine.engine import Engine
from everlearn.errors import ConflictError, FileFormatError, InputError, WrongBaseError
from everlearn.learning import bundle_entries, bundle_files
from everlearn.learning.bundle_card import card
from everlearn.learning.checkpoint import check_links, lesson_in
from everlearn.learning.exchange import keep_values, packed_values
from everlearn.learning.quarantine import Watch
from everlearn.memory.correction import chosen_blocks
from everlearn.memory.phrase import Encoded
from everlearn.memory.sealed import Sealed, base_of, opened, packed
from everlearn.records import Lesson, TableSettings
from everlearn.store.ids import new_id
from everlearn.store.port import LessonQuery
from everlearn.store.rules import check_tables

Progress = Callable[[int, int], None]
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as read and checked.

    Attributes:
        manifest: as written.
        settings: of its table.
        lessons: with their history, oldest first.
        keys: lesson id -> what its key is made of, of active lessons.
        values: lesson id -> packed value, of active lessons.
    """

    manifest: Mapping[str, Any]
    settings: TableSettings
    lessons: tuple[Lesson, ...]
    keys: Mapping[str, Encoded]
    values: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        table: where the lessons are.
        active: lessons that can be asked.
        superseded: lessons kept as history.
        quarantined: lessons held back.
        derived: whether values are computed on this base model, instead of taken from the bundle.
    """

    table: str
    active: int
    superseded: int
    quarantined: int
    derived: bool


def export_table(
    engine: Engine,
    name: str,
    path: Path,
    *,
    licence: str = "unknown",
    force: bool = False,
    keys_and_values_only: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a table as a bundle; values that are missing are computed first. Returns its manifest.

    Lessons that are held back stay at home, and so do passages' windows, which are made again from the text. With
    `keys_and_values_only` no text of questions or answers goes along, nor history, passages, context pairs, sources,
    authors and domains; what can be read all the same stands in the bundle's card.

    Raises:
        TableNotFoundError: no such table.
        ConflictError: something is at `path` already, and `force` is not set.
        StoreFullError, StoreReadOnlyError: it cannot be written.
    """
    memory = engine.memory
    licence = " ".join(licence.split())  # it stands in a line of the card
    settings = memory.store.table(name)
    with memory.lock:
        memory.refresh()
        lessons = [le for le in memory.store.lessons(LessonQuery(table=name, limit=_ALL)) if le.status != "quarantined"]
    asked = [le for le in lessons if le.status == "active" and le.kind in ("pair", "context_pair")]
    values = packed_values(memory, asked, settings, progress)
    if keys_and_values_only:
        lessons, asked = _sealed(engine, [le for le in lessons if le.status == "active"], values), []
    about = _about(engine, name, settings, lessons)
    about |= {"licence": licence, "keys_and_values_only": keys_and_values_only}
    files = {
        bundle_files.CARD: card(about).encode(),
        bundle_files.LESSONS: b"".join((json.dumps(row_of(le), ensure_ascii=False) + "\n").encode() for le in lessons),
        bundle_files.ENTRIES: bundle_entries.to_bytes([le.id for le in asked], memory.encoded_of(asked), values),
    }
    bundle_files.write(path, files, about, force=force)
    return about


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check every byte of it.

    Raises:
        FileFormatError: it is no bundle, damaged, changed, or of a newer form; the message names the file.
    """
    manifest, files = bundle_files.read(path)
    try:
        table, fields = manifest["table"], dict(manifest["settings"])
        settings = TableSettings(**fields | {"blocks": tuple(fields["blocks"])})
        check_tables({table: settings})
        rows = [json.loads(line) for line in files[bundle_files.LESSONS].splitlines()]
        keys, values = bundle_entries.from_bytes(files[bundle_files.ENTRIES])
        str(manifest["base_model"]["digest"]), str(manifest["encoder"]["digest"])
    except (KeyError, TypeError, ValueError, AttributeError, InputError, safetensors.SafetensorError) as cause:
        raise FileFormatError(f"{path} cannot be used: {cause}", hint="Export it again.") from cause
    lessons = tuple(lesson_in(row, path) for row in rows)
    check_links({table: settings}, lessons, path)
    return Bundle(manifest, settings, lessons, keys, values)


def import_bundle(
    engine: Engine, bundle: Bundle, watch: Watch, *, table: str | None = None, derive: bool = False
) -> Imported:
    """Make a table of a bundle, durably and at once.

    Args:
        engine: whose memory it goes to.
        bundle: as read.
        watch: holds back lessons that look like poison: a bundle comes from elsewhere.
        table: another name for it.
        derive: compute values on this base model where the bundle was made on another.

    Raises:
        ConflictError: a table of this name holds lessons already.
        WrongBaseError: the bundle was made on another base model or encoder, and `derive` is not set.
        SettingsError: the table corrects a block that this model has not.
    """
    name, memory = table or str(bundle.manifest["table"]), engine.memory
    same_base = check_base(engine, bundle, derive=derive)
    settings = bundle.settings
    if not same_base:
        settings = dataclasses.replace(settings, blocks=())  # block numbers mean nothing on another model
    chosen_blocks(settings, engine.model.num_blocks)
    same_keys = bundle.manifest["encoder"]["digest"] == memory.keys.digest
    with memory.lock:
        if any(i.name == name and i.active + i.superseded + i.quarantined for i in memory.store.tables()):
            raise ConflictError(
                f"The table {name!r} holds lessons already.",
                hint="Import under another name with --table, then: everlearn tables merge",
            )
        lessons, names = _renamed(bundle.lessons, memory.store.lessons_by_id([le.id for le in bundle.lessons]), name)
        memory.store.put_table(name, settings)
        memory.refresh()
        lessons = [
            _watched(le, bundle.keys.get(old.id), watch) for le, old in zip(lessons, bundle.lessons, strict=True)
        ]
        memory.store.teach(lessons, {})
        active = {names[i] for i in bundle.keys} if same_keys else set[str]()
        memory.refresh({names[i]: key for i, key in bundle.keys.items() if names[i] in active})
        if same_base:
            keep_values(memory, {names[i]: value for i, value in bundle.values.items()}, settings)
    counts = {s: sum(le.status == s for le in lessons) for s in ("active", "superseded", "quarantined")}
    return Imported(name, **counts, derived=not same_base)


def check_base(engine: Engine, bundle: Bundle, *, derive: bool) -> bool:
    """Whether the values of a bundle hold on this base model.

    Raises:
        WrongBaseError: they do not, and are not to be derived again.
    """
    made, here = bundle.manifest["base_model"], engine.model
    base = base_of(here.digest, here.number_format)
    for entry in (opened(le.sealed) for le in bundle.lessons if le.kind == "sealed"):
        if (entry.encoder, entry.base) != (engine.memory.keys.digest, base):
            raise WrongBaseError(
                f"The bundle holds keys and values without text, made on {made['name']}; this is {here.name}.",
                hint="Without text nothing can be derived: ask for a bundle with text, or for one made on this model.",
            )
    same = (made["digest"], made["dtype"]) == (here.digest, here.number_format)
    if not same and not derive:
        raise WrongBaseError(
            f"The bundle was made on {made['name']} ({made['digest'][:12]}, {made['dtype']}); this is {here.name} "
            f"({here.digest[:12]}, {here.number_format}).",
            hint="Values are derived data: --derive computes them again on this base model, from the lessons' text.",
        )
    return same


def _watched(lesson: Lesson, encoded: Encoded | None, watch: Watch) -> Lesson:
    """The lesson, or the same held back."""
    if lesson.status != "active" or lesson.kind == "sealed":  # without text there is nothing to look at
        return lesson
    warnings = watch.warnings_alone(lesson, None if encoded is None else encoded.vector) if watch.holds else ()
    return dataclasses.replace(lesson, status="quarantined", quarantine=" ".join(warnings)) if warnings else lesson


def _sealed(engine: Engine, lessons: Sequence[Lesson], values: Mapping[str, bytes]) -> list[Lesson]:
    """Lessons without text: those that have none, and pairs reduced to key and value."""
    pairs = [le for le in lessons if le.kind == "pair"]
    encoded, keys = engine.memory.encoded_of(pairs), engine.memory.keys
    base = base_of(engine.model.digest, engine.model.number_format)
    bare = [
        Lesson(
            "",
            "",
            le.table,
            importance=le.importance,
            id=le.id,
            taught_at=le.taught_at,
            valid_from=le.valid_from,
            valid_to=le.valid_to,
            status="active",
            kind="sealed",
            sealed=packed(Sealed(keys.digest, base, encoded[le.id].vector, values[le.id])),
        )
        for le in pairs
    ]
    return [*(le for le in lessons if le.kind == "sealed"), *bare]


def _about(engine: Engine, name: str, settings: TableSettings, lessons: Sequence[Lesson]) -> dict[str, Any]:
    model, keys = engine.model, engine.memory.keys
    return {
        "table": name,
        "settings": dataclasses.asdict(dataclasses.replace(settings, layer="", owner="")),
        "base_model": {"name": model.name, "digest": model.digest, "dtype": model.number_format},
        "encoder": {"digest": keys.digest, "width": keys.width},
        "active": sum(le.status == "active" for le in lessons),
        "superseded": sum(le.status == "superseded" for le in lessons),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "everlearn": version("everlearn"),
    }


def _renamed(lessons: Sequence[Lesson], taken: Mapping[str, Lesson], table: str) -> tuple[list[Lesson], dict[str, str]]:
    """Lessons for a table, with new ids where theirs are taken; and old id -> new id."""
    names = {le.id: new_id() if le.id in taken else le.id for le in lessons}
    moved = [
        dataclasses.replace(le, id=names[le.id], table=table, superseded_by=names.get(le.superseded_by, ""))
        for le in lessons
    ]
    return moved, names
