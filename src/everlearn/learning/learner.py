"""The Learner changes what the engine knows."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, final

from everlearn.engine.engine import Engine
from everlearn.engine.prompt import messages_of, question_of
from everlearn.errors import ConflictError, LessonError, SettingsError
from everlearn.learning import backups, checkpoint_archive, documents, forgetting
from everlearn.learning.background import BackgroundCorrections
from everlearn.learning.background_sleep import BackgroundSleep
from everlearn.learning.feedback import lesson_of, placed
from everlearn.learning.quarantine import Watch, release
from everlearn.learning.sharing import Sharing
from everlearn.learning.teach import prepared, teach
from everlearn.learning.undo import undo
from everlearn.memory.correction import chosen_blocks
from everlearn.records import (
    DEFAULT_TABLE,
    BackupPolicy,
    Feedback,
    ForgetRequest,
    Forgotten,
    Learned,
    Lesson,
    Message,
    OnConflict,
    Quarantine,
    Sampling,
    TableSettings,
    Taught,
    Verdict,
)
from everlearn.store.port import ImportProgress

if TYPE_CHECKING:
    from everlearn.learning.rewording import Rewording
    from everlearn.learning.sleep_settings import SleepSettings
    from everlearn.learning.training_log import TrainingWatch

Progress = Callable[[int, int], None]
SleepProgress = Callable[[str, int, int], None]


@final
class Learner:
    """Teaches, corrects and un-teaches an engine.

    Args:
        engine: whose memory is changed.
        backup_policy: what forgetting does to checkpoints and exports in the state folder: "rewrite", "remove", "keep".
        background: compute corrections in a thread after teaching; otherwise the first question that needs one does.
        consolidate_every: after so many new lessons a sleep begins in the background; 0 = only when it is asked for.
        quarantine: what happens to lessons that look like poison: "on" holds them back, "warn" only says so, "off" does
            not look; None = as the settings say.

    Attributes:
        screen: gives each lesson as it may be learned, or raises ContentFilterError; None = all may, as they are.
        sharing: bundles, merging, promotion.
        nightly: sleeps by itself; None where it does not.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        background: bool = True,
        quarantine: Quarantine | None = None,
        backup_policy: BackupPolicy = "rewrite",
        consolidate_every: int = 0,
    ) -> None:
        self.engine = engine
        self.screen: Callable[[Lesson], Lesson] | None = None
        self._backup_policy = backup_policy
        self._watch = Watch(engine.memory, quarantine or engine.quarantine)
        self.sharing = Sharing(engine, self._watch, self.teach)
        self._background = BackgroundCorrections(engine) if background else None
        self.nightly = BackgroundSleep(engine, consolidate_every) if consolidate_every else None
        if self.nightly is not None:
            engine.before_close.append(self.nightly.close)
        if self._background is not None:
            engine.before_close.append(self._background.close)
            weakref.finalize(self, self._background.close)  # also when the program ends

    def teach(self, lesson: Lesson, *, on_conflict: OnConflict = "supersede") -> Taught:
        """Learn one lesson. It is on disk, and the next question of any process knows it, when this returns.

        Args:
            lesson: prompt and answer, and what else is known of them.
            on_conflict: "supersede" replaces active lessons that answer the same question otherwise (they stay in
                history; one that is true from a later time stays and the new one goes into its history);
                "keep_both" keeps both, and the one that is true from the newest time speaks; "reject" raises.

        Raises:
            LessonError: the lesson cannot be learned; the message says why.
            TableNotFoundError: its table does not exist.
            ConflictError: it contradicts an active lesson, and `on_conflict` is "reject".
            StoreError: the state folder cannot be written; nothing was learned.
        """
        return self._commit([prepared(self.screened(lesson), self.engine)], on_conflict, None)[0]

    def screened(self, lesson: Lesson) -> Lesson:
        """A lesson as it may be learned.

        Raises:
            ContentFilterError: it may not.
        """
        return lesson if self.screen is None else self.screen(lesson)

    def replace(self, lesson_id: str, lesson: Lesson) -> Taught:
        """Put a lesson in the place of an active one, also where it asks something else; the old one stays in history.

        Raises:
            LessonNotFoundError: no lesson has this id.
            ConflictError: it is not active: another one has taken its place, or it is held back.
            LessonError, TableNotFoundError, StoreError: as for `teach`; nothing was changed.
        """
        memory, ready = self.engine.memory, prepared(self.screened(lesson), self.engine)
        with memory.lock:
            old = memory.store.lesson(lesson_id)
            if old.status != "active":
                raise ConflictError(f"Lesson {lesson_id} is {old.status}.", hint="Change the newest of its history.")
            if old.table != lesson.table:
                raise LessonError(f"Lesson {lesson_id} lies in the table {old.table!r}.", hint="Keep its table.")
            return teach(memory, [ready], watch=self._watch, replaces=(old.id,))[0]

    def teach_many(
        self,
        lessons: Iterable[Lesson],
        *,
        on_conflict: OnConflict = "supersede",
        batch_size: int = 256,
        progress: Progress | None = None,
        imported: ImportProgress | None = None,
        screened: bool = False,
    ) -> list[Taught]:
        """Learn many lessons in their order, `batch_size` of them in one durable transaction.

        Args:
            lessons: any number; they are read as they are needed.
            on_conflict: as for `teach`.
            batch_size: lessons committed together.
            progress: called after each batch with (taught, all), all being 0 where the number is not known.
            imported: the file they come from; `imported.lines` counts up from what it says, by one for each lesson.
            screened: they went through `screened` already.

        Raises:
            LessonError, TableNotFoundError, ConflictError, StoreError: as for `teach`; earlier batches stay learned.
        """
        if batch_size < 1:
            raise SettingsError(f"batch_size is {batch_size}, wanted 1 or more.", hint="256 is the usual value.")
        total = len(lessons) if isinstance(lessons, Sequence) else 0
        outcomes: list[Taught] = []
        for batch in _batches(lessons, batch_size):
            passed = batch if screened else [self.screened(lesson) for lesson in batch]
            ready = [prepared(lesson, self.engine) for lesson in passed]
            done = len(outcomes) + len(ready)
            mark = imported and ImportProgress(imported.digest, imported.table, imported.lines + done)
            outcomes += self._commit(ready, on_conflict, mark)
            if progress is not None:
                progress(done, total)
        return outcomes

    def release(self, lesson_id: str, *, on_conflict: OnConflict = "supersede") -> Taught:
        """Make a lesson that is held back (status "quarantined") active, after somebody has looked at it.

        Raises:
            LessonNotFoundError: no lesson has this id.
            LessonError: it is not quarantined.
            ConflictError: `on_conflict` is "reject" and it contradicts an active lesson.
        """
        released = release(self.engine.memory, lesson_id, on_conflict=on_conflict)
        if self._background is not None:
            self._background.add([lesson_id])
        return released

    def learn_from_text(
        self,
        text: str,
        *,
        domain: str = "general",
        importance: float = 0.5,
        title: str = "Text",
        source: str = "",
        table: str = DEFAULT_TABLE,
    ) -> Learned:
        """Learn a text: its passages can be asked at once, and are on disk when this returns.

        The next question that a passage answers is answered with that passage in view, and the receipt cites it. No
        training, no gradient. Headings of Markdown become titles.

        Args:
            text: of any length.
            domain: subject area.
            importance: 0..1, how much it matters to keep it.
            title: shown with its passages.
            source: where it comes from. Learning another text of the same source replaces it; without a source a text
                is its own.
            table: look-up table that holds it.

        Raises:
            LessonError: there is no text, or a field is out of its range.
            TableNotFoundError: the table does not exist.
            StoreError: the state folder cannot be written.
        """
        document = documents.text_document(text, title)
        like = Lesson("", "", table, domain, importance, source or documents.source_of(text))
        return self.learn_passages(documents.lessons_of(document, self.engine.text, like))

    def learn_passages(self, passages: Sequence[Lesson], *, progress: Progress | None = None) -> Learned:
        """Make these passages all that is known of their source: new ones are learned, those not among them forgotten.

        Args:
            passages: lessons of kind "passage", all of one source and table, at least one.
            progress: called with (passages done, all).

        Raises:
            LessonError, TableNotFoundError, StoreError: as for `teach`; what was committed stays.
        """
        if len({(p.source, p.table, p.kind) for p in passages}) != 1 or passages[0].kind != "passage":
            raise LessonError("These are not the passages of one source.", hint="Learn one document after the other.")
        self.engine.memory.table(passages[0].table)
        ready = [prepared(self.screened(passage), self.engine) for passage in passages]
        teach_ = partial(self.teach_many, screened=True)
        return documents.learn(self.engine.memory, ready, teach_, self.forget, progress)

    def forget(self, what: str | Iterable[str] | ForgetRequest) -> Forgotten:
        """Un-learn lessons: rows, vectors, corrections and kept turns that rest on them are removed, not hidden.

        Afterwards every answer equals, bit for bit, that of a system which was never taught them; what they had
        superseded speaks again. Checkpoints and exports in the state folder lose them too, by the policy for backups.

        Args:
            what: an id, ids, or a request by text, source, author, time ...; `would_forget` shows what that means.

        Raises:
            LessonNotFoundError: an id is unknown; nothing was removed.
            InputError: the request says nothing.
        """
        memory, request = self.engine.memory, _request(what)
        meant = request.criteria or isinstance(what, ForgetRequest)
        try:
            with memory.lock:
                gone = forgetting.meant(memory.store, request) if meant else []
                outcome = forgetting.forget(
                    memory.store,
                    memory.derived,
                    gone,
                    policy=self._backup_policy,
                    criteria=request.criteria,
                    unlearn=self._unlearned,
                )
                memory.corrections.drop(gone)
                memory.refresh()
        finally:  # the lessons may be removed, and what comes after it have failed
            memory.store.scrub()  # outside the lock: others ask meanwhile
        return outcome

    def would_forget(self, what: str | Iterable[str] | ForgetRequest) -> Forgotten:
        """What `forget` would do: which lessons would go and speak again, how many turns, which files hold them."""
        store = self.engine.memory.store
        return forgetting.plan(store, forgetting.meant(store, _request(what)))

    def undo(self, lesson_id: str) -> list[Taught]:
        """Take back what a lesson changed: what it had replaced speaks again, as new lessons; the history is kept.

        Raises:
            LessonNotFoundError: no lesson has this id.
            ConflictError: it is not active, or it replaced nothing; nothing was changed.
        """
        back = undo(self.engine.memory.store, lesson_id)
        self.engine.memory.refresh()
        return back

    def learn_from_feedback(self, feedback: Feedback) -> Taught | None:
        """Learn from what a user says of an answer; None where there is nothing to learn.

        Raises:
            LessonError: the verdict is "wrong" without a correction.
            NotFoundError: the turn it names is not kept.
        """
        lesson = lesson_of(feedback, self.engine.memory)
        return None if lesson is None else self.teach(lesson)

    def correct(self, messages: Sequence[Message], correction: str, *, author: str = "") -> Taught:
        """Learn that the last question of a conversation should have been answered otherwise; as feedback is learned.

        Args:
            messages: ending with the question that was answered wrongly.
            correction: the right answer.
            author: who says so.

        Raises:
            LessonError, StoreError: as for `teach`.
            ConversationError: the messages do not end with a question.
        """
        asked = messages_of(messages)
        question, earlier = question_of(asked)
        lesson = Lesson(question, correction, source="chat", author=author)
        return self.teach(placed(lesson, earlier, self.engine.recall(asked).spoke, self.engine.memory))

    def put_table(self, name: str, settings: TableSettings | None = None) -> None:
        """Create a look-up table, or change its settings.

        Raises:
            SettingsError: an impossible setting, or a block that this model has not.
        """
        settings = settings or TableSettings()
        chosen_blocks(settings, self.engine.model.num_blocks)
        self.engine.memory.store.put_table(name, settings)

    def delete_table(self, name: str) -> Forgotten:
        """Delete a look-up table and forget all its lessons.

        Raises:
            TableNotFoundError: no such table.
        """
        memory = self.engine.memory
        with memory.lock:
            gone = memory.store.delete_table(name)
            derived = memory.derived.delete(gone)
            memory.corrections.drop(gone)
            memory.refresh()
        return Forgotten(tuple(gone), derived=derived, adapters=self._unlearned(gone))

    def generate(self, prompt: str, *, max_new_tokens: int | None = None, temperature: float = 0.0) -> str:
        """Answer with everything that was learned; the text alone."""
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature)
        return self.engine.answer(prompt, sampling=sampling).text

    def warm(self, *, progress: Progress | None = None) -> int:
        """Compute all missing corrections now; returns how many. Without it the first question that needs one does."""
        todo = self.engine.memory.warm()
        for done, (lesson, settings) in enumerate(todo, 1):
            self.engine.memory.correction(lesson, settings)
            if progress is not None:
                progress(done, len(todo))
        return len(todo)

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write everything that was learned to one file; atomically.

        Tables and lessons with their history; and, where there are adapters, all their versions, the router, what is
        replayed and what anchors them, together with the digest of the base model that they belong to.

        Raises:
            StoreBusyError: a sleep is under way.
            StoreFullError, StoreReadOnlyError: it cannot be written; an older file is left as it was.
        """
        engine, specialists = self.engine, self.engine.specialists
        store, shelf = engine.memory.store, specialists.shelf if specialists is not None else None
        written = checkpoint_archive.save(store, shelf, Path(path), model=engine.name, digest=engine.model.digest)
        backups.note(store.folder, written, "checkpoint")
        return written

    def load_checkpoint(self, path: str | Path) -> int:
        """Make a checkpoint the whole state: what was taught or trained since is gone. Returns the number of lessons.

        Raises:
            FileFormatError: no checkpoint, damaged, or of a newer version; nothing was changed.
            AdapterMismatchError: its adapters belong to another base model; nothing was changed.
            StoreBusyError: a sleep is under way; nothing was changed.
        """
        return checkpoint_archive.restore(self.engine, Path(path))

    def close(self) -> None:
        """Stop the background threads. The engine stays open."""
        if self.nightly is not None:
            self.nightly.close()
        if self._background is not None:
            self._background.close()

    def sleep(
        self,
        domain: str | None = None,
        *,
        settings: SleepSettings | None = None,
        rewording: Rewording | None = None,
        progress: SleepProgress | None = None,
        watch: TrainingWatch | None = None,
    ) -> list[Verdict]:
        """Move what was taught into adapters: a candidate a domain, used only if it passes its test.

        Args:
            domain: that of the lessons; None = every domain in which something is new.
            settings: how, and what a candidate has to reach.
            rewording: asks a model for other wordings of each lesson; None = templates only.
            progress: called with (what, done, all).
            watch: called with an adapter's name and the figures of each update of its training.

        Returns:
            What became of each candidate; of a refused one nothing stays.

        Raises:
            InputError: the domain has no lesson.
            StoreBusyError: another sleep is under way.
            TeacherError: the model that rewords cannot be asked; nothing was changed.
            TrainingError: the loss was no number; nothing was changed.
        """
        from everlearn.learning.sleep import Sleep

        night = Sleep(self.engine, settings, rewording=rewording, progress=progress, watch=watch)
        if domain is None:
            return night.all()
        verdict = night.domain(domain)
        return [] if verdict is None else [verdict]

    def _unlearned(self, gone: Sequence[str]) -> tuple[str, ...]:
        """Versions of adapters that go with these lessons."""
        specialists = self.engine.specialists
        if specialists is None or not specialists.shelf.stamp:
            return ()
        from everlearn.learning.unlearning import unlearn

        versions = unlearn(specialists.shelf, gone)
        assert not set(versions) & {adapter.id for adapter in specialists.current.values()}
        return versions

    def _commit(self, lessons: Sequence[Lesson], on_conflict: OnConflict, mark: ImportProgress | None) -> list[Taught]:
        outcomes = teach(self.engine.memory, lessons, on_conflict=on_conflict, imported=mark, watch=self._watch)
        if self._background is not None:
            self._background.add([o.lesson.id for o in outcomes if not o.known])
        if self.nightly is not None:
            self.nightly.add(sum(not o.known and o.lesson.status == "active" for o in outcomes))
        return outcomes


def _request(what: str | Iterable[str] | ForgetRequest) -> ForgetRequest:
    if isinstance(what, ForgetRequest):
        return what
    return ForgetRequest(ids=(what,) if isinstance(what, str) else tuple(dict.fromkeys(what)))


def _batches(lessons: Iterable[Lesson], size: int) -> Iterator[list[Lesson]]:
    rest = iter(lessons)
    while batch := list(islice(rest, size)):
        yield batch
