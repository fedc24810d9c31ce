"""The index of words: equal to looking at every prompt, and empty after everything was removed."""

import random

from everlearn.memory.key import is_grammar, words
from everlearn.memory.word_index import WordIndex

VOCABULARY = [f"w{n}" for n in range(12)] + ["the", "of"]


def test_equals_looking_at_every_prompt():
    draw = random.Random(1)
    index, prompts = WordIndex(lambda w: not is_grammar(w)), {}
    for n in range(300):
        lesson = f"{n:04}"
        prompts[lesson] = " ".join(draw.choices(VOCABULARY, k=6))
        index.add(lesson, prompts[lesson])
        if n % 3 == 0:
            gone = draw.choice(list(prompts))
            index.remove(gone)
            del prompts[gone]
        name = draw.choices(VOCABULARY, k=2)
        wanted = {w for w in name if not is_grammar(w)}
        truth = [i for i, p in prompts.items() if wanted and wanted <= set(words(p))]
        assert index.holding(name, 1000) == truth
    assert index.ids(5) == sorted(prompts)[:5]
    for lesson in list(prompts):
        index.remove(lesson)
    assert len(index) == 0
    assert not index._rows


def test_a_name_of_grammar_is_not_found():
    index = WordIndex(lambda w: not is_grammar(w))
    index.add("a", "who is the one")
    assert index.holding(["the", "who"], 5) == []
