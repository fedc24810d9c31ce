import dataclasses
import json

import pytest

from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.editing import EditingOptions, run_editing
from everlearn.records import Lesson, TableSettings

from .fakes import FakeEngine, FakeLearner, KilledError


def edit(number, **more):
    return {
        "prompt": f"taught {number}",
        "target": f"answer {number}",
        "rephrases": [f"other words {number}", f"more words {number}"],
        "locality": [{"prompt": f"elsewhere {number}", "answer": "gold"}],
        **more,
    }


EDITS = [edit(number) for number in range(6)]
MEANS = {f"{words} words {n}": f"taught {n}" for n in range(6) for words in ("other", "more")}


@pytest.fixture
def data(tmp_path):
    def write(edits):
        path = tmp_path / "edits.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in edits), encoding="utf-8")
        return path

    return write


def measure(engine, path, learner=None, **options):
    learner = learner or FakeLearner(engine)
    defaults = {"edits": 6, "batch_size": 4, "timed_questions": 4}
    return run_editing(engine, learner.teach_all, EditingOptions(path, **{**defaults, **options}))


def test_a_perfect_memory_scores_one_throughout(data):
    report = measure(FakeEngine(MEANS), data(EDITS))
    assert (report.reliability, report.generality, report.locality) == (1, 1, 1)
    assert (report.edits, report.sampled) == (6, 6)
    assert report.questions == {"taught": 6, "rephrase": 12, "locality": 6}
    assert dataclasses.astuple(report.recall["rephrase"]) == (12, 0, 0)
    assert dataclasses.astuple(report.recall["locality"]) == (0, 0, 6)
    assert report.intervals["generality"].low < 1
    assert report.teach_ms > 0
    assert report.added_ms is not None
    assert report.active_entries == 6
    assert list(report.failures) == []
    assert json.loads(json.dumps(report.to_dict()))["reliability"] == 1


def test_each_fault_is_counted_where_it_belongs(data):
    means = {**MEANS, "other words 1": "taught 2", "elsewhere 3": "taught 3"}
    del means["more words 0"]
    report = measure(FakeEngine(means, endless=["taught 5"], drift=["elsewhere 4"]), data(EDITS))
    assert report.reliability == pytest.approx(5 / 6)
    assert report.generality == pytest.approx(10 / 12)
    assert report.locality == pytest.approx(4 / 6)
    assert dataclasses.astuple(report.recall["rephrase"]) == (10, 1, 1)
    assert dataclasses.astuple(report.recall["locality"]) == (0, 1, 5)
    assert report.changed_without_recall == 1
    failures = {row["question"]: row for row in report.failures}
    assert set(failures) == {"taught 5", "other words 1", "more words 0", "elsewhere 3", "elsewhere 4"}
    assert failures["taught 5"]["finish"] == "length"
    assert failures["other words 1"]["spoke"] == "taught 2"
    assert failures["more words 0"]["recalled"] == "none"
    assert failures["elsewhere 3"]["wanted"] == "elsewhere 3"


def test_the_bare_model_is_asked_first_and_locality_in_the_same_batches(data):
    engine = FakeEngine(MEANS)
    measure(engine, data(EDITS))
    bare = [prompts for prompts, tables in engine.calls if tables == () and prompts[0].startswith("elsewhere")]
    after = [prompts for prompts, tables in engine.calls if tables != () and prompts[0].startswith("elsewhere")]
    assert bare[:2] == after[:2] == [tuple(f"elsewhere {n}" for n in some) for some in (range(4), range(4, 6))]
    assert engine.calls[0][1] == ()


def test_the_sample_is_seeded_and_everything_is_taught(data):
    engine = FakeEngine(MEANS)
    first = measure(engine, data(EDITS), sample=3, seed=1)
    asked = {p for prompts, tables in engine.calls if tables for p in prompts if p.startswith("taught")}
    assert (first.edits, first.sampled, first.questions["taught"], len(asked)) == (6, 3, 3, 3)
    assert first.active_entries == 6
    again = FakeEngine(MEANS)
    measure(again, data(EDITS), sample=3, seed=1)
    assert engine.calls == again.calls
    other = FakeEngine(MEANS)
    measure(other, data(EDITS), sample=3, seed=2)
    assert engine.calls != other.calls


