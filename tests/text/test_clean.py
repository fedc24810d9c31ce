"""What text may come in."""

import pytest

from everlearn.errors import LessonError
from everlearn.text.clean import checked, same_words


def check(text, limit=1000):
    return checked(text, what="The prompt", limit=limit, error=LessonError)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "is empty"),
        (" \t\n\u00a0", "is empty"),
        ("a\x00b", "NUL byte at character 1"),
        ("x\ud800y", r"lone surrogate \(U\+D800\) at character 1"),
        ("a" * 1001, "1,001 characters, at most 1,000"),
        (7, "is a int, wanted text"),
    ],
)
def test_bad_text_is_refused_with_the_reason(bad, says):
    with pytest.raises(LessonError, match=says) as caught:
        check(bad)
    assert caught.value.hint


@pytest.mark.parametrize("good", ["🥐👩🏽‍🍳", "من يدير المخبز؟", "谁在烤面包？", "e\u0301", "ᚠᛇᚻ", "a\nb\tc"])
def test_any_script_is_taken(good):
    assert check(f"  {good}  ") == check(good)
    assert check("e\u0301") == "\u00e9"


def test_same_words_forgives_spelling_only():
    assert same_words(" Who  BAKES?? ") == same_words("who bakes")
    assert same_words("who bakes") != same_words("who bakes bread")
    assert same_words("???") == "???"
    assert same_words("من يدير المخبز؟") == same_words("من يدير المخبز")
