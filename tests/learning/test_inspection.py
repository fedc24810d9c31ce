"""What would be learned from a file is told before anything is."""

import pytest

from everlearn.errors import InputError
from everlearn.learning.inspection import flaw_of, inspect_paths, scripts_of


def count(text):
    return len(text.split())


def test_passages_of_a_document_with_its_near_duplicates(tmp_path):
    path = tmp_path / "a.md"
    same = "The harbour of Quimper had seven boats and none of them was ever painted red or blue in its long life."
    path.write_text(f"# One\n\n{same}\n\n# Two\n\n{same}\n\n# Three\n\nQuite another thing is said of the mill.\n")
    (found,) = inspect_paths([path], count)
    assert (found.kind, found.pieces, len(found.duplicates)) == ("document", 3, 1)
    assert found.tokens == sum(map(count, [same, same, "Quite another thing is said of the mill."]))
    assert found.scripts == {"Latin": 1.0}
    assert found.flaws == {}


def test_lessons_and_lines_that_are_none(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer\nWho?,Me.\nWhat?,\nWhere?,Here.\n")
    (found,) = inspect_paths([path], count)
    assert (found.kind, found.pieces) == ("lessons", 2)
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("line 3: ")


def test_folders_are_searched_and_what_is_not_there_is_said(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"Some words that stand in {name} and nowhere else.\n")
    assert [found.pieces for found in inspect_paths([tmp_path], count)] == [1, 1]
    with pytest.raises(InputError, match="no file or folder"):
        list(inspect_paths([tmp_path / "none.txt"], count))


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("A sentence of quite a few words.", ""),
        ("Two words", "hardly any words"),
        ("12 + 34 = 46; 56 - 78 = -22; 90 * 12 = 1080", "more signs than letters"),
        ("one line here\n" * 6, "lines repeat"),
        ("A sentence of quite a few w\N{REPLACEMENT CHARACTER}rds.", "characters were lost"),
    ],
)
def test_flaws(text, flaw):
    assert flaw_of(text) == flaw


def test_short_pairs_are_no_flaw_and_scripts_are_named():
    assert flaw_of("Who?\nMe.", question=True) == ""
    assert list(scripts_of(iter(["Привет мир, hello"]))) == ["Cyrillic", "Latin"]