def test_questions_for_each_edit_can_be_limited(data):
    assert measure(FakeEngine(MEANS), data(EDITS), rephrases=1).questions["rephrase"] == 6


def test_edits_that_contradict_each_other_are_counted_and_scored_as_they_are(data):
    edits = [*EDITS[:5], edit(0, target="another answer")]
    report = measure(FakeEngine(MEANS), data(edits))
    assert (report.superseded, report.contradicted, report.active_entries) == (1, 1, 5)
    assert report.reliability == pytest.approx(5 / 6)
    assert report.reliability_without_superseded == 1
    assert report.generality_without_superseded == 1
    assert report.recall["taught"].wrong == 0


def test_what_only_a_smaller_batch_changed_is_asked_again_alone(data, tmp_path):
    engine = FakeEngine(MEANS, rounded=["elsewhere 0", "elsewhere 2"], drift=["elsewhere 1"])
    learner = FakeLearner(engine)
    report = measure(engine, data(EDITS), learner, state=tmp_path)
    assert report.locality == pytest.approx(5 / 6)
    assert (report.changed_without_recall, report.asked_again_alone) == (1, 3)
    calls = len(engine.calls)
    assert measure(engine, data(EDITS), learner, state=tmp_path).locality == report.locality
    assert len(engine.calls) == calls


def test_locality_questions_that_another_edit_teaches_are_counted(data):
    edits = [*EDITS[:5], edit(5, locality=[{"prompt": "Taught 2?"}, {"prompt": "other words 1"}, {"prompt": "else"}])]
    report = measure(FakeEngine(MEANS), data(edits))
    assert report.locality == pytest.approx(6 / 8)
    assert (report.locality_also_taught, report.locality_without_taught) == (2, 1)


def test_teacher_forced_scores_the_share_of_tokens(data):
    edits = [edit(0, target="abcd"), edit(1, target="xy")]
    means = {**MEANS, "elsewhere 1": "taught 1"}
    del means["more words 1"]
    report = measure(FakeEngine(means), data(edits), edits=2, protocol="teacher-forced")
    assert report.reliability == 1
    assert report.generality == pytest.approx(3 / 4)  # "more words 1" is echoed: no letter of "xy" in its place
    assert report.complete["rephrase"] == pytest.approx(3 / 4)
    assert report.locality == pytest.approx(1 / 2)  # "elsewhere 1" becomes "xy": none of 5 steps as before
    assert report.protocol == "teacher-forced"


def test_teacher_forced_halves_count(data):
    engine = FakeEngine({"other words 0": "taught 1"})
    report = measure(
        engine,
        data([edit(0, target="abcd", rephrases=["other words 0"]), edit(1, target="abxx", rephrases=[])]),
        edits=2,
        protocol="teacher-forced",
    )
    assert report.generality == 0.5
    assert report.complete["rephrase"] == 0


def test_teacher_forced_needs_the_locality_answers(data):
    edits = [edit(0, locality=[{"prompt": "elsewhere"}])]
    assert measure(FakeEngine(MEANS), data(edits), edits=1).locality == 1
    with pytest.raises(InputError, match="Line 1"):
        measure(FakeEngine(MEANS), data(edits), edits=1, protocol="teacher-forced")


@pytest.mark.parametrize("where", ["engine", "learner"])
@pytest.mark.parametrize("survived", range(8))
def test_an_interrupted_measurement_goes_on_where_it_stopped(data, tmp_path, where, survived):
    path, state = data(EDITS), tmp_path / "state"
    whole = measure(FakeEngine(MEANS), path)
    engine = FakeEngine(MEANS)
    learner = FakeLearner(engine)
    victim = engine if where == "engine" else learner
    victim.fail_after = survived
    try:
        measure(engine, path, learner, state=state)
    except KilledError:
        victim.fail_after = None
    report = measure(engine, path, learner, state=state)
    assert (report.reliability, report.generality, report.locality) == (1, 1, 1)
    assert report.recall == whole.recall
    assert learner.count == 6  # nothing was taught twice
    scored = [call for call in engine.calls if len(call[0]) > 1]
    assert len(scored) == len(set(scored))  # nothing was asked twice
    calls = len(engine.calls)
    assert measure(engine, path, learner, state=state).to_dict() == report.to_dict()
    assert len(engine.calls) == calls


