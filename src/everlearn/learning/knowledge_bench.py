"""What a model knows of texts when it is asked without them: read in context, from the table, from weights.

Methods over the same base, passages and questions:

* `bare`: asked without anything; `in_context`: with the passage before the question, the upper bound of the others;
* `table`: the passages are learned as documents are, and recalled;
* `raw_text`: an adapter trained to say the passages; `self_study`: an adapter trained on questions that the base model
  itself asks about each passage, answered by itself with the passage before its eyes (soft labels).

Source: that raw text teaches little and self-made questions more: Zweiger et al. 2025, SEAL, arXiv 2506.10943, section
4.2; Allen-Zhu and Li 2023, arXiv 2309.14316.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from everlearn.corpus.json_rows import json_line_rows
from everlearn.engine.engine import Engine
from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.latency import where
from everlearn.evaluation.metrics import normalised, wilson
from everlearn.learning.examples import Encoded, Example, digest_of
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.learner import Learner
from everlearn.learning.losses import answer_logits, batch_of, soft_targets
from everlearn.learning.probing import drift_of
from everlearn.learning.rewording import said_in
from everlearn.learning.self_distillation import held_examples, own_answers
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.weights import AdapterWeights
from everlearn.records import Answer, Message, Sampling
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.settings import AdapterSettings

Progress = Callable[[str, int, int], None]
METHODS = ("bare", "in_context", "table", "raw_text", "self_study")
TABLE = "bench-knowledge"
_ASK = "{context}\n\nWrite {count} short questions that this text answers, one on each line."
_READ = "{context}\n\n{question}"
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, and what is asked about it: questions with their answers."""

    title: str
    context: str
    questions: tuple[tuple[str, str], ...]


@final
@dataclass(frozen=True, slots=True)
class KnowledgeOptions:
    """What to measure.

    Attributes:
        methods: of `METHODS`.
        training: of the adapters.
        adapter: their shape.
        self_questions: that the base model is asked to write about each passage.
        held: unrelated prompts with the base's own answers that adapters are trained on, too.
        probes: unrelated prompts on which change is measured.
        max_new_tokens: of an answer.
    """

    methods: Sequence[str] = METHODS
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=4, rate=1e-3))
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    self_questions: int = 8
    held: int = 32
    probes: int = 32
    max_new_tokens: int = 32


@final
@dataclass(frozen=True, slots=True)
class KnowledgeReport:
    """What was found.

    Attributes:
        methods: name -> contains (share of answers that hold the wanted words), interval, f1, questions, seconds (of
            learning), agreement and drift (beside the base on unrelated prompts; 1 and 0 where weights do not change).
        passages: how many texts.
        self_study: questions that the base model wrote.
        settings: of the measurement.
        where: machine, versions, commit.
    """

    methods: dict[str, dict[str, Any]]
    passages: int
    self_study: int
    settings: dict[str, Any]
    where: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"benchmark": "knowledge", **asdict(self)}


def read_passages(path: Path, most: int = 0) -> list[Passage]:
    """Passages of a JSON Lines file with `title`, `context` and `questions` (each with `question` and `answer`).

    Args:
        path: the file.
        most: how many, from its beginning; 0 = all.

    Raises:
        FileFormatError: the file or a line cannot be read.
        InputError: it holds none.
    """
    found = []
    try:
        with path.open(encoding="utf-8") as file:
            for row in json_line_rows(file):
                found.append(_passage(path, row.number, row.values, row.error))
                if len(found) == most:
                    break
    except (OSError, UnicodeDecodeError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="Wanted: a JSON Lines file in UTF-8.") from cause
    if not found:
        raise InputError(f"{path} holds no passage.", hint="Wanted: a passage a line.")
    if not any(passage.questions for passage in found):
        raise InputError(f"{path} asks nothing.", hint="Wanted: questions with answers beside the passages.")
    return found


def run_knowledge(
    learner: Learner, passages: Sequence[Passage], options: KnowledgeOptions, progress: Progress | None = None
) -> KnowledgeReport:
    """Measure each method.

    Args:
        learner: with nothing taught; one table is made and removed again.
        passages: what is to be known.
        options: how.
        progress: called with (what, done, all).

    Raises:
        InputError: no such method.
    """
    if unknown := sorted(set(options.methods) - set(METHODS)):
        raise InputError(f"There is no method {unknown[0]!r}.", hint=f"There are: {', '.join(METHODS)}.")
    return _Run(learner, passages, options, progress or (lambda _what, _done, _all: None)).report()


def f1(answer: str, wanted: str) -> float:
    """Overlap of words.

    Source: SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1.
    """
    said, right = normalised(answer).split(), normalised(wanted).split()
    rest = list(right)
    same = 0
    for word in said:
        if word in rest:
            rest.remove(word)
            same += 1
    return 2 * same / (len(said) + len(right)) if same else 0.0


