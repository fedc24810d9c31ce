import json

import pytest

from everlearn.errors import FileFormatError
from everlearn.evaluation.edits import Edit, Probe, digest_of, read_edits

GOOD = {
    "prompt": " Who? ",
    "target": "Ann",
    "rephrases": ["Which?"],
    "locality": [{"prompt": "Sky?", "answer": "blue"}],
}


def write(tmp_path, *lines):
    path = tmp_path / "edits.jsonl"
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines))
    return path


def test_an_edit_is_read(tmp_path):
    assert read_edits(write(tmp_path, GOOD)) == [Edit("Who?", "Ann", ("Which?",), (Probe("Sky?", "blue"),), 1)]


def test_empty_lines_a_byte_order_mark_and_unknown_keys_do_no_harm(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"  ", {"prompt": "q", "target": "t", "x": 1})
    assert [edit.line for edit in read_edits(path)] == [1, 3]
    assert read_edits(path)[1] == Edit("q", "t", (), (), 3)


def test_blank_rephrases_are_left_out(tmp_path):
    assert read_edits(write(tmp_path, {**GOOD, "rephrases": ["", "Which?", " "]}))[0].rephrases == ("Which?",)


def test_no_line_behind_the_limit_is_looked_at(tmp_path):
    assert len(read_edits(write(tmp_path, GOOD, b"not json"), limit=1)) == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        ({"target": "t"}, '"prompt"'),
        ({"prompt": "q"}, '"target"'),
        ({"prompt": "q", "target": 5}, '"target"'),
        ({"prompt": "  ", "target": "t"}, '"prompt"'),
        ({"prompt": "q", "target": "t", "rephrases": "r"}, '"rephrases"'),
        ({"prompt": "q", "target": "t", "rephrases": [1]}, '"rephrases"'),
        ({"prompt": "q", "target": "t", "locality": ["r"]}, '"locality"'),
        ({"prompt": "q", "target": "t", "locality": [{"answer": "r"}]}, '"prompt"'),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, complaint):
    with pytest.raises(FileFormatError, match="line 2") as caught:
        read_edits(write(tmp_path, GOOD, line))
    assert complaint in caught.value.message
    assert "prompt" in caught.value.hint


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FileFormatError, match=r"nowhere\.jsonl"):
        read_edits(tmp_path / "nowhere.jsonl")


def test_the_digest_sees_every_word(tmp_path):
    one, other = Edit("q", "t", ("r",)), Edit("q", "t", ("s",))
    assert digest_of([one]) == digest_of([one]) != digest_of([other])