def test_an_edit_that_was_taught_but_not_noted_is_noted_without_a_time(data, tmp_path):
    path, state = data(EDITS), tmp_path / "state"
    engine = FakeEngine(MEANS)
    learner = FakeLearner(engine)
    learner.fail_before_noted = 3
    with pytest.raises(KilledError):
        measure(engine, path, learner, state=state)
    report = measure(engine, path, learner, state=state)
    assert (report.reliability, report.generality, learner.count) == (1, 1, 6)
    journal = [json.loads(line) for line in next(state.iterdir()).read_text().splitlines()]
    assert [r["known"] for r in journal if r["kind"] == "taught"] == [False, False, True, False, False, False]


def test_other_options_data_or_restart_begin_anew(data, tmp_path):
    engine, state = FakeEngine(MEANS), tmp_path / "state"
    learner = FakeLearner(engine)

    def calls_of(edits=EDITS, **options):
        before = len(engine.calls)
        measure(engine, data(edits), learner, state=state, **options)
        return len(engine.calls) - before

    full = calls_of()
    assert calls_of() == 0
    assert calls_of(restart=True) == full
    assert calls_of(max_new_tokens=65) == full
    assert calls_of(setup={"encoder": "other"}) == full
    assert calls_of(table_settings=TableSettings(threshold=0.9)) == full
    assert calls_of([edit(9), *EDITS[1:]]) == full


def test_answers_do_not_count_when_what_was_taught_is_gone(data, tmp_path):
    path, state = data(EDITS), tmp_path / "state"
    measure(FakeEngine(MEANS), path, state=state)
    engine = FakeEngine(MEANS)
    report = measure(engine, path, state=state)
    assert report.reliability == 1
    assert engine.memory.store.lessons_


def test_what_the_table_held_before_is_dropped_and_other_tables_are_left_alone(data):
    engine = FakeEngine(MEANS)
    learner = FakeLearner(engine)
    learner.teach(Lesson("taught 0", "mine", table="default"))
    path = data(EDITS)
    measure(engine, path, learner, table="bench")
    report = measure(engine, path, learner, table="bench")
    assert (report.reliability, report.active_entries) == (1, 6)
    assert [x.answer for x in engine.memory.store.lessons_.values() if x.table == "default"] == ["mine"]


@pytest.mark.parametrize(
    "options",
    [{"edits": 0}, {"edits": 7}, {"sample": 7}, {"sample": -1}, {"batch_size": 0}, {"rephrases": -1}],
)
def test_impossible_numbers_are_refused(data, options):
    with pytest.raises(InputError):
        measure(FakeEngine(), data(EDITS), **options)


def test_a_bad_line_is_named_before_anything_is_asked(data):
    engine = FakeEngine()
    with pytest.raises(FileFormatError, match="line 3"):
        measure(engine, data([*EDITS[:2], {"prompt": "x"}, *EDITS[3:]]))
    assert engine.calls == []


def test_a_limit_below_the_longest_wanted_answer_is_raised(data):
    report = measure(FakeEngine(MEANS), data([edit(0, target="x" * 100)]), edits=1)
    assert report.settings["max_new_tokens"] == 102
    assert report.reliability == 1


def test_progress_rises_to_its_total(data):
    seen = []
    engine = FakeEngine(MEANS)
    options = EditingOptions(data(EDITS), 6, batch_size=4, timed_questions=4)
    run_editing(engine, FakeLearner(engine).teach_all, options, lambda *step: seen.append(step))
    done = [step[0] for step in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1
