import pytest

from everlearn.errors import FileFormatError, StoreError
from everlearn.evaluation.journal import Journal


def texts(journal):
    return [record["text"] for record in journal.of("a")]


def test_what_was_added_is_there_when_opened_again(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("a", text="\ud800 שלום \n")
        journal.append("b", text="other")
    with Journal(path) as journal:
        journal.append("a", text="more")
        assert texts(journal) == ["\ud800 שלום \n", "more"]
    with Journal(path) as journal:
        assert texts(journal) == ["\ud800 שלום \n", "more"]


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_torn_last_record_is_dropped_and_written_over(tmp_path, kept):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("a", text="whole")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    with Journal(path) as journal:
        assert texts(journal) == ["whole"]
        journal.append("a", text="next")
    with Journal(path) as journal:
        assert texts(journal) == ["whole", "next"]


def test_restart_and_clear_begin_anew(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("a", text="old")
    with Journal(path, restart=True) as journal:
        assert texts(journal) == []
        journal.append("a", text="older than clear")
        journal.clear()
        journal.append("a", text="new")
    with Journal(path) as journal:
        assert texts(journal) == ["new"]


def test_damage_in_the_middle_is_not_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind": "a"}\n{"kind"\n{"kind": "a"}\n')
    with pytest.raises(FileFormatError, match="line 2"):
        Journal(path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be used"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_without_a_path_it_lives_in_memory():
    with Journal(None) as journal:
        journal.append("a", text="x")
        assert texts(journal) == ["x"]
