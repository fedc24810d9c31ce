"""Mentions: what a question names."""

import pytest

from everlearn.memory.mentions import asks, mentions

KNOWN = {("macau", "national", "football", "team"), ("pius", "iii"), ("baseball",), ("beatles",)}


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Who is the mother of Anna Berg?", ["Anna Berg"]),
        ("Anna Berg's mother lives where?", ["Anna Berg"]),
        ("Which sport does the Macau national football team play?", ["Macau national football team"]),
        ("Where was Pope Pius III born?", ["Pius III"]),
        ("Which country did baseball come from?", ["baseball"]),
        ("Who directed “Meet the Beatles”?", ["Meet the Beatles"]),
        ("Who develops tvOS and who owns Umbral?", ["tvOS", "Umbral"]),
        ("what is that?", []),
    ],
)
def test_what_a_question_names(question, found):
    assert sorted(m.text for m in mentions(question, KNOWN)) == sorted(found)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Where does Anna live?", True),
        ("In which town does Anna live", True),
        ('Who wrote "Dune?"', True),
        ("The capital of France is", False),
        ("What is the twin city of Cairo? It is", False),
        ("Anna lives where", True),
        ("", False),
    ],
)
def test_what_is_to_be_completed_is_no_question(text, is_one):
    assert asks(text) == is_one
