import pytest

from everlearn.corpus.text_lines import CHUNK_BYTES, MAX_LINE_CHARACTERS, text_lines
from everlearn.errors import FileFormatError


def lines_of(tmp_path, data: bytes) -> list[str]:
    path = tmp_path / "lines.txt"
    path.write_bytes(data)
    return list(text_lines(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_with_its_mark_is_read_in_its_encoding(tmp_path, encoding):
    assert lines_of(tmp_path, "Größe 😀\nשלום\n".encode(encoding)) == ["Größe 😀\n", "שלום\n"]


def test_big_endian_utf16_is_read(tmp_path):
    assert lines_of(tmp_path, b"\xfe\xff" + "ab\n".encode("utf-16-be")) == ["ab\n"]


def test_only_line_feeds_end_a_line(tmp_path):
    text = "one\u2028still one\x0bstill\rstill\r\ntwo"
    assert lines_of(tmp_path, text.encode()) == ["one\u2028still one\x0bstill\rstill\r\n", "two"]


def test_characters_cut_by_a_chunk_border_stay_whole(tmp_path):
    text = "é" * CHUNK_BYTES + "\n"
    assert lines_of(tmp_path, b"x" + text.encode()) == ["x" + text]


def test_an_empty_file_has_no_lines(tmp_path):
    assert lines_of(tmp_path, b"") == []


@pytest.mark.parametrize("before", [0, 10, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_a_byte_of_another_encoding_is_named_by_its_position(tmp_path, before):
    with pytest.raises(FileFormatError, match=rf"UTF-8: 0xE9 at byte position {before:,} "):
        lines_of(tmp_path, b"a" * before + "é\n".encode("latin-1"))


def test_a_character_that_the_end_cuts_off_is_named_by_its_position(tmp_path):
    with pytest.raises(FileFormatError, match="0xF0 0x9F at byte position 3 "):
        lines_of(tmp_path, b"abc" + "😀".encode()[:2])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"abc\x00def", "position 3 is NUL"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(tmp_path, data, name):
    with pytest.raises(FileFormatError, match=name):
        lines_of(tmp_path, data)


def test_a_line_without_an_end_is_refused_before_memory_is_full(tmp_path):
    with pytest.raises(FileFormatError, match="more than 4,194,304 characters"):
        lines_of(tmp_path, b"a" * (MAX_LINE_CHARACTERS + 2 * CHUNK_BYTES))


def test_a_folder_or_a_missing_file_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(FileFormatError, match="cannot be read"):
            list(text_lines(path))
