"""Courtesy: work in the background waits for answers, but not for ever."""

import pytest

from everlearn.engine import courtesy
from everlearn.engine.courtesy import Courtesy


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
    Courtesy(lambda: False, 10.0)()
    assert clock.now == 0


def test_it_waits_until_the_last_answer_has_ended(clock):
    Courtesy(lambda: clock.now < 3.0, 10.0)()
    assert 3.0 <= clock.now < 3.1


@pytest.mark.parametrize("most", [0.0, 10.0])
def test_a_step_is_done_at_last_on_a_server_that_is_never_idle(clock, most):
    Courtesy(lambda: True, most)()
    assert most <= clock.now < most + 0.1
