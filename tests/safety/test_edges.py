"""Personal data at the edges: behind escapes of JSON, "_" and Chinese letters, in keys that are cut off; and how much
of a stream is looked at."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.safety import held, words_of_people
from everlearn.safety.flag import PII_KINDS
from everlearn.safety.held import HeldText, cleared
from everlearn.safety.outgoing import Outgoing
from everlearn.safety.phrases import recogniser_of
from everlearn.safety.pii import ALL, redacted
from everlearn.safety.plain import plain, unfinished, unmasked
from everlearn.safety.policy import policy_of
from everlearn.safety.screen import Screen

REDACT = dict.fromkeys(PII_KINDS, "redact")
BEGIN, END = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
BODY = "MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gun\nVTLw7onLRnrq0/IzW7yWR7QkrmBL7jTK\nabcd+/=="
VALUES = {
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89370400440532013000",
    "us_ssn": "531-21-7351",
    "national_id": "RSSMRA85T10A562S",
    "phone_number": "+44 20 7946 0958",
    "email_address": "joe@example.com",
    "ip_address": "10.1.2.3",
    "secret": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "street_address": "12 Baker Street",
}
AROUND = [
    ("_", "_"),
    ("\\n", "\\n"),
    ("\\\\n", "\\\\t"),
    ("\\u5361", "\\u5361"),
    ("请用", "谢谢"),
    ("は", "です"),
    ("번호", "로"),
]
WHOLE = [
    (r'{"card": "\u0034111111111111111"}', '{"card": "[CREDIT_CARD]"}'),
    (r"4111\u200b1111\u200b1111\u200b1111 \u12", r"[CREDIT_CARD] \u12"),
    (r'{\"password\": \"hunter2!\"}', r'{\"password\": \"[SECRET]\"}'),
    ('{"date_of_birth": "12/03/1984"}', '{"date_of_birth": "[DATE_OF_BIRTH]"}'),
    ("user_ssn 531217351", "user_ssn [US_SSN]"),
    ("db_password=hunter2!", "db_password=[SECRET]"),
    ("phone_number: 0171 2345678", "phone_number: [PHONE_NUMBER]"),
    ("用户@例子.公司", "[EMAIL_ADDRESS]"),
    ("joe@example.com-thanks", "[EMAIL_ADDRESS]-thanks"),
    (r"\frac{1}{2}, C:\new\table, a\b", r"\frac{1}{2}, C:\new\table, a\b"),
    (f"x {BEGIN}\n{BODY}\n{END} y", "x [SECRET] y"),
    (json.dumps({"key": f"{BEGIN}\n{BODY}\n{END}\n"}), json.dumps({"key": "[SECRET]\n"})),
    (f"x {BEGIN}\n{BODY}\n\nThat is all, she said.", "x [SECRET]\n\nThat is all, she said."),
    (json.dumps(f"x {BEGIN}\n{BODY}"), '"x [SECRET]"'),
    (f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\n{BODY}", "[SECRET]"),
    (f"A file that begins with {BEGIN} is a key.", f"A file that begins with {BEGIN} is a key."),
    (f"key sk-{'aB3-' * 1000}x, and", "key [SECRET], and"),
    (f"key hf_{'aB3' * 300}, and", "key [SECRET], and"),
    ("at 12, 34 N. Upper Long Old Baker Street 5, London", "at [STREET_ADDRESS], London"),
    (f"my name is{' ' * 8}Ann Lee.", f"my name is{' ' * 8}[PERSON]."),
    (f"my name is{' ' * 90}Ann Lee.", f"my name is{' ' * 90}Ann Lee."),  # a stream does not remember that far
]  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(("before", "behind"), AROUND)
def test_personal_data_is_found_whatever_stands_next_to_it(kind, before, behind):
    if (kind, before) == ("email_address", "_"):
        before = "请"  # an address may begin with "_"
    text = f"{before}{VALUES[kind]}{behind}"
    assert redacted(text) == f"{before}[{kind.upper()}]{behind}"


def in_pieces(text, size, actions=REDACT, phrases=()):
    stream = HeldText(actions, phrases)
    return "".join(stream.feed(text[n : n + size]).text for n in range(0, len(text), size)) + stream.end().text


@pytest.mark.parametrize(("text", "wanted"), WHOLE)
def test_keys_and_escapes_are_taken_out_whole_and_from_streams(text, wanted):
    assert redacted(text) == wanted
    assert cleared(text, REDACT).text == wanted
    for size in (1, 2, 3, 7, 100) if len(text) < 1000 else (50,):
        assert in_pieces(text, size) == wanted


def test_what_is_redacted_in_json_leaves_json():
    told = json.dumps({"note": f"a\njoe@example.com\n{BEGIN}\n{BODY}\n{END}\nb"})
    assert json.loads(redacted(told)) == {"note": "a\n[EMAIL_ADDRESS]\n[SECRET]\nb"}
    assert json.loads(redacted(json.dumps(told))) == redacted(told)


PIECES = st.sampled_from(
    [*(text for text, _ in WHOLE if len(text) < 200), *VALUES.values(), "\\", "\\\\", "\\u", "n", "00", "34", "_", "请"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=6), st.integers(1, 9))
def test_streams_of_escapes_give_what_the_whole_gives(parts, size):
    text = "".join(parts)
    assert in_pieces(text, size) == redacted(text)


def test_plain_keeps_where_each_character_came_from():
    text = 'é\\n\\\\"\\u0041\u200b\\ud83dﬁ\\'
    read = plain(text)
    assert read.text == 'é\n"A\ufffdfi\\'
    assert [text[slice(*read.span(n, n + 1))] for n in range(len(read.text))] == [
        "é", "\\n", '\\\\"', "\\u0041", "\\ud83d", "ﬁ", "ﬁ", "\\",
    ]  # fmt: skip
    assert text[unfinished(text) :] == "\\"
    assert unfinished("abc") == 3
    assert unfinished("a" + "\\" * 20 + "u00") == 13


MADE = {
    "email": (words_of_people._EMAIL, ""),
    "ip": (words_of_people._IP, ""),
    "key": (words_of_people._KEYS, ""),
    "block": (words_of_people._BLOCK, ""),
    "street": (words_of_people._STREET, ""),
    "date": (words_of_people._DATE, "born on "),
    "name": (words_of_people._NAME, "my name is "),
}


@pytest.mark.parametrize("made", MADE)
def test_nothing_reaches_beyond_the_run_that_a_stream_waits_for(made):
    """Else a stream would let the first part of it out."""
    pattern, cue = MADE[made]

    @settings(max_examples=40, deadline=None)
    @given(st.from_regex(pattern), st.sampled_from(["", " ", ".", " x", ", N. Old Baker Street 5"]))
    def holds(value, behind):
        text = f"{cue}{value}{behind}"
        read = plain(text).text
        for each in ALL:
            for place in each.places(read):
                end = each.run(read, place)
                assert each.reach(read, place, end) <= end

    holds()


@pytest.mark.parametrize(
    "text",
    [
        f"{BEGIN}\n{(BODY * 40)[:6000]}",
        "a" * 6000,
        "sk-" + "a" * 6000,
        "a." * 3000,
        "4111 1111 1111 1111 " * 60,
        "\\" * 6000,
    ],
)
def test_a_stream_is_looked_at_in_proportion_to_its_length(text, monkeypatch):
    looked = []
    monkeypatch.setattr(held, "plain", lambda part: looked.append(len(part)) or plain(part))
    in_pieces(text, 1, dict.fromkeys(("secret", "credit_card", "phone_number", "email_address"), "redact"))
    assert sum(looked) < 150 * len(text)


def test_an_answer_that_holds_much_back_is_no_work_for_the_event_loop():
    """The server takes what is `slow` to a thread."""
    out = Outgoing(Screen(lambda _: np.zeros((0, 1), np.float32), "none"), policy_of({"actions": {"pii": "redact"}}))
    out.feed("My card is 4111 1111")
    assert not out.slow
    out.feed(f"; key sk-{'a' * 2000}")
    assert out.slow


def test_phrases_are_compared_without_case_in_every_script():
    phrases = policy_of({"phrases": ["Straße nach Ulm", "İzmir", "项目宙斯", "ＦＵＬＬ", "caf", "GROSS"]}).phrases
    text = "STRASSE  nach ulm, straße nach Ulm, Straẞe nach ULM; İzmir; 这是项目宙斯的; full; café; Groß; großer"
    wanted = "[PHRASE], [PHRASE], [PHRASE]; [PHRASE]; 这是[PHRASE]的; [PHRASE]; café; [PHRASE]; großer"
    assert cleared(text, {"phrase": "redact"}, phrases).text == wanted
    assert in_pieces(text, 1, {"phrase": "redact"}, phrases) == wanted


def test_phrases_are_read_once():
    assert recogniser_of(("project zeus",)) is recogniser_of(("project zeus",))


OBVIOUS = re.compile(r"(?=\w*[A-Za-z])[\w@$!|]*[A-Za-z][\w@$!|]*[013457@$!|][\w@$!|]*[A-Za-z][\w@$!|]*")


@given(st.text("aZ3é29_!@ .", max_size=14))
def test_swapped_letters_are_found_as_the_obvious_pattern_finds_them(text):
    from everlearn.safety import plain as room

    assert [m.span() for m in room._LEET_WORD.finditer(text)] == [m.span() for m in OBVIOUS.finditer(text)]


@pytest.mark.parametrize("text", ["a" * 100_000, "a!" * 50_000, "1!" * 50_000, "a" + "1" * 100_000, "é1" * 50_000])
def test_long_words_are_read_at_all(text):
    """A pattern that gives back what it took would take days."""
    assert len(unmasked(text)) == len(text)
