"""Sharing: tables as bundles, merging tables, promoting lessons. Part of the Learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, final

from everlearn.engine.engine import Engine
from everlearn.learning.bundle import Bundle, Imported, Progress, export_table, import_bundle, read_bundle
from everlearn.learning.merge import Merged, MergeRule, merge
from everlearn.learning.promotion import check_pending, copy_for, decided, propose
from everlearn.learning.quarantine import Watch
from everlearn.records import Lesson, OnConflict, Proposal, Taught


class Teach(Protocol):
    """How a lesson is taught: `Learner.teach`."""

    def __call__(self, lesson: Lesson, *, on_conflict: OnConflict) -> Taught:
        """Teach it."""
        ...


@final
class Sharing:
    """What a learner does with tables that others have, or are to have.

    Args:
        engine: whose memory it is.
        watch: holds back lessons that look like poison.
        teach: teaches a lesson that was accepted.
    """

    def __init__(self, engine: Engine, watch: Watch, teach: Teach) -> None:
        self._engine = engine
        self._watch = watch
        self._teach = teach

    def propose(self, lesson_id: str, table: str, *, author: str, reason: str) -> Proposal:
        """Propose a lesson for a table of a higher layer; see `everlearn.learning.promotion.propose`."""
        return propose(self._engine.memory, lesson_id, table, author=author, reason=reason)

    def accept(
        self, proposal_id: str, *, by: str, decision: str = "", on_conflict: OnConflict = "supersede"
    ) -> Proposal:
        """Accept a proposal: the lesson is copied into the table, and its source says where it comes from.

        Raises:
            NotFoundError: no such proposal.
            LessonError: it was decided on already, or its lesson was replaced meanwhile.
            ConflictError: `on_conflict` is "reject" and the table answers the question otherwise.
        """
        memory = self._engine.memory
        proposal = memory.store.proposal(proposal_id)
        taught = self._teach(copy_for(memory, proposal), on_conflict=on_conflict)
        return decided(memory, proposal, "accepted", by=by, decision=decision, promoted_id=taught.lesson.id)

    def reject(self, proposal_id: str, *, by: str, decision: str = "") -> Proposal:
        """Reject a proposal; the lesson stays where it is.

        Raises:
            NotFoundError: no such proposal.
            LessonError: it was decided on already.
        """
        memory = self._engine.memory
        proposal = memory.store.proposal(proposal_id)
        check_pending(proposal)
        return decided(memory, proposal, "rejected", by=by, decision=decision)

    def export_table(
        self,
        name: str,
        path: str | Path,
        *,
        licence: str = "unknown",
        force: bool = False,
        keys_and_values_only: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Write a table as a bundle (a folder, or a .zip file), which others can import. Returns its manifest.

        Raises:
            TableNotFoundError: no such table.
            ConflictError: something is at `path` already, and `force` is not set.
        """
        return export_table(
            self._engine,
            name,
            Path(path),
            licence=licence,
            force=force,
            keys_and_values_only=keys_and_values_only,
            progress=progress,
        )

    def import_table(self, bundle: str | Path | Bundle, *, table: str | None = None, derive: bool = False) -> Imported:
        """Make a table of a bundle: a path, or what `read_bundle` gave.

        Raises:
            FileFormatError: no bundle, damaged or changed; the message names the file.
            WrongBaseError: made on another base model, and `derive` is not set.
            ConflictError: a table of this name holds lessons already.
        """
        read = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
        return import_bundle(self._engine, read, self._watch, table=table, derive=derive)

    def merge_tables(
        self, ours: str, theirs: str, into: str, *, on_conflict: MergeRule, progress: Progress | None = None
    ) -> Merged:
        """Merge two tables into a new one; see `everlearn.learning.merge.merge`."""
        return merge(self._engine.memory, ours, theirs, into, on_conflict, progress=progress)
