import pytest

from everlearn.evaluation.latency import (
    EMPTY_TABLE,
    LatencyOptions,
    added_first_token,
    measure_latency,
    percentile,
    teach_speed,
)
from everlearn.records import Lesson

from .fakes import FakeEngine, FakeLearner

LESSONS = [Lesson(f"q{n}", f"answer {n}") for n in range(30)]


def test_both_sides_are_asked_alone_in_turning_order():
    engine = FakeEngine()
    added = added_first_token(engine, ["a", "b", "c", "d"], ("default",), rounds=2)
    assert len(added.with_memory) == len(added.bare) == 8
    timed = engine.calls[6:]  # behind the warm-up
    assert [tables for _, tables in timed][:4] == [("default",), (), (), ("default",)]
    assert all(len(prompts) == 1 for prompts, _ in timed)
    assert isinstance(added.median_ms, float)


def test_nothing_asked_adds_nothing_to_say():
    assert added_first_token(FakeEngine(), [], ()).median_ms is None


def test_teach_speed_teaches_every_lesson_once():
    engine = FakeEngine()
    learner, sizes = FakeLearner(engine), []

    def teach(lessons):
        sizes.append(len(lessons))
        return learner.teach_all(lessons)

    speed = teach_speed(teach, LESSONS, singles=10)
    assert sizes == [1] * 13 + [17]
    assert (speed.singles, speed.bulk, learner.count) == (10, 17, 30)
    assert 0 < speed.teach_ms <= speed.teach_ms_p95
    assert speed.bulk_seconds > 0


def test_latency_grows_the_table_and_says_what_spoke():
    engine = FakeEngine()
    options = LatencyOptions(sizes=(0, 5, 20), questions=4, rounds=1)
    report = measure_latency(engine, FakeLearner(engine).teach_all, LESSONS, ["x", "q3", "z"], options)
    assert [cost.entries for cost in report.sizes] == [0, 5, 20]
    assert report.sizes[0].added_ms_hits is None
    assert [cost.spoke_hits for cost in report.sizes] == [0, 4, 4]
    assert [cost.spoke_unrelated for cost in report.sizes] == [0, 1, 1]
    assert report.entries == 20
    assert EMPTY_TABLE in engine.memory.store.tables_
    assert report.token_ratio_hits > 0


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 1), (0.5, 3), (0.95, 5), (1.0, 5)])
def test_percentile_is_the_nearest_rank(share, wanted):
    assert percentile([3, 1, 2, 5, 4], share) == wanted
