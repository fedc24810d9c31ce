"""One cell of the grid: a method, a set and a number of edits; taught draw by draw, and scored under each protocol."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, final

from editing_draws import Draw
from everlearn.evaluation.asking import Asking, Given, ProtocolName, TeacherForced, Wild
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.metrics import mean, median, normalised, wilson
from everlearn.evaluation.questions import KINDS, Kind, Plan, Question, contradicted, plan
from everlearn.text.chat import ChatText
from peers.decoding import Forced
from peers.editor import Editor

MEASURES: dict[Kind, str] = {"taught": "reliability", "rephrase": "generality", "locality": "locality"}
ROOM = 8
VERIFIED = 16
Record = dict[str, Any]
Said = Given | Forced


@dataclass(frozen=True, slots=True)
class CellOptions:
    """How a cell is measured.

    Attributes:
        protocols: how answers are asked for.
        rephrases: most rephrases of an edit; 0 = all.
        locality: most locality questions of an edit; 0 = all.
        new_tokens: an answer that reaches this is wrong; raised to eight more than the longest wanted one.
        locality_tokens: how many tokens of a locality answer are compared.
        seed: draws what is verified.
    """

    protocols: tuple[ProtocolName, ...] = ("wild", "teacher-forced")
    rephrases: int = 3
    locality: int = 2
    new_tokens: int = 32
    locality_tokens: int = 32
    seed: int = 0


@final
class Cell:
    """A cell under way; what it found is in the journal, draw by draw.

    Args:
        editor: the method.
        bare: answers as the model without any edit.
        text: the model's tokenizer.
        options: how to measure.
        journal: keeps what was found.
    """

    def __init__(self, editor: Editor, bare: Editor, text: ChatText, options: CellOptions, journal: Journal) -> None:
        self._editor, self._bare, self._text = editor, bare, text
        self._options, self._journal = options, journal
        self._proofs = VERIFIED

    def run(self, draws: Sequence[Draw], progress: Callable[[int, int], None]) -> dict[ProtocolName, Record]:
        """Measure all draws that are not in the journal yet; a result for each protocol."""
        there = {row["draw"] for row in self._journal.of("draw")}
        self._proofs = max(1, VERIFIED // len(draws))
        for number, draw in enumerate(draws):
            if number not in there:
                self._journal.append("draw", draw=number, **self._measured(draw))
            progress(number + 1, len(draws))
        rows = sorted(self._journal.of("draw"), key=lambda row: row["draw"])
        return {protocol: summed(rows, draws, protocol) for protocol in self._options.protocols}

    def _measured(self, draw: Draw) -> Record:
        options = self._options
        made = plan(draw.edits, draw.scored, {"rephrase": options.rephrases, "locality": options.locality})
        rounds = {name: _Round(name, self._editor, self._bare, self._text, options, made) for name in options.protocols}
        self._editor.begin()
        before = {name: each.locality_before() for name, each in rounds.items()}
        taught_ms = self._editor.teach(draw.edits)
        asked = {name: each.score(before[name]) for name, each in rounds.items()}
        verified = self._verified(made)
        return {"taught_ms": taught_ms, "asked": asked, "editor": self._editor.settings(), **verified}

    def _verified(self, made: Plan) -> Record:
        """Ask a few of the questions that the editor says it leaves alone, where it can prove that it does."""
        verify = getattr(self._editor, "verified", None)
        if verify is None:
            return {}
        questions = made.questions
        alone = [q for q, touched in zip(questions, self._editor.touches(questions), strict=True) if not touched]
        some = random.Random(self._options.seed).sample(alone, min(self._proofs, len(alone)))
        return {"verified": len(some), "bit_equal": verify(some)}


@final
@dataclass(slots=True)
class _Round:
    """One protocol of one draw."""

    protocol: ProtocolName
    editor: Editor
    bare: Editor
    text: ChatText
    options: CellOptions
    made: Plan
    asking: Asking = field(init=False)
    most: int = field(init=False)

    def __post_init__(self) -> None:
        longest = max(len(self.text.answer_ids(q.wanted)) for q in self.made.asked["taught"])
        self.most = max(self.options.new_tokens, longest + ROOM)
        face: Any = SimpleNamespace(text=self.text)  # scoring needs no engine, only its tokenizer
        self.asking = TeacherForced(face)
        if self.protocol == "wild":
            self.asking = Wild(face, max_new_tokens=self.most, locality_tokens=self.options.locality_tokens)

    def locality_before(self) -> list[Said]:
        """Locality answers of the model that was taught nothing."""
        asker = self.editor if self.editor.own_bare else self.bare
        return self._ask(asker, self.made.asked["locality"])

    def score(self, before: Sequence[Said]) -> Record:
        """Ask everything of the edited model."""
        start, found, touched = time.perf_counter(), {}, {}
        perplexities: list[float] = []
        for kind in KINDS:
            questions = self.made.asked[kind]
            there = self.editor.touches(questions)
            said = self._edited(questions, there)
            pairs = zip(questions, said, before if kind == "locality" else said, strict=True)
            found[kind] = [self._scored(*row) for row in pairs]
            touched[kind] = sum(there)
            if kind == "taught" and self.protocol == "teacher-forced":
                perplexities = [_perplexity(one) for one in said if isinstance(one, Forced) and one.losses]
        seconds = time.perf_counter() - start
        return {"scores": found, "touched": touched, "perplexities": perplexities, "seconds": seconds}

    def _edited(self, questions: Sequence[Question], touched: Sequence[bool]) -> list[Said]:
        """Answers of the edited model; where it does not differ from the bare one, that one's."""
        changed = [q for q, yes in zip(questions, touched, strict=True) if yes]
        same = [q for q, yes in zip(questions, touched, strict=True) if not yes]
        new, old = iter(self._ask(self.editor, changed)), iter(self._ask(self.bare, same))
        return [next(new if yes else old) for yes in touched]

    def _ask(self, asker: Editor, questions: Sequence[Question]) -> list[Said]:
        if not questions:
            return []
        if self.protocol == "teacher-forced":
            return list(asker.forced(questions))
        return list(asker.free(questions, self._limit(questions[0].kind)))

    def _limit(self, kind: Kind) -> int:
        return self.options.locality_tokens if kind == "locality" else self.most

    def _scored(self, question: Question, said: Said, before: Said) -> list[float]:
        """Number of the edit, score, whether complete, whether the answer holds what was wanted."""
        given = said if isinstance(said, Given) else Given(tokens=said.tokens)
        if question.kind == "locality":
            bare = before if isinstance(before, Given) else Given(tokens=before.tokens)
            kept = self.asking.unchanged(question, bare, given)
            return [question.edit, kept, float(kept == 1), 0.0]
        complete = float(self.asking.complete(question, given))
        return [question.edit, self.asking.right(question, given), complete, float(holds(given.text, question.wanted))]


