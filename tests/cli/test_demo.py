import dataclasses
import functools

import pytest

from everlearn.cli.demo import passed, report_view
from everlearn.cli.screen import show
from everlearn.evaluation import demonstration
from everlearn.evaluation.facts import FACTS, UNRELATED
from toys import toy_engine, toy_learner

WANTED = {
    "taught",
    "answered",
    "unrelated",
    "identical",
    "forgotten_bit_equal",
    "teach_ms_median",
    "added_ms_median",
}


@pytest.fixture(scope="module")
def report(parts):
    """The real demonstration on the toy model, whose encoder finds no paraphrases: what counts here is the form."""
    engines = []

    def make():
        engines.append(toy_engine(parts=parts))
        return engines[-1], toy_learner(engines[-1])

    made = demonstration.run_demo(*make(), make, facts=FACTS[:3], unrelated=UNRELATED[:2])
    for engine in engines:
        engine.close()
    return made


def test_it_runs_without_touching_the_users_lessons(cli, tmp_path, monkeypatch):
    short = functools.partial(demonstration.run_demo, facts=FACTS[:2], unrelated=UNRELATED[:2])
    monkeypatch.setattr(demonstration, "run_demo", short)
    result = cli("demo", "--json")
    assert result.json.keys() >= WANTED
    assert (result.json["taught"], result.json["unrelated"]) == (2, 2)
    assert result.json["proof"]["bit_equal"] is True
    assert result.code == 1, "the toy encoder does not find facts in other words, and that is said"
    assert not (tmp_path / "home" / "lessons.db").exists()


def test_a_person_sees_every_measure(report, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    show(report_view(report))
    out = capsys.readouterr().out
    for fact in report.facts:
        assert fact.question in out
    for part in ("Taught", "Untouched", "Forgotten", "Measured", "identical", "bytes lesson", "ms (median)", "of 3"):
        assert part in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal(report, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    show(report_view(report))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width


def test_it_passes_only_if_everything_is_as_promised(report):
    good = dataclasses.replace(report, answered=3, taught=3, unrelated=2, identical=2, forgotten_bit_equal=True)
    assert passed(good)
    for change in ({"answered": 2}, {"identical": 1}, {"forgotten_bit_equal": False}):
        assert not passed(dataclasses.replace(good, **change))


def test_what_fails_is_seen(report, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    proof = dataclasses.replace(report.proof, bit_equal=False, differed_while_known=False)
    others = tuple(dataclasses.replace(row, identical=False, after="changed!") for row in report.others)
    show(report_view(dataclasses.replace(report, proof=proof, others=others)))
    out = capsys.readouterr().out
    for part in ("they differ", "this proves nothing", "changed!", "✗"):
        assert part in out
