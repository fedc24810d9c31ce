"""What the base model knows: held to candidates, and always one of them."""

from everlearn.memory.base_knowledge import BaseKnowledge


def test_the_answer_is_one_of_the_candidates_as_they_are_written(parts):
    knowledge = BaseKnowledge(parts.model, parts.text)
    candidates = ["Umbral", "The Umbral", "Umbria", "Tarn"]
    answer, sureness = knowledge.ask("where does Dora live?", candidates)
    assert answer in candidates
    assert 0.0 < sureness <= 1.0
    assert knowledge.ask("where does Dora live?", candidates) == (answer, sureness)
    knowledge.forget()
    assert knowledge.ask("where does Dora live?", candidates) == (answer, sureness)


def test_without_candidates_it_says_a_line(parts):
    answer, sureness = BaseKnowledge(parts.model, parts.text).ask("who?", [])
    assert "\n" not in answer
    assert 0.0 <= sureness <= 1.0