def summed(rows: Sequence[Mapping[str, Any]], draws: Sequence[Draw], protocol: ProtocolName) -> Record:
    """The result of a cell from its draws."""
    asked = [row["asked"][protocol] for row in rows]
    scored_edits = sum(len(draw.scored) for draw in draws)
    result: Record = {"draws": len(rows), "scored_edits": scored_edits, "questions": {}, "intervals": {}}
    for kind, measure in MEASURES.items():
        scores = [score for one in asked for score in one["scores"][kind]]
        result["questions"][kind] = len(scores)
        result[measure] = mean([score[1] for score in scores])
        if scores:
            units = sum(len({score[0] for score in one["scores"][kind]}) for one in asked)
            result["intervals"][measure] = wilson(result[measure], units)
    for name, place in (("complete", 2), *([("holds", 3)] if protocol == "wild" else [])):
        result[name] = {kind: mean([s[place] for one in asked for s in one["scores"][kind]]) for kind in KINDS[:2]}
    perplexities = [value for one in asked for value in one["perplexities"]]
    if len(perplexities) == result["questions"]["taught"]:  # of a part alone they would mislead
        result["perplexity"] = {"mean": mean(perplexities), "median": median(perplexities)}
    result["touched"] = {kind: sum(one["touched"][kind] for one in asked) for kind in KINDS}
    result["contradicted"] = sum(len(contradicted(draw.edits) & set(draw.scored)) for draw in draws)
    result["teach_ms"] = median([ms for row in rows for ms in row["taught_ms"]])
    teaching = sum(ms for row in rows for ms in row["taught_ms"]) / 1000
    result["seconds"] = {"teach": teaching, "ask": sum(one["seconds"] for one in asked)}
    if "verified" in rows[0]:
        result["verified"] = {name: sum(row[name] for row in rows) for name in ("verified", "bit_equal")}
    return {**result, "editor": rows[-1]["editor"]}


def holds(answer: str, wanted: str) -> bool:
    """Whether the wanted answer's words stand in an answer in their order, whatever stands around them."""
    return f" {normalised(wanted)} " in f" {normalised(answer)} "


def _perplexity(said: Forced) -> float:
    """Of the wanted answer without its stop token."""
    own = said.losses[:-1] or said.losses
    return math.exp(min(sum(own) / len(own), 50.0))