@final
class _Run:
    """One measurement."""

    def __init__(
        self, learner: Learner, passages: Sequence[Passage], options: KnowledgeOptions, tell: Progress
    ) -> None:
        self._learner, self._passages, self._options, self._tell = learner, passages, options, tell
        self._engine: Engine = learner.engine
        self._questions = [(p, q, a) for p in passages for q, a in p.questions]
        self._where = where()
        self._made = 0

    def report(self) -> KnowledgeReport:
        """Measure, one method after another."""
        found = {name: getattr(self, f"_{name}")() for name in self._options.methods}
        return KnowledgeReport(found, len(self._passages), self._made, asdict(self._options), self._where)

    def _bare(self) -> dict[str, Any]:
        return self._scored("bare", [q for _, q, _ in self._questions], tables=())

    def _in_context(self) -> dict[str, Any]:
        read = [_READ.format(context=p.context, question=q) for p, q, _ in self._questions]
        return self._scored("in_context", read, tables=())

    def _table(self) -> dict[str, Any]:
        begun = time.perf_counter()
        self._learner.put_table(TABLE)
        try:
            for done, passage in enumerate(self._passages, start=1):
                self._learner.learn_from_text(passage.context, title=passage.title, table=TABLE)
                self._tell("learning passages", done, len(self._passages))
            seconds = time.perf_counter() - begun
            return self._scored("table", [q for _, q, _ in self._questions], tables=(TABLE,), seconds=seconds)
        finally:
            self._learner.delete_table(TABLE)

    def _raw_text(self) -> dict[str, Any]:
        examples = [Example(f"Tell me about this: {p.title}", p.context, source=p.title) for p in self._passages]
        return self._trained("raw_text", examples)

    def _self_study(self) -> dict[str, Any]:
        examples: list[Example] = []
        for done, passage in enumerate(self._passages, start=1):
            examples += self._studied(passage)
            self._tell("asking itself", done, len(self._passages))
        self._made = len(examples)
        if not examples:
            raise InputError("The base model wrote no question about any passage.", hint="Leave self_study out.")
        return self._trained("self_study", examples)

    def _studied(self, passage: Passage) -> list[Example]:
        """Questions the base model asks about a passage, with what it answers while it reads it."""
        wanted = _ASK.format(context=passage.context, count=self._options.self_questions)
        asked = [q for q in said_in(self._said([wanted], 160)[0].text) if q.endswith("?")]
        read = [_READ.format(context=passage.context, question=q) for q in asked]
        examples = []
        for question, prompt, answer in zip(asked, read, self._said(read, self._options.max_new_tokens), strict=True):
            if answer.finish_reason == "stop" and answer.text.strip():
                ids = self._engine.text.answer_ids(answer.text)
                row = Encoded(self._engine.text.prompt_ids([Message("user", prompt)]), ids)
                with self._engine.model.lock:
                    logits = answer_logits(self._engine.model, batch_of([row], self._engine.model.device))[0]
                examples.append(
                    Example(question, answer.text, source=passage.title, soft=soft_targets(logits.detach()))
                )
        return examples

    def _trained(self, name: str, examples: Sequence[Example]) -> dict[str, Any]:
        """Train an adapter, ask it, and see what else changed; then take it off again."""
        specialists = self._engine.specialists
        assert specialists is not None
        options = self._options
        prompts = general_prompts()
        train, probe = prompts[::2][: options.held], prompts[1::2][: options.probes]
        held = held_examples(self._engine, train, own_answers(self._engine, train), temperature=1.0)
        probes = own_answers(self._engine, probe)
        adapters, model = specialists.workshop(), self._engine.model
        begun = time.perf_counter()
        adapters.create(name, options.adapter, seed=options.training.seed)
        trainer = Trainer(AdapterWeights(adapters, name), self._engine.text, options.training)
        trainer.train([*examples, *held], progress=lambda done, total: self._tell(f"training {name}", done, total))
        seconds = time.perf_counter() - begun
        agreement, drift = drift_of(adapters, name, probes)
        spoken = name.replace("_", "-")
        draft = Adapter(spoken, model.name, model.digest, data={"examples": digest_of(list(examples))})
        kept = adapters.keep(name, draft)
        try:
            found = self._scored(name, [q for _, q, _ in self._questions], tables=(), adapter=kept.id, seconds=seconds)
        finally:
            specialists.shelf.remove(kept.id)
        return {**found, "agreement": sum(agreement) / len(agreement), "drift": sum(drift) / len(drift)}

    def _scored(
        self, name: str, prompts: Sequence[str], *, tables: tuple[str, ...], adapter: str = "", seconds: float = 0.0
    ) -> dict[str, Any]:
        answers: list[Answer] = []
        for first in range(0, len(prompts), _BATCH):
            some = prompts[first : first + _BATCH]
            answers += self._said(some, self._options.max_new_tokens, tables, adapter)
            self._tell(f"asking {name}", len(answers), len(prompts))
        pairs = [(answer.text, wanted) for answer, (_, _, wanted) in zip(answers, self._questions, strict=True)]
        hits = [f" {normalised(wanted)} " in f" {normalised(said)} " for said, wanted in pairs]
        share = sum(hits) / len(hits)
        overlap = sum(f1(said, wanted) for said, wanted in pairs) / len(pairs)
        figures: dict[str, Any] = {"contains": share, "interval": list(wilson(share, len(hits))), "f1": overlap}
        return {**figures, "questions": len(hits), "seconds": seconds, "agreement": 1.0, "drift": 0.0}

    def _said(self, prompts: Sequence[str], most: int, tables: tuple[str, ...] = (), adapter: str = "") -> list[Answer]:
        return self._engine.answer_many(prompts, tables=tables, adapter=adapter, sampling=Sampling(max_new_tokens=most))


def _passage(path: Path, number: int, values: Any, error: str) -> Passage:  # noqa: ANN401
    hint = 'Wanted: {"title": ..., "context": ..., "questions": [{"question": ..., "answer": ...}]}.'
    if error:
        raise FileFormatError(f"{path}, line {number}: {error}", hint=hint)
    try:
        questions = tuple((str(q["question"]), str(q["answer"])) for q in values["questions"])
        return Passage(str(values["title"]), str(values["context"]), questions)
    except (KeyError, TypeError) as cause:
        raise FileFormatError(f"{path}, line {number}: {cause!r} is missing or of another kind.", hint=hint) from cause
