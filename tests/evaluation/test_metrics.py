import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlearn.evaluation.metrics import exact_match, mean, median, normalised, token_agreement, wilson


@pytest.mark.parametrize(
    ("given_", "target"),
    [
        ("The Old  Betsy.", "old betsy"),
        ("  a\tcat\nsat ", "cat sat"),
        ("Ljubljana!", "ljubljana"),
        ("1,000", "1000"),
        ("STRASSE", "straße"),
        ("１２３", "123"),
        ("ﬁnal", "final"),
        ("e\u0301cole", "école"),
        ("東京。", "東京"),
        ("«Москва»", "москва"),
        ("¿Qué?", "qué"),
        ("\u200fשלום\u200e", "שלום"),
        ("حياة؟", "حياة"),
        ("नमस्ते।", "नमस्ते"),
        ("😀 ok", "😀 ok"),
    ],
)
def test_what_counts_as_the_same(given_, target):
    assert exact_match(given_, target)


@pytest.mark.parametrize(
    ("given_", "target"),
    [
        ("Old Betsy and more", "Old Betsy"),
        ("", "Old Betsy"),
        ("1000", "1001"),
        ("ecole", "école"),
        ("東京都", "東京"),
        ("नमस्त", "नमस्ते"),
        ("an", "a"),
        ("(", ")"),
        ("", ")"),
        ("", "The"),
    ],
)
def test_what_does_not(given_, target):
    assert not exact_match(given_, target)


def test_an_answer_of_marks_or_articles_alone_is_still_an_answer():
    assert normalised(")") == ")"
    assert normalised("The") == "the"
    assert exact_match("The Who", "who")
    assert exact_match("The", "THE")


@given(st.text(st.characters(categories=["L", "N", "P", "Z"])))
def test_normalising_twice_changes_nothing(text):
    assert normalised(normalised(text)) == normalised(text)


def test_token_agreement_is_by_place_and_over_what_was_wanted():
    assert token_agreement([1, 2, 3], [1, 2, 4]) == pytest.approx(2 / 3)
    assert token_agreement([2, 1], [1, 2]) == 0
    assert token_agreement([1], [1, 2]) == 0.5
    assert token_agreement([1, 2, 9, 9], [1, 2]) == 1


def test_wilson_gives_the_published_interval():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson(0.0, 20)
    assert (low, round(high, 4)) == (0.0, 0.1611)


@given(st.integers(0, 300), st.integers(1, 300))
def test_an_interval_holds_its_share_and_stays_a_share(part, whole):
    share = min(part, whole) / whole
    low, high = wilson(share, whole)
    assert 0 <= low <= share <= high <= 1


def test_nothing_has_no_average():
    assert mean([]) is None
    assert median([]) is None
    assert (mean([1.0, 2.0]), median([1.0, 2.0, 9.0])) == (1.5, 2.0)
