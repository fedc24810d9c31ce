"""Passages: cut where the document is, of a size that fits, overlapping only inside a block that was cut."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from everlearn.corpus.document import Block, Document
from everlearn.corpus.passages import passages_of
from everlearn.corpus.plain_documents import plain_document
from everlearn.text.sentences import sentences


def count(text):
    return len(text.split())


def test_blocks_under_one_title_are_joined_while_they_fit():
    blocks = (
        Block("a b c", 1, 1, ("T",)),
        Block("d e", 3, 3, ("T",)),
        Block("f g h i", 5, 6, ("T",)),
        Block("j", 9, 9, ("T", "U")),
    )
    found = passages_of(Document("Doc", "line", blocks), count, most=8)
    assert [(p.title, p.text, p.position) for p in found] == [
        ("Doc > T", "a b c\n\nd e", "lines 1-3"),
        ("Doc > T", "f g h i", "lines 5-6"),
        ("Doc > T > U", "j", "line 9"),
    ]


def test_a_long_block_is_cut_between_sentences_with_overlap():
    text = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
    found = passages_of(plain_document(text, title="T"), count, most=9, overlap=4)
    assert [p.text for p in found] == [
        "One two three. Four five six.",
        "Four five six. Seven eight nine.",
        "Seven eight nine. Ten eleven twelve.",
    ]


def test_code_keeps_its_lines():
    code = "\n".join(f"line {n}" for n in range(10))
    found = passages_of(
        Document("x.py", "line", (Block(code, 11, 20, ("f",), by_lines=True),)), count, most=13, overlap=0
    )
    assert found[0].text == "line 0\nline 1\nline 2\nline 3"
    assert [p.position for p in found] == ["lines 11-14", "lines 15-18", "lines 19-20"]


@given(st.text(alphabet="ab .!?\n", max_size=300), st.integers(3, 20), st.integers(0, 6))
@example("? a ??????", 3, 0)
def test_every_word_is_in_a_passage_and_none_is_too_large(text, most, overlap):
    found = passages_of(plain_document(text, title="T"), count, most=most, overlap=overlap)
    assert all(count(p.text) <= most for p in found)
    alone = passages_of(plain_document(text, title="T"), count, most=most, overlap=0)
    assert " ".join(p.text for p in alone).split() == text.split()


def test_sentences():
    assert sentences("He said “Stop.” Then 3.5 left.\nNew line  e.g. this") == [
        "He said “Stop.”",
        "Then 3.5 left.",
        "New line  e.g. this",
    ]
    assert sentences("今日は。明日は。") == ["今日は。", "明日は。"]
