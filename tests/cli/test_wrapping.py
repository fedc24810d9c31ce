import io

import pytest

from everlearn.cli.wrapping import WrappedWriter


def wrapped(text, width, size):
    stream = io.StringIO()
    writer = WrappedWriter(stream, width)
    for start in range(0, len(text), size):
        writer.write(text[start : start + size])
    writer.close()
    return stream.getvalue()


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_lines_break_between_words_whatever_the_pieces(size):
    assert wrapped("one two three four\n\n  five sixsix", 9, size) == "one two\nthree\nfour\n\n  five\nsixsix\n"


@pytest.mark.parametrize("size", [1, 3])
def test_wide_characters_count_twice(size):
    assert wrapped("日本 日本 日本", 9, size) == "日本 日本\n日本\n"


def test_a_word_longer_than_a_line_is_left_to_the_terminal():
    assert wrapped("a " + "x" * 12 + " b", 9, 100) == "a\n" + "x" * 12 + "\nb\n"


def test_a_long_run_is_not_waited_for():
    stream = io.StringIO()
    writer = WrappedWriter(stream, 80)
    for _ in range(10):
        writer.write("日本語")
    assert stream.getvalue() != ""


def test_control_characters_are_visible():
    assert wrapped("a\x1b[2J b", 80, 1) == "a␛[2J b\n"


def test_nothing_is_an_empty_line():
    assert wrapped("", 80, 1) == "\n"
