"""Courtesy: work in the background waits for answers, and has its share of the time."""

import pytest

from everlearn.engine import courtesy
from everlearn.engine.courtesy import Courtesy
from everlearn.records import Sampling


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(courtesy, "time", made)
    return made


def test_where_nobody_is_answered_nothing_waits(clock):
    Courtesy(lambda: False, 0.1)()
    assert clock.now == 0


def test_it_waits_until_the_last_answer_has_ended(clock):
    Courtesy(lambda: clock.now < 3.0, 0.1)()
    assert 3.0 <= clock.now < 3.1


@pytest.mark.parametrize("step", [0.1, 2.0])
def test_a_server_that_is_never_idle_learns_in_its_share_of_the_time(clock, step):
    give_way = Courtesy(lambda: True, 0.2)
    give_way()
    begun = clock.now
    for _ in range(10):
        clock.now += step
        give_way()
    assert (10 * step) / (clock.now - begun) == pytest.approx(0.2, rel=0.1)


def test_a_rest_is_no_work(clock):
    give_way = Courtesy(lambda: True, 0.1)
    give_way()
    clock.now += 10_000
    begun = clock.now
    give_way()
    assert clock.now - begun < 60


def test_all_of_the_time_is_never_waited_for(clock):
    Courtesy(lambda: True, 1.0)()
    assert clock.now == 0


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match="share"):
        Courtesy(lambda: True, share)


def test_a_batch_in_the_background_gives_way_between_tokens(engine):
    asked = []
    engine.give_way = lambda: asked.append(1)
    sampling = Sampling(max_new_tokens=4)
    plain = engine.answer_many(["Who?", "Where?"], sampling=sampling)
    assert asked == []
    patient = engine.answer_many(["Who?", "Where?"], sampling=sampling, in_background=True)
    assert [a.text for a in patient] == [a.text for a in plain]
    assert len(asked) >= 2 + 4
