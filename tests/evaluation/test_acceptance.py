from __future__ import annotations

import pytest

from everlearn.evaluation.acceptance import AcceptanceLimits, Measured, judge, sign_test

GOOD = Measured([True] * 10, [True] * 8 + [False] * 2, [1.0, 0.98], [0.01, 0.02], [True] * 10, [True] * 10)


def changed(**values):
    return Measured(**{name: values.get(name, getattr(GOOD, name)) for name in GOOD.__slots__})


def test_what_is_good_everywhere_is_accepted():
    judged = judge(GOOD, AcceptanceLimits())
    assert judged.accepted
    assert judged.figures == pytest.approx(
        {"reliability": 1, "generality": 0.8, "locality": 0.99, "drift": 0.015, "lost": 0, "p_lost": 1}
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"taught": [True, False]}, "reliability is 0.500, wanted 0.9 or more"),
        ({"probes": [False, True]}, "generality is 0.500"),
        ({"agreement": [0.5]}, "locality is 0.500"),
        ({"drift": [0.5]}, "KL"),
        ({"drift": [float("nan")]}, "KL"),
        ({"after": [True] * 9 + [False]}, "0.100 of what was known before is lost"),
    ],
)
def test_each_part_refuses_alone_and_says_why_in_numbers(values, reason):
    judged = judge(changed(**values), AcceptanceLimits())
    assert not judged.accepted
    assert len(judged.reasons) == 1
    assert reason in judged.reasons[0]


def test_more_losses_than_gains_refuse_where_it_is_no_accident():
    before = [True] * 100 + [False] * 100
    few = [True] * 98 + [False] * 102
    assert judge(changed(before=before, after=few), AcceptanceLimits()).accepted
    many = [True] * 92 + [False] * 108
    judged = judge(changed(before=before, after=many), AcceptanceLimits(lost=0.1))
    assert "p = 0.0039" in judged.reasons[0]


def test_the_sign_test():
    assert sign_test(0, 0) == 1.0
    assert sign_test(1, 0) == 0.5
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(2, 2) == pytest.approx(11 / 16)


def test_what_was_not_asked_is_not_judged():
    judged = judge(Measured([True]), AcceptanceLimits())
    assert judged.accepted
    assert judged.figures == {"reliability": 1.0}
