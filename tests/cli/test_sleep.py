import inspect

import pytest

from everlearn import wiring
from everlearn.cli.sleep import sleep as sleep_command
from everlearn.learning import learner as learner_module
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.records import Verdict
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.shelf import AdapterShelf
from toys import toy_parts

ACCEPTED = Verdict("d@1", True, (), {"reliability": 1.0, "drift": 0.01}, ("l1", "l2"), ("l1",), "", 3.2)
REFUSED = Verdict("d", False, ("locality is 0.100, wanted 0.95 or more",), {"locality": 0.1}, ("l1",))


@pytest.fixture
def own_parts(cli, monkeypatch):
    """A model of its own: the one that tests share must not get adapters."""
    parts = toy_parts()
    monkeypatch.setattr(wiring, "load_parts", lambda settings, progress=None: parts)


def verdicts(monkeypatch, *given):
    seen = []

    def sleep(_self, domain=None, *, settings=None, rewording=None, progress=None):
        seen.append((domain, settings, rewording))
        progress("training", 1, 2)
        return list(given)

    monkeypatch.setattr(learner_module.Learner, "sleep", sleep)
    return seen


def test_an_accepted_candidate_is_shown_with_its_figures(cli, own_parts, monkeypatch):
    seen = verdicts(monkeypatch, ACCEPTED)
    result = cli("sleep", "--domain", "d", "--epochs", "2", "--fresh")
    assert result.code == 0, result
    for part in ("d@1", "accepted", "1.000", "0.010"):
        assert part in result.out
    ((domain, settings, rewording),) = seen
    assert (domain, settings.training.epochs, settings.fresh, rewording) == ("d", 2, True, None)


@pytest.mark.parametrize(
    ("spoken", "teacher"),
    [(("base",), "LocalTeacher"), (("http://127.0.0.1:1/v1", "--teacher-model", "big"), "EndpointTeacher")],
)
def test_who_puts_lessons_in_other_words_is_chosen(cli, own_parts, monkeypatch, spoken, teacher):
    seen = verdicts(monkeypatch, ACCEPTED)
    assert cli("sleep", "--restate", *spoken, "--null-space", "0.5").code == 0
    assert type(seen[0][2]._teacher).__name__ == teacher
    assert seen[0][1].null_space == 0.5


@pytest.mark.parametrize("spoken", [("magic",), ("http://127.0.0.1:1/v1",), ("templates", "--null-space", "0")])
def test_who_cannot_reword_is_told(cli, own_parts, spoken):
    result = cli("sleep", "--restate", *spoken)
    assert result.code == 2
    assert "Wanted" in result.err or "--teacher-model" in result.err


def test_a_refused_one_says_why_and_exits_with_1(cli, own_parts, monkeypatch):
    verdicts(monkeypatch, REFUSED)
    result = cli("sleep")
    assert result.code == 1
    assert "locality is 0.100" in result.out
    assert "nothing was changed" in result.out
    assert cli("sleep", "--json").json["verdicts"][0]["accepted"] is False


def test_nothing_new(cli, own_parts):
    result = cli("sleep")
    assert result.code == 0
    assert "nothing new" in result.out
    wrong = cli("sleep", "--domain", "x")
    assert wrong.code == 2
    assert "no lesson to learn" in wrong.err
    assert cli("sleep", "--rate", "0").code == 2


@pytest.fixture
def shelf(tmp_path, teach):
    """Two versions of one adapter, the second in use, trained on a taught lesson."""
    made = AdapterShelf(tmp_path / "home" / "adapters")

    def write(folder):
        (folder / "w").write_bytes(b"x")
        return "d" * 64

    ids = (teach("Who bakes?", "Mo"),)
    made.put(Adapter("support", "toy", "a" * 64), write)
    made.put(Adapter("support", "toy", "a" * 64, lessons=ids, answers=ids, parent="support@1"), write)
    made.point("support", 2)
    return made


def test_versions_are_listed_and_shown(cli, shelf):
    listed = cli("adapters", "list")
    assert "support@1" in listed.out
    assert "support@2\tyes" in listed.out
    assert [a["in_use"] for a in cli("adapters", "list", "--json").json["adapters"]] == [False, True]
    shown = cli("adapters", "show", "support")
    assert "Who bakes?" in shown.out
    assert "support@1" in shown.out
    assert cli("adapters", "show", "support@1", "--json").json["in_use"] is False


def test_rolling_back(cli, shelf):
    assert "support@1" in cli("adapters", "rollback", "support@1").out
    assert shelf.current("support") == 1
    assert cli("adapters", "rollback", "support", "--off", "--json").json == {"adapter": "support", "step": None}
    assert shelf.current("support") is None
    for wrong in (("support",), ("support@1", "--off"), ("support@9",), ("nobody", "--off")):
        assert cli("adapters", "rollback", *wrong).code == 2


def test_forgetting_a_lesson_takes_its_versions(cli, shelf):
    lesson_id = shelf.find("support@2").lessons[0]
    result = cli("lessons", "forget", lesson_id, "--yes")
    assert result.code == 0, result
    assert "support@2" in result.out
    assert [v.id for v in shelf.all()] == ["support@1"]
    assert shelf.current("support") == 1


def test_what_help_calls_the_default_is_the_default():
    shown = {name: each.default for name, each in inspect.signature(sleep_command).parameters.items()}
    plain = SleepSettings()
    assert (shown["epochs"], shown["rate"]) == (plain.training.epochs, plain.training.rate)
    assert (shown["strength"], shown["seed"]) == (plain.training.strength, plain.training.seed)
    assert (shown["rank"], 2.0 * shown["rank"]) == (plain.adapter.rank, plain.adapter.alpha)
    assert (shown["wordings"], shown["null_space"]) == (plain.wordings, plain.null_space)
