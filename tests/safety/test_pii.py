"""Personal data: what is found, what is not, and that no piece of a stream shows a part of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.safety.flag import PII_KINDS
from everlearn.safety.held import HeldText, cleared
from everlearn.safety.pii import found_in, redacted

REDACT = dict.fromkeys(PII_KINDS, "redact")
KEY_BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc+/=\nabcd\n-----END RSA PRIVATE KEY-----"
FOUND = [
    ("card 4111 1111 1111 1111, thanks", "card [CREDIT_CARD], thanks"),
    ("3782-822463-10005", "[CREDIT_CARD]"),
    ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[CREDIT_CARD]"),
    ("５２１３５９１７２７５８６６０４", "[CREDIT_CARD]"),
    ("4111\u200b111111111111 is it", "[CREDIT_CARD] is it"),
    ("DE89 3704 0044 0532 0130 00 and", "[IBAN] and"),
    ("to gb82west12345698765432.", "to [IBAN]."),
    ("531-21-7351", "[US_SSN]"),
    ("my social security number is 531217351", "my social security number is [US_SSN]"),
    ("call (212) 555-0147 ext 12 now", "call [PHONE_NUMBER] now"),
    ("+44 20 7946 0958", "[PHONE_NUMBER]"),
    ("my phone is 0171 2345678", "my phone is [PHONE_NUMBER]"),
    ("mail a.b+c@mail.example.co.uk.", "mail [EMAIL_ADDRESS]."),
    ("from 10.1.2.3 or 2001:db8::ff00:42:8329", "from [IP_ADDRESS] or [IP_ADDRESS]"),
    ("key sk-abcdefghij1234567890abcd", "key [SECRET]"),
    ("password: hunter2!", "password: [SECRET]"),
    (f"x\n{KEY_BLOCK}\ny", "x\n[SECRET]\ny"),
    ("born on 12 March 1984 in", "born on [DATE_OF_BIRTH] in"),
    ("at 12 Baker Street, London", "at [STREET_ADDRESS], London"),
    ("My name is Brian A. Andersson and", "My name is [PERSON] and"),
    ("Dear Mrs. Amy Kupcová?", "Dear Mrs. [PERSON]?"),
    ("RSSMRA85T10A562S", "[NATIONAL_ID]"),
    ("52998224725 or 529.982.247-25", "52998224725 or [NATIONAL_ID]"),
]
LEFT = [
    "order 1234567890123456",  # its check digit is wrong
    "It cost 1,200 300 on 2026-11-25 at 14:30:45.",
    "pi is 3.141592653589793",
    "the password is wrong, the password is required.",
    "Mr and Mrs went home; my name is on the list.",
    "x@y and @someone",
    "sha256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "000-12-3456 and 666-12-3456",  # never given out
    "8 + 8 = 16, 100 000 000 people, room 12",
]


@pytest.mark.parametrize(("text", "wanted"), FOUND)
def test_personal_data_is_found_and_taken_out(text, wanted):
    assert redacted(text) == wanted
    assert cleared(text, REDACT).text == wanted


@pytest.mark.parametrize("text", LEFT)
def test_other_text_is_left(text):
    assert redacted(text) == text


def streamed(pieces, actions=REDACT, phrases=()):
    held = HeldText(actions, phrases)
    shown = [held.feed(piece).text for piece in pieces]
    return shown, "".join(shown) + held.end().text


@pytest.mark.parametrize("text", [text for text, _ in FOUND] + LEFT)
def test_every_split_of_a_stream_gives_what_the_whole_gives(text):
    wanted = redacted(text)
    assert streamed(list(text))[1] == wanted
    for at in range(1, len(text)):
        assert streamed([text[:at], text[at:]])[1] == wanted


PARTS = st.sampled_from([*(text for text, _ in FOUND), *LEFT, " ", ". ", "\n", "-", "1", "+", "Mr. ", "\u200b", "é"])


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=6), st.data())
def test_any_text_cut_anywhere_gives_what_the_whole_gives(parts, data):
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert streamed(pieces)[1] == redacted(text)


def test_no_digit_of_a_card_is_shown_before_it_is_whole():
    text = "The number is 4111 1111 1111 1111."
    shown, _ = streamed(list(text))
    assert not any(letter.isdigit() for letter in "".join(shown))


def test_text_that_is_none_of_these_is_hardly_held_back():
    text = "The bakery opens at seven, and bread is sold out by noon on most days. " * 3
    shown, _ = streamed(list(text))
    assert len("".join(shown)) >= len(text) - 20


def test_blocked_data_ends_the_text_before_it():
    found = cleared("Pay to DE89 3704 0044 0532 0130 00 today", {"iban": "block"})
    assert found.blocked
    assert found.text == "Pay to "
    assert [flag.category for flag in found.flags] == ["iban"]


def test_flags_tell_places_in_the_original_and_hold_no_text():
    text = "é 4111\u200b111111111111 x"
    (flag,) = found_in(text, ["credit_card"])
    assert text[flag.start : flag.end] == "4111\u200b111111111111"
    held = HeldText({"credit_card": "flag"})
    parts = [held.feed(letter) for letter in text] + [held.end()]
    assert "".join(part.text for part in parts) == text
    assert [f for part in parts for f in part.flags] == [flag]


def test_what_overlaps_is_taken_out_as_one():
    assert redacted("mail 4111111111111111@example.com") == "mail [EMAIL_ADDRESS]"
    assert redacted("mail 4111111111111111@example.com", ["credit_card"]) == "mail [CREDIT_CARD]@example.com"


def test_phrases_are_whole_words_in_any_case():
    phrases = ("project zeus", "zeus nine")
    text = "About PROJECT  Zeus nine: zeuss stays."
    for cut in range(len(text)):
        assert streamed([text[:cut], text[cut:]], {"phrase": "redact"}, phrases)[1] == "About [PHRASE]: zeuss stays."
