"""The router against naive ridge regression and the recursion; exact un-learning; abstaining."""

from __future__ import annotations

import numpy as np
import pytest

from everlearn.errors import FileFormatError, InputError, NotFoundError
from everlearn.specialists import router_file
from everlearn.specialists.router import SCALE, SpecialistRouter, _left_out, whole
from everlearn.specialists.router_file import load, save

WIDTH = 24


def cloud(centre, count, seed, spread=0.5):
    """Unit rows around a direction that is drawn by `centre`."""
    middle = np.random.default_rng(1000 + centre).standard_normal(WIDTH)
    rows = middle / np.linalg.norm(middle) + spread * np.random.default_rng(seed).standard_normal((count, WIDTH)) / 5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def names(prefix, count):
    return [f"{prefix}{n}" for n in range(count)]


def learned(*domains, doubt=0.05):
    router = SpecialistRouter(WIDTH, doubt=doubt)
    for number, (name, count) in enumerate(domains):
        router.learn(name, names(name, count), cloud(ord(name), count, number))
    return router


def weighted_problem(router):
    """Rows, one-hot targets and weights of the whole regression, the obvious way."""
    known = [router.statistics(d) for d in router.domains]
    rows = np.concatenate([k.rows for k in known]) / SCALE
    targets = np.concatenate([np.eye(len(known))[[d] * len(k.ids)] for d, k in enumerate(known)])
    weights = np.concatenate([np.full(len(k.ids), 1 / len(k.ids)) for k in known])
    return rows, targets, weights


def test_it_is_weighted_ridge_regression():
    router = learned(("a", 40), ("b", 15), ("c", 60))
    rows, targets, weights = weighted_problem(router)
    # The obvious twin: least squares over rows scaled by the root of their weight, with the ridge as more rows.
    tall = np.concatenate([rows * np.sqrt(weights)[:, None], np.sqrt(router.ridge) * np.eye(WIDTH + 1)])
    wanted = np.concatenate([targets * np.sqrt(weights)[:, None], np.zeros((WIDTH + 1, 3))])
    naive = np.linalg.lstsq(tall, wanted, rcond=None)[0]
    assert np.allclose(router._solved().weights * SCALE, naive, atol=1e-9)


def test_it_is_recursive_least_squares():
    router = learned(("a", 20), ("b", 20))
    rows, targets, weights = weighted_problem(router)
    inverse, solution = np.eye(WIDTH + 1) / router.ridge, np.zeros((WIDTH + 1, 2))
    for row, target, weight in zip(rows, targets, weights, strict=True):
        gain = inverse @ row / (1 / weight + row @ inverse @ row)
        solution = solution + np.outer(gain, target - row @ solution)
        inverse = inverse - np.outer(gain, row @ inverse)
    assert np.allclose(router._solved().weights * SCALE, solution, atol=1e-8)


def test_the_left_out_score_is_that_of_a_fit_without_the_row():
    router = learned(("a", 12), ("b", 12))
    fit, rows = router._solved(), router.statistics("a").rows
    square = sum(router.statistics(d).square / 12 for d in "ab")
    inverse = np.linalg.inv(router.ridge * SCALE**2 * np.eye(WIDTH + 1) + square)
    quick = _left_out(rows, fit.weights[:, 0], inverse, 12)
    for n in (0, 5, 11):
        rest = np.delete(rows, n, axis=0)
        matrix = router.ridge * SCALE**2 * np.eye(WIDTH + 1) + rest.T @ rest / 12 + router.statistics("b").square / 12
        slow = rows[n] @ np.linalg.solve(matrix, rest.sum(axis=0) / 12)
        assert quick[n] == pytest.approx(slow, abs=1e-9)


def test_prompts_go_to_their_domain_and_strangers_to_none():
    router = learned(("a", 100), ("b", 100), ("c", 10))
    for name in "abc":
        routes = router.route(cloud(ord(name), 50, 77))
        assert all(r.nearest == name for r in routes)
        assert sum(r.domain == name for r in routes) >= 35
    assert all(r.domain is None for r in router.route(cloud(1, 50, 78)))


def test_with_a_single_domain_strangers_still_go_to_none():
    router = learned(("a", 50))
    assert sum(r.domain is None for r in router.route(cloud(5, 50, 79))) == 50
    assert sum(r.domain == "a" for r in router.route(cloud(ord("a"), 50, 80))) >= 40


