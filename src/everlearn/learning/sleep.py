"""Sleep: what was taught moves from look-up tables into an adapter, if the adapter passes its test."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import final

from torch import Tensor

from everlearn.engine.engine import Engine
from everlearn.errors import InputError, SettingsError
from everlearn.evaluation.acceptance import Judged, Measured, judge
from everlearn.learning.examples import Encoded, Example, digest_of, encoded
from everlearn.learning.fisher import Anchor
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.night import Night, Unrelated, adapter_name, wordings_of
from everlearn.learning.null_space import confine, confinement, input_covariances, read_layers
from everlearn.learning.probing import drift_of
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.retention import NEW, retention
from everlearn.learning.rewording import Rewording
from everlearn.learning.scoring import exact_answers
from everlearn.learning.self_distillation import held_examples, lesson_examples, own_answers
from everlearn.learning.shrinking import shrink
from everlearn.learning.sleep_files import REPLAY, anchor_path
from everlearn.learning.sleep_lock import asleep
from everlearn.learning.sleep_records import Memories, first_of_each, note, remember
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_log import TrainingWatch
from everlearn.learning.weights import AdapterWeights
from everlearn.records import Lesson, Verdict
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.specialists import Specialists
from everlearn.store.port import EVERYTHING

Progress = Callable[[str, int, int], None]
CANDIDATE = "candidate"
LIKE_A_LESSON = (
    0.65  # cosine; facts lie far apart, so what is near them on the whole may be about anything (docs/log.md)
)
LEAST_HELD = 200  # unrelated examples, however few lessons there are


@final
class Sleep:
    """Consolidates the lessons of an engine's tables, one adapter a domain.

    A first version, and one after a lesson was forgotten or replaced, is a function of base model, lessons and settings
    alone: the same lessons give the same bits.

    Args:
        engine: with a folder of adapters.
        settings: how.
        rewording: asks a model for other wordings of each lesson; None = templates only, which are the same every time.
        progress: called with (what, done, all).
        watch: called with the adapter's name and the figures of each update of its training.

    Raises:
        SettingsError: the engine has no folder of adapters, or a setting is impossible.
    """

    def __init__(
        self,
        engine: Engine,
        settings: SleepSettings | None = None,
        *,
        rewording: Rewording | None = None,
        progress: Progress | None = None,
        watch: TrainingWatch | None = None,
    ) -> None:
        if engine.specialists is None:
            raise SettingsError("This engine has no folder of adapters.", hint="Open it with everlearn.load().")
        self.engine = engine
        self.settings = (settings or SleepSettings()).checked()
        self.specialists: Specialists = engine.specialists
        self._folder: Path = self.specialists.shelf.folder
        self._rewording = rewording
        self._progress = progress or (lambda _what, _done, _total: None)
        self._watch = watch or (lambda _name, _step: None)

    def _tell(self, what: str, done: int, total: int) -> None:
        self.engine.give_way()
        self._progress(what, done, total)

    def domains(self) -> list[str]:
        """Domains that have lessons to learn, sorted."""
        return sorted({lesson.domain for lesson in self._pairs()})

    def all(self) -> list[Verdict]:
        """Consolidate every domain in which something is new."""
        verdicts = (self.domain(domain) for domain in self.domains())
        return [verdict for verdict in verdicts if verdict is not None]

    def domain(self, domain: str) -> Verdict | None:
        """Consolidate a domain: restate, distil, train a candidate, test it; use it or leave everything as it was.

        Returns:
            What became of the candidate; None where there is nothing new.

        Raises:
            InputError: the domain has no lesson.
            StoreBusyError: another sleep is under way.
            TrainingError: the loss was no number; nothing was changed.
        """
        with asleep(self._folder):
            begun = time.perf_counter()
            night = self._night(domain)
            if not night.new and not self.settings.fresh:
                return None
            unrelated = self._unrelated
            examples = self._train(night, unrelated)
            strength = self._shrunk(night)
            judged, right, answers = self._test(night, unrelated.probes)
            kept = retention(self.specialists.shelf, night.parent, night.lessons, right)
            judged = replace(judged, figures={**judged.figures, "strength": strength})
            verdict = self._settle(night, judged, answers, examples)
            if verdict.accepted:
                kept = {verdict.adapter if name == NEW else name: share for name, share in kept.items()}
            done = replace(verdict, seconds=time.perf_counter() - begun, retention=kept)
            note(self._folder, done)
            return done

    def _night(self, domain: str) -> Night:
        lessons = [lesson for lesson in self._pairs() if lesson.domain == domain]
        if not lessons:
            there = ", ".join(self.domains()) or "none yet"
            raise InputError(f"The domain {domain!r} has no lesson to learn.", hint=f"Domains with lessons: {there}.")
        name = adapter_name(domain)
        parent = self.specialists.current.get(name)
        ids = {lesson.id for lesson in lessons}
        if self.settings.fresh or (parent is not None and not set(parent.lessons) <= ids):
            parent = None  # what it knows is no longer what is taught: begin anew, so that nothing of it is left
        known = set(parent.lessons) if parent is not None else set()
        more = self._reworded([le for le in lessons if le.id not in known])
        most = self.settings.wordings
        wordings = {le.id: wordings_of(le, more.get(le.id, ()), most=most) for le in lessons}
        return Night(name, lessons, wordings, parent, self.specialists.workshop())

    def _reworded(self, lessons: Sequence[Lesson]) -> Mapping[str, Sequence[str]]:
        if self._rewording is None:
            return {}
        return self._rewording.of(lessons, progress=partial(self._tell, "asking for wordings"))

    def _pairs(self) -> list[Lesson]:
        """Lessons that are true now and can be asked without a context, oldest first."""
        now = datetime.now(UTC)
        active = self.engine.memory.store.lessons(replace(EVERYTHING, status="active"))
        return [le for le in active if le.kind == "pair" and (le.valid_to is None or le.valid_to > now)]

    @cached_property
    def _unrelated(self) -> Unrelated:
        """Unrelated prompts with the base model's own answers, for all domains of this sleep."""
        prompts = general_prompts()[: self.settings.general]
        rows = own_answers(self.engine, prompts, progress=partial(self._tell, "asking the base model"))
        temperature = self.settings.training.temperature
        held = held_examples(self.engine, prompts[::2], rows[::2], temperature=temperature, weight=self.settings.hold)
        return Unrelated(held, rows[::2], rows[1::2])

    def _train(self, night: Night, unrelated: Unrelated) -> list[Example]:
        """Train the candidate; returns the examples of its lessons."""
        mine: list[Example] = []
        for done, lesson in enumerate(night.new, start=1):
            temperature = self.settings.training.temperature
            mine += lesson_examples(self.engine, lesson, night.wordings[lesson.id], temperature=temperature)
            self._tell("restating", done, len(night.new))
        held = unrelated.drawn(math.ceil(self.settings.general_share * len(mine)), least=LEAST_HELD)
        weights = self._candidate(night)
        projections = self._confinement(night, weights, unrelated.rows)
        folder = self._folder / night.name / ".training"
        trainer = Trainer(
            weights,
            self.engine.text,
            self.settings.training,
            replay=self._replay(night),
            anchor=self._anchor(night),
            projections=projections,
            folder=folder,
        )
        trainer.train(
            [*mine, *held],
            progress=partial(self._tell, "training"),
            watch=lambda step: self._watch(night.name, step),
            before_part=self.engine.give_way,
        )
        shutil.rmtree(folder)
        return mine

    def _candidate(self, night: Night) -> AdapterWeights:
        adapters = night.adapters
        if night.parent is None:
            adapters.create(CANDIDATE, self.settings.adapter, seed=self.settings.training.seed)
        else:
            adapters.copy(adapters.load(night.parent.id), CANDIDATE)  # of its shape, whatever the settings say today
        return AdapterWeights(adapters, CANDIDATE)

    def _confinement(self, night: Night, weights: AdapterWeights, rows: Sequence[Encoded]) -> dict[str, Tensor]:
        """Keep the candidate to directions that unrelated prompts hardly use; a new one begins inside them."""
        if self.settings.null_space == 1:
            return {}
        told = partial(self._tell, "looking for room")
        covariances = input_covariances(weights.model, read_layers(weights), rows, progress=told)
        projections = confinement(weights.parameters(), covariances, self.settings.null_space)
        if night.parent is None:
            confine(weights.parameters(), projections)
        return projections

    def _replay(self, night: Night) -> ReplayBuffer:
        """Examples of what the parent knows."""
        passing = ReplayBuffer(None, seed=self.settings.training.seed)
        if night.parent is not None:
            known = set(night.parent.lessons)
            with ReplayBuffer(self._folder / REPLAY) as kept:
                passing.add(e for e in kept.examples() if e.source in known)
        return passing

    def _anchor(self, night: Night) -> Anchor | None:
        path = anchor_path(self._folder, night.parent) if night.parent is not None else None
        return Anchor.load(path) if path is not None and path.exists() else None

    def _shrunk(self, night: Night) -> float:
        """Scale the candidate to the least strength that answers what it was trained on."""
        if not self.settings.shrink:
            return 1.0
        rows = [encoded(self.engine.text, Example(q, le.answer)) for le, q in night.trained]
        return shrink(night.adapters, CANDIDATE, rows, progress=partial(self._tell, "shrinking"))

    def _test(self, night: Night, probes: Sequence[Encoded]) -> tuple[Judged, set[str], tuple[str, ...]]:
        """Judge the candidate; also the ids of lessons that it answers as taught, and in every wording, unseen too."""
        questions = [(le, q) for le in night.lessons for q in (le.prompt, *night.wordings[le.id].held_out)]
        rows = [encoded(self.engine.text, Example(q, le.answer)) for le, q in questions]
        right = self._asked(night, rows, CANDIDATE)
        taught = [hit for (le, q), hit in zip(questions, right, strict=True) if q == le.prompt]
        unseen = [hit for (le, q), hit in zip(questions, right, strict=True) if q != le.prompt]
        failed = {le.id for (le, _), hit in zip(questions, right, strict=True) if not hit}
        before: list[bool] = []
        after: list[bool] = []
        if night.parent is not None:
            old = [n for n, (le, _) in enumerate(questions) if le.id in set(night.parent.lessons)]
            before = self._asked(night, [rows[n] for n in old], night.parent.id)
            after = [right[n] for n in old]
        agreement, drift = drift_of(night.adapters, CANDIDATE, probes, progress=partial(self._tell, "probing"))
        measured = Measured(taught, unseen, agreement, drift, before, after)
        as_taught = {le.id for (le, q), hit in zip(questions, right, strict=True) if hit and q == le.prompt}
        everywhere = tuple(le.id for le in night.lessons if le.id not in failed)
        return judge(measured, self.settings.limits), as_taught, everywhere

    def _asked(self, night: Night, rows: Sequence[Encoded], adapter_id: str) -> list[bool]:
        return exact_answers(
            night.adapters.model,
            rows,
            adapters=night.adapters,
            worn=[adapter_id] * len(rows),
            progress=partial(self._tell, "testing"),
        )

    def _settle(self, night: Night, judged: Judged, answers: tuple[str, ...], examples: list[Example]) -> Verdict:
        """Put an accepted candidate into use, the pointer last; of a refused one nothing stays."""
        ids = tuple(lesson.id for lesson in night.lessons)
        gone = set(ids) - {lesson.id for lesson in self._pairs()}
        if gone:
            reason = f"{len(gone)} of its lessons were forgotten or replaced while it was trained"
            judged = Judged(False, (*judged.reasons, reason), judged.figures)
        parent = night.parent.id if night.parent is not None else ""
        if not judged.accepted:
            return Verdict(night.name, False, judged.reasons, judged.figures, ids, (), parent)
        model = self.engine.model
        draft = Adapter(
            night.name,
            model.name,
            model.digest,
            parent=parent,
            lessons=ids,
            answers=answers,
            data={"examples": digest_of(examples)},
            settings=self.settings.training.to_dict(),
        )
        kept = night.adapters.keep(CANDIDATE, draft)
        few = first_of_each(examples, self.settings.kept_wordings)
        weighed = few[: self.settings.fisher_examples]
        remember(
            self.engine.text,
            AdapterWeights(night.adapters, CANDIDATE),
            kept,
            Memories(few, weighed, self._anchor(night)),
        )
        prompts = [lesson.prompt for lesson in night.lessons]
        self.specialists.learn_routes(night.name, ids, prompts, least=LIKE_A_LESSON)
        self.specialists.shelf.point(kept.name, kept.step)
        return Verdict(kept.id, True, (), judged.figures, ids, answers, parent)
