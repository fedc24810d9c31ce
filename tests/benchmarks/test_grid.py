"""The grid: draws, cells with their scores, journals, result files."""

import json

import pytest

import editing_grid
from editing_cells import Cell, CellOptions, holds
from editing_draws import draws_of, read_set
from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.edits import Edit, Probe
from everlearn.evaluation.journal import Journal
from everlearn.wiring import load_settings
from peers.decoding import Decoder
from peers.editor import Bare

EDITS = [
    Edit(
        f"What does {name} say?", f"{name[0]} {n}", (f"{name}, what does it say?",), (Probe(f"Why {n}?", "so"),), n + 1
    )
    for n, name in enumerate(["Zorblat", "Quandt", "Mirela", "Tolk", "Ibrun", "Wexel", "Yorin", "Palk"])
]


def test_draws_of_few_edits_are_disjoint_and_score_the_same_edits_as_one_of_many():
    single, pairs, many = (draws_of(EDITS, taught, 4, seed=3) for taught in (1, 2, 8))
    assert [len(d) for d in (single, pairs, many)] == [4, 2, 1]

    def scored(draws):
        return {d.edits[n].line for d in draws for n in d.scored}

    assert scored(single) == scored(pairs) == scored(many)
    assert len(scored(many)) == 4
    assert [e.line for e in many[0].edits] == sorted(e.line for e in EDITS)


def test_more_edits_than_there_are_cannot_be_drawn():
    with pytest.raises(InputError, match="holds 8"):
        draws_of(EDITS, 9, 4, seed=0)


def test_hallucinations_are_read_as_edits(tmp_path):
    row = {"prompt": "p ", "target_new": "t", "locality_prompt": "l ", "locality_ground_truth": "g"}
    (tmp_path / "hallucination.jsonl").write_text(json.dumps(row) + "\n{}\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="line 2"):
        read_set(tmp_path, "hallucination")
    (tmp_path / "hallucination.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert read_set(tmp_path, "hallucination") == [Edit("p", "t", (), (Probe("l", "g"),), 1)]


def test_an_answer_holds_what_was_wanted_only_as_whole_words():
    assert holds("It is the Noctuidae family.", "noctuidae")
    assert not holds("It is 12.", "1")


class Oracle:
    """Answers the taught prompt and nothing else; touches what it says it does."""

    name, own_bare = "oracle", False

    def __init__(self, bare):
        self._bare, self._known, self.teachings = bare, {}, 0

    def begin(self):
        self._known = {}

    def teach(self, edits):
        self.teachings += 1
        self._known = {e.prompt: e for e in edits}
        return [1.0] * len(edits)

    def touches(self, questions):
        return [q.text in self._known for q in questions]

    def free(self, questions, most):
        del most
        return [
            type(g)(self._known[q.text].target, "stop")
            for q, g in zip(questions, self._bare.free(questions, 1), strict=True)
        ]

    def forced(self, questions):
        assert not questions
        return []

    def settings(self):
        return {}

    def close(self):
        pass


@pytest.fixture
def bare(parts):
    return Bare(Decoder(parts.model.module, parts.text))


def run_cell(editor, bare, parts, journal, draws, protocols=("wild",)):
    options = CellOptions(protocols, new_tokens=6, locality_tokens=4)
    return Cell(editor, bare, parts.text, options, journal).run(draws, lambda done, total: None)


def test_scores_go_where_they_belong(bare, parts):
    found = run_cell(Oracle(bare), bare, parts, Journal(None), draws_of(EDITS, 2, 4, seed=0))["wild"]
    assert (found["reliability"], found["generality"], found["locality"]) == (1, 0, 1)
    assert found["questions"] == {"taught": 4, "rephrase": 4, "locality": 4}
    assert found["touched"] == {"taught": 4, "rephrase": 0, "locality": 0}
    assert (found["draws"], found["scored_edits"], found["teach_ms"]) == (2, 4, 1)
    assert found["intervals"]["reliability"].low < 1


def test_an_interrupted_cell_goes_on_with_the_next_draw(bare, parts, tmp_path):
    draws = draws_of(EDITS, 2, 4, seed=0)
    with Journal(tmp_path / "cell.jsonl") as journal:
        run_cell(Oracle(bare), bare, parts, journal, draws[:1])
    with Journal(tmp_path / "cell.jsonl") as journal:
        editor = Oracle(bare)
        found = run_cell(editor, bare, parts, journal, draws)
    assert editor.teachings == 1
    assert found["wild"]["scored_edits"] == 4


@pytest.fixture
def grid(tmp_path, parts):
    rows = [
        {
            "prompt": e.prompt,
            "target": e.target,
            "rephrases": e.rephrases,
            "locality": [{"prompt": "Why?", "answer": "so"}],
        }
        for e in EDITS
    ]
    (tmp_path / "qaedit.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def run(*more):
        given = ["--data", tmp_path, "--sets", "qaedit", "--out", tmp_path / "out", "--state", tmp_path / "state"]
        args = editing_grid.arguments([*map(str, given), *more])
        return editing_grid.run(args, load_settings(home=tmp_path), parts)

    return run


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # of PEFT
def test_every_method_gives_a_result_under_both_protocols(grid):
    methods = ["bare", "everlearn", "retrieval-1", "grace", "lora-batch"]
    written = grid(
        "--methods", *methods, "--edits", "2", "--sample", "2", "--grace-steps", "2", "--grace-radius", "0.01"
    )
    found = {path.name: json.loads(path.read_text()) for path in written}
    assert set(found) == {f"qaedit-2-{m}-{p}.json" for m in methods for p in ("wild", "teacher-forced")}
    for result in found.values():
        assert {"date", "command", "where", "data", "model", "reliability", "seconds"} <= set(result)
    assert found["qaedit-2-everlearn-wild.json"]["reliability"] == 1
    assert found["qaedit-2-bare-wild.json"]["locality"] == 1
    assert found["qaedit-2-everlearn-teacher-forced.json"]["reliability"] == 1
    assert found["qaedit-2-grace-teacher-forced.json"]["perplexity"]["mean"] > 1
    verified = found["qaedit-2-everlearn-wild.json"]["verified"]
    assert verified["verified"] == verified["bit_equal"] > 0


def test_what_is_there_is_not_measured_again(grid, monkeypatch):
    first = grid("--methods", "bare", "--edits", "all")
    assert [p.name for p in first] == ["qaedit-8-bare-wild.json", "qaedit-8-bare-teacher-forced.json"]
    monkeypatch.setattr(editing_grid.Cell, "run", lambda *_: pytest.fail("measured again"))
    assert grid("--methods", "bare", "--edits", "all", "100") == first
