from __future__ import annotations

from everlearn.learning.examples import encoded
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.restating import restated
from everlearn.learning.self_distillation import held_examples, lesson_examples, own_answers
from everlearn.records import Lesson
from toys import toy_engine, toy_parts


def test_a_relation_is_asked_in_other_words_and_from_its_other_end():
    found = restated("What is the capital of Tervantia?", "Port Hessel.")
    assert found.asked[0] == "What is the capital of Tervantia?"
    assert "Name the capital of Tervantia." in found.asked
    assert "Do you know the capital of Tervantia?" in found.held_out
    assert ("Port Hessel is the capital of what?", "Tervantia") in found.turned


def test_other_questions_are_reworded_without_losing_their_words():
    assert "Tell me when the Lumora 7 satellite launched was." not in restated("Hello there", "x").asked
    assert "Tell me who wrote Hamlet." in restated("Who wrote Hamlet?", "x").asked
    assert "Tell me where the head office of Dandolo is." in restated("Where is the head office of Dandolo?", "x").asked
    assert restated("Who wrote Hamlet?", "x").turned == []


def test_what_probes_is_never_trained_on_and_all_are_different():
    for question in ("Who wrote Hamlet?", "What is the price of tea?", "Anything at all", "wie geht es dir?"):
        for most in (1, 3, 8):
            found = restated(question, "a", most=most)
            assert len(found.asked) <= most
            assert len(set(found.asked)) == len(found.asked)
            assert len(found.held_out) >= 2
            assert not set(found.asked) & set(found.held_out)


def test_general_prompts_are_different_and_many():
    prompts = general_prompts()
    assert len(prompts) == len(set(prompts)) >= 128


def test_the_teacher_says_the_taught_answer_and_how_to_stop():
    engine = toy_engine(parts=toy_parts())
    lesson = Lesson("Who bakes?", "Mo", id="l1", domain="d")
    for example in lesson_examples(engine, lesson, restated("Who bakes?", "Mo"), temperature=1.0):
        answer = engine.text.answer_ids("Mo")
        assert example.soft.tokens[:, 0].tolist() == answer
        assert (example.source, example.domain) == ("l1", "d")
        assert encoded(engine.text, example).answer == answer


def test_the_base_is_held_by_its_own_answers_and_a_cut_one_does_not_teach_to_stop():
    engine = toy_engine(parts=toy_parts())
    prompts = general_prompts()[:6]
    rows = own_answers(engine, prompts)
    assert all(0 < len(row.answer) <= 24 for row in rows)
    for example in held_examples(engine, prompts, rows, temperature=1.0):
        row = encoded(engine.text, example)
        assert row.soft is not None
        assert len(row.soft.tokens) == len(row.answer)
