import json

from everlearn.evaluation.demonstration import run_demo
from everlearn.evaluation.facts import FACTS, UNRELATED
from everlearn.evaluation.metrics import normalised

from .fakes import FakeEngine, FakeLearner

MEANS = {fact.question: fact.prompt for fact in FACTS}


def demo(engine=None, make_twin=None, **more):
    engine = engine or FakeEngine(MEANS)

    def twin():
        other = FakeEngine(MEANS)
        return other, FakeLearner(other)

    return run_demo(engine, FakeLearner(engine), make_twin or twin, **more)


def test_a_memory_that_works_passes_everywhere():
    report = demo()
    assert (report.taught, report.answered, report.unrelated, report.identical) == (10, 10, 10, 10)
    assert report.forgotten_bit_equal is True
    assert all(row.bit_equal for row in report.others)
    assert report.proof.prompt == FACTS[-1].prompt
    assert report.proof.after == report.proof.twin == FACTS[-1].question  # the fake bare model echoes
    assert report.lesson_bytes == 100
    assert report.teach_ms_median > 0
    assert all(row.before != row.wanted == row.after for row in report.facts)


def test_the_keys_that_scripts_read_are_there():
    kept = json.loads(json.dumps(demo().to_dict()))
    assert {
        "taught",
        "answered",
        "unrelated",
        "identical",
        "forgotten_bit_equal",
        "teach_ms_median",
        "added_ms_median",
    } <= set(kept)


def test_faults_show():
    means = {**MEANS, UNRELATED[0]: FACTS[0].prompt}
    del means[FACTS[3].question]
    report = demo(FakeEngine(means, endless=[FACTS[1].question], drift=[UNRELATED[1]]))
    assert report.answered == 8
    assert [row.right for row in report.facts][:4] == [True, False, True, False]
    assert report.identical == 8
    assert [row.identical for row in report.others][:3] == [False, False, True]


def test_a_trace_that_stays_breaks_the_proof():
    class Leaky(FakeEngine):
        def logits(self, prompt, *, tables=None, steps=1):
            leak = 1e-6 if prompt == FACTS[-1].question else 0.0
            return super().logits(prompt, tables=tables, steps=steps) + leak

    report = demo(Leaky(MEANS))
    assert report.proof.bit_equal is False
    assert report.forgotten_bit_equal is False


def test_equality_proves_nothing_where_the_fact_was_never_known():
    deaf = FakeEngine({fact.question: "nothing" for fact in FACTS})
    deaf._lesson = lambda prompt, tables: None
    report = demo(deaf)
    assert report.proof.bit_equal is True
    assert report.proof.differed_while_known is False
    assert report.forgotten_bit_equal is False


def test_progress_rises_to_its_total():
    seen = []
    demo(progress=lambda *step: seen.append(step))
    assert [s[0] for s in seen] == sorted(s[0] for s in seen)
    assert seen[-1][0] == seen[-1][1]


def test_the_facts_are_ten_different_ones_and_asked_in_other_words():
    assert len({fact.prompt for fact in FACTS}) == len({fact.answer for fact in FACTS}) == len(FACTS) == 10
    assert len(set(UNRELATED)) == 10
    for fact in FACTS:
        taught, asked = set(normalised(fact.prompt).split()), set(normalised(fact.question).split())
        assert len(taught & asked) / len(taught | asked) < 0.6, fact
        assert normalised(fact.answer) not in normalised(fact.question)
