"""Text to train on: blocks give back every byte once, and what is no text is named."""

import json

import pytest

from everlearn.corpus.training_text import blocks_of, documents_in, training_files
from everlearn.errors import FileFormatError, InputError

LINES = [f"Line {n} of the harbour, with ünïcode and boat {n * n}.\n" for n in range(400)]


def read_all(files, field="text", block_bytes=None):
    return [text for block in blocks_of(files, block_bytes) for text in documents_in(block, field)]


@pytest.mark.parametrize("block_bytes", [50, 51, 999, 1 << 20])
def test_blocks_of_a_text_join_to_the_text(tmp_path, block_bytes):
    path = tmp_path / "a.txt"
    path.write_text("".join(LINES), encoding="utf-8")
    assert "".join(read_all([path], block_bytes=block_bytes)) == "".join(LINES)


def test_a_text_of_one_line_and_one_without_an_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("word " * 20_000, encoding="utf-8")
    assert "".join(read_all([path])) == "word " * 20_000


@pytest.mark.parametrize("block_bytes", [64, 700, 1 << 20])
def test_rows_of_jsonl_and_parquet_are_documents(tmp_path, block_bytes):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"id": n, "story": line} for n, line in enumerate(LINES)]
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read_all([lines], "story", block_bytes) == LINES
    table = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table, row_group_size=37)
    assert read_all([table], "story") == LINES
    assert len(blocks_of([table])) == 11


def test_folders_are_searched(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.txt", "a.md", "in/c.jsonl", "picture.png"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert [path.name for path in training_files([tmp_path, tmp_path / "b.txt"])] == ["a.md", "b.txt", "c.jsonl"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no text"):
        training_files([tmp_path / "none"])
    with pytest.raises(InputError, match="There is no file"):
        training_files([tmp_path / "missing.txt"])
    with pytest.raises(InputError, match="nothing to train on"):
        training_files([])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc\x00def", "position 3 is NUL"),
        (b"caf\xe9 au lait\n" * 10, "0xE9 at position 3"),
        (b"PK\x03\x04rest", "zip archive"),
        ("text".encode("utf-16"), "NUL"),
    ],
)
def test_what_is_no_text_is_refused_before_training(tmp_path, content, said):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=said):
        blocks_of([path])


def test_a_wrong_byte_far_in_is_found_where_it_is(tmp_path):
    path = tmp_path / "a.txt"
    good = "".join(LINES * 5).encode()
    path.write_bytes(good + b"\xe9\n")
    with pytest.raises(FileFormatError, match=f"position {len(good):,}"):
        read_all([path])


def test_empty_files_are_passed_over_and_refused_where_there_is_nothing_else(tmp_path):
    for name in ("empty.txt", "full.txt"):
        (tmp_path / name).write_text("some text\n" * ("full" in name), encoding="utf-8")
    assert read_all([tmp_path / "empty.txt", tmp_path / "full.txt"]) == ["some text\n"]
    with pytest.raises(InputError, match="is empty"):
        blocks_of([tmp_path / "empty.txt"])


def test_a_missing_field_names_those_there_are(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n{"story": "x", "id": 1}\n', encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"at byte 17; there is: id, story"):
        read_all([path])
    path.write_text("not json\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="holds no JSON at byte 0"):
        read_all([path])
    (tmp_path / "a.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(FileFormatError, match="no Parquet file"):
        blocks_of([tmp_path / "a.parquet"])


def test_a_mark_at_the_begin_and_windows_lines_are_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfOne\r\nTwo\r\n")
    assert read_all([path]) == ["One\nTwo\n"]
