"""Questions that need several edits: which count, which other edits contradict, and why the others were wrong."""

import json

import pytest

from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.multihop import TABLE, MultihopOptions, run_multihop
from everlearn.evaluation.multihop_cases import contradicted, drawn, newest, read_cases, untaught
from toys import toy_learner


def row(name, chain, edited, questions, answer, aliases=()):
    """A case as in MQuAKE: hops are (subject, relation, object)."""
    return {
        "case_id": name,
        "requested_rewrite": [
            {
                "prompt": "{} has " + relation,
                "subject": s,
                "target_new": {"str": value},
                "question": f"{relation} of {s}?",
            }
            for s, relation, value in edited
        ],
        "questions": questions,
        "new_answer": answer,
        "new_answer_alias": list(aliases),
        "orig": {"new_triples": chain, "edit_triples": edited},
    }


OWNER, CITY, OTHER = ["Tarnix", "owner", "Velora"], ["Velora", "city", "Umbral"], ["Velora", "city", "Tarn"]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "cases.jsonl"
    rows = [
        row("one", [OWNER, CITY], [OWNER], ["owner of Tarnix?"], "Velora", ["Velora Holding"]),
        row("two", [OWNER, CITY], [CITY], ["Nonsense?", "city of Velora?"], "umbral"),
        row("three", [["Ostra", "owner", "Velora"], OTHER], [["Ostra", "owner", "Velora"]], ["Where?"], "Tarn"),
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_cases_know_what_others_contradict(data):
    one, two, three = cases = read_cases(data)
    state = newest(cases)
    assert [contradicted(case, state) for case in cases] == [False, False, True]
    assert [untaught(case, state) for case in cases] == [0, 0, 0]
    assert (one.untold, two.untold, three.untold) == (1, 1, 1)
    assert untaught(one, newest([one])) == 1


def test_a_sample_keeps_the_order(data):
    cases = read_cases(data)
    assert drawn(cases, 0, 0) == cases
    assert drawn(cases, 2, 5) == [case for case in cases if case in drawn(cases, 2, 5)]
    with pytest.raises(InputError, match="4 cases were wanted, there are 3"):
        drawn(cases, 4, 0)


def test_a_line_of_another_form_is_named(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text('{"prompt": "x"}')
    with pytest.raises(FileFormatError, match="line 1 is not a case"):
        read_cases(path)


def test_any_phrasing_counts_and_the_reasons_are_told(engine, data, tmp_path):
    teach = toy_learner(engine).teach_many
    options = MultihopOptions(data=data, max_new_tokens=24, state=tmp_path / "state")
    report = run_multihop(engine, teach, options)
    assert (report.accuracy.right, report.accuracy.cases, report.edits) == (2, 3, 3)
    assert (report.uncontradicted.right, report.uncontradicted.cases) == (2, 2)
    assert report.reasons == {"contradicted": 1}
    assert report.by_hops["2"].cases == 3
    assert [failure["wanted"] for failure in report.failures] == ["Tarn"]
    assert report.to_dict()["share"] == pytest.approx(2 / 3)


def test_an_interrupted_run_asks_only_what_is_missing(engine, data, tmp_path, monkeypatch):
    learner, options = toy_learner(engine), MultihopOptions(data=data, max_new_tokens=24, state=tmp_path / "state")
    asked, answer = [], type(engine).answer

    def stops(self, question, **more):
        asked.append(question)
        if question == "Where?" and len(asked) < 5:
            raise KeyboardInterrupt
        return answer(self, question, **more)

    monkeypatch.setattr(type(engine), "answer", stops)
    with pytest.raises(KeyboardInterrupt):
        run_multihop(engine, learner.teach_many, options)
    before = len(asked)
    asked += ["", "", ""]
    report = run_multihop(engine, learner.teach_many, options)
    assert asked[before + 3 :] == ["Where?"]
    assert report.accuracy.right == 2
    assert TABLE in {info.name for info in engine.memory.store.tables()}