def test_a_domain_with_one_example_speaks_for_near_rewordings_only():
    router = learned(("a", 1), ("b", 30))
    own = router.statistics("a").rows[:, :-1].astype(np.float32) / SCALE
    assert router.route(own)[0].domain == "a"
    assert router.route(cloud(5, 1, 81))[0].domain is None


def test_calibration_leaves_about_the_share_of_doubt():
    router = learned(("a", 400), ("b", 400), doubt=0.05)
    own = router.route(cloud(ord("a"), 400, 90))
    assert 0.85 <= sum(r.domain == "a" for r in own) / 400 <= 0.97


def test_adding_a_domain_leaves_the_others_sums_alone():
    router = learned(("a", 30))
    before = router.statistics("a")
    router.learn("b", names("b", 30), cloud(ord("b"), 30, 1))
    assert router.statistics("a") is before


def test_unlearning_equals_never_having_learned_bit_for_bit():
    probe = cloud(3, 20, 5)
    never = learned(("a", 30), ("b", 17))
    for how in ("domain", "examples"):
        router = learned(("a", 30), ("b", 17), ("c", 23))
        router.unlearn("c", None if how == "domain" else names("c", 23))
        assert router.domains == ["a", "b"]
        assert router.route(probe) == never.route(probe)
    some = learned(("a", 30), ("b", 17))
    extra = cloud(9, 5, 9)
    some.learn("b", names("x", 5), extra)
    assert some.route(probe) != never.route(probe)
    some.unlearn("b", names("x", 5))
    assert np.array_equal(some.statistics("b").square, never.statistics("b").square)
    assert np.array_equal(some._solved().weights, never._solved().weights)
    assert some.route(probe) == never.route(probe)


def test_the_order_of_learning_does_not_matter():
    probe = cloud(3, 20, 5)
    one = learned(("a", 30), ("b", 17))
    other = SpecialistRouter(WIDTH)
    rows = cloud(ord("a"), 30, 0)
    other.learn("b", names("b", 17), cloud(ord("b"), 17, 1))
    other.learn("a", names("a", 30)[10:], rows[10:])
    other.learn("a", names("a", 30)[:10], rows[:10])
    assert one.route(probe) == other.route(probe)


def test_an_example_learned_again_counts_once():
    router, once = learned(("a", 10)), learned(("a", 10))
    router.learn("a", names("a", 10)[:4], cloud(ord("a"), 10, 0)[:4])
    assert np.array_equal(router.statistics("a").square, once.statistics("a").square)


def test_a_router_comes_back_from_disk(tmp_path):
    router, probe, path = learned(("a", 30), ("b", 17)), cloud(3, 20, 5), tmp_path / "r" / "router.safetensors"
    save(router, path, encoder="e1")
    assert load(path, encoder="e1").route(probe) == router.route(probe)
    with pytest.raises(FileFormatError, match="another encoder"):
        load(path, encoder="e2")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileFormatError, match="cannot be read"):
        load(path, encoder="e1")


def test_wrong_input():
    router = SpecialistRouter(WIDTH)
    assert router.route(cloud(1, 2, 0))[0].domain is None
    with pytest.raises(InputError, match="wanted"):
        router.learn("a", ["x"], np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match="finite"):
        router.learn("a", ["x"], np.full((1, WIDTH), np.nan, np.float32))
    with pytest.raises(NotFoundError, match="none yet"):
        router.unlearn("a")
    assert whole(np.ones((1, 2), np.float32)).tolist() == [[SCALE, SCALE, SCALE]]


def test_a_domain_whose_own_examples_lie_far_apart_takes_only_what_is_near_one_of_them(tmp_path):
    """Facts about anything: every stranger is as near to one of them as they are to each other."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(40, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    facts, strangers, ids = rows[:20], rows[20:], [f"l{n}" for n in range(20)]
    near = facts + 0.02 * chance.normal(size=facts.shape).astype(np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    loose, strict = SpecialistRouter(32), SpecialistRouter(32)
    loose.learn("facts", ids, facts)
    strict.learn("facts", ids, facts, least=0.65)

    def taken(router, features):
        return sum(route.domain == "facts" for route in router.route(features))

    assert taken(loose, strangers) > 0
    assert taken(strict, strangers) == 0
    assert taken(strict, near) == taken(loose, near) > 15
    strict.unlearn("facts", ["l0"])
    router_file.save(strict, tmp_path / "router.safetensors", encoder="e")
    again = router_file.load(tmp_path / "router.safetensors", encoder="e")
    assert taken(again, strangers) == 0
    assert again.statistics("facts").least == 0.65
