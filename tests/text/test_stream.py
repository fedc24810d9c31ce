"""Streaming decode equals decoding the whole, cut at the first stop string."""

from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.text.chat import ChatText
from everlearn.text.stream import TextStream
from toys import byte_tokenizer

TEXT = ChatText(byte_tokenizer())


def streamed(text: str, stop=()) -> tuple[list[str], bool]:
    stream = TextStream(TEXT.decode, stop)
    pieces = []
    for token in TEXT.answer_ids(text)[:-1]:
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    return [*pieces, stream.finish()], stream.stopped


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_pieces_join_to_the_text_and_none_is_half_a_character(text):
    if TEXT.decode(TEXT.answer_ids(text)) != text:
        return
    pieces, _ = streamed(text)
    assert "".join(pieces) == text
    assert all("\ufffd" not in p for p in pieces) or "\ufffd" in text


@settings(max_examples=200, deadline=None)
@given(st.text("ab ", min_size=1, max_size=30), st.lists(st.text("ab ", min_size=1, max_size=3), max_size=3))
def test_stop_strings_cut_where_the_first_one_begins(text, stop):
    ends = [i + len(s) for s in stop for i in [text.find(s)] if i >= 0]
    pieces, stopped = streamed(text, stop)
    assert stopped == bool(ends)
    if not stopped:
        assert "".join(pieces) == text
    else:
        shown = "".join(pieces)
        assert any(text.startswith(shown + s) for s in stop)
        assert all(s not in shown for s in stop)


def test_a_possible_beginning_of_a_stop_string_is_held_back():
    stream = TextStream(TEXT.decode, ["<stop>"])
    out = [stream.push(t) for t in TEXT.answer_ids("a<sto")[:-1]]
    assert "".join(out) == "a"
    assert stream.finish() == "<sto"
