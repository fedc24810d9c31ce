"""Chains: the search equals trying everything, and following a chain asks nobody but lessons and the base model."""

import itertools

import numpy as np

from everlearn.memory.chains import Chain, Search, follow
from everlearn.memory.mentions import Mention
from everlearn.memory.relations import Fact, Relations, around

FACTS = [
    Fact(str(n), "default", prompt, answer)
    for n, (prompt, answer) in enumerate(
        [
            ("Who is Anna's mother?", "Berta"),
            ("Who is Berta's mother?", "Carla"),
            ("Who is Carla's mother?", "Dora"),
            ("Who is Carla's brother?", "Emil"),
            ("Where does Carla live?", "Umbral"),
            ("Where does Dora live?", "Tarn"),
            ("Where does Emil live?", "Umbral"),
            ("Who rules Umbral?", "Olaf"),
        ]
    )
]
RELATIONS = Relations(FACTS, lambda _: 0.5)
ANNA = Mention(0, 1, ("anna",), "Anna")


def about(subject):
    return [(f, shape) for f in FACTS if (shape := around(f.prompt, subject)) is not None]


def search(most):
    return Search(RELATIONS, about, lambda shape: np.zeros(3, np.float32), np.ones(3, np.float32), most)


def every_chain(subject, most, used=()):
    """The naive twin: try every lesson about what is known so far."""
    for fact, _ in about(subject):
        if fact.lesson_id not in used and most:
            yield (fact.lesson_id,)
            rest = every_chain((fact.answer.casefold(),), most - 1, (*used, fact.lesson_id))
            yield from ((fact.lesson_id, *more) for more in rest)


def told_ids(chains):
    return sorted(tuple(hop.fact.lesson_id for hop in chain.hops) for chain in chains if not chain.open)


def test_chains_through_lessons_are_all_there_are():
    for most in (1, 2, 3, 4):
        assert told_ids(search(most).chains(ANNA)) == sorted(set(every_chain(("anna",), most)))


def test_a_chain_reads_as_one_question():
    asked = {chain.question for chain in search(3).chains(ANNA)}
    assert "where does the the anna s mother s mother live?" in asked


def test_following_a_chain_tells_each_hop():
    chain = next(c for c in search(4).chains(ANNA) if told_ids([c]) == [("0", "1", "4", "7")])
    told = follow(chain, lambda *_: pytest_fail())
    assert [hop.answer for hop in told] == ["Berta", "Carla", "Umbral", "Olaf"]


def test_the_base_model_fills_a_gap_and_its_answer_leads_to_a_lesson():
    zeno = Mention(0, 1, ("zeno",), "Zeno")
    asked = []

    def ask(question, candidates):
        asked.append((question, sorted(candidates)))
        return "Carla", 0.6

    open_chains = [c for c in search(2).chains(zeno) if c.open == 1 and c.hops[-1].taught]
    told = [follow(chain, ask) for chain in open_chains]
    lives = next(t for t in told if t is not None and t[-1].answer == "Umbral")
    assert lives[0].fact is None
    assert lives[0].sureness == 0.6
    assert ("Who is Zeno s mother?".casefold(), ["Carla", "Dora"]) in [(q.casefold(), c) for q, c in asked]


def test_what_nobody_taught_is_no_chain():
    zeno = Mention(0, 1, ("zeno",), "Zeno")
    for chain in search(3).chains(zeno):
        assert any(hop.taught for hop in chain.hops)


def test_a_chain_stops_where_no_lesson_is_about_the_answer():
    zeno = Mention(0, 1, ("zeno",), "Zeno")
    chains = [c for c in search(2).chains(zeno) if c.open == 1 and c.hops[-1].taught]
    assert all(follow(chain, lambda *_: ("nobody known", 0.1)) is None for chain in chains)


def test_open_hops_are_penalised():
    some = search(2)
    plain = Chain(ANNA, (), np.ones(3, np.float32))
    assert all(some.score(c) < some.score(plain) for c in itertools.islice(some.chains(ANNA), 3))


def pytest_fail():
    raise AssertionError("the base model was asked")
