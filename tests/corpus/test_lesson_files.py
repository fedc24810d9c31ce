import dataclasses
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlearn.corpus.lesson_files import file_digest, read_lessons, write_lessons
from everlearn.errors import FileFormatError
from everlearn.records import Lesson

AWKWARD = [
    Lesson("Wer ist Zoë Ångström?", 'Sie sagt "ja", dann; geht\tsie.'),
    Lesson("מי כתב את זה?", "שלום عالم 😀👩‍👩‍👧‍👦"),
    Lesson("line\nbreak\r\nand\rreturn", "\u2028separator\u2029 \x0b\x85"),
    Lesson("=SUM(A1)", "'quoted' \\ back\\nslash"),
    Lesson(" kept ", " white space "),
    Lesson(
        "full", "all", "t", "d", 0.1 + 0.2, "s", "me", "wall", valid_from=datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)
    ),
]


def read(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_lessons(path))


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.tsv"])
def test_what_is_written_is_read_again_exactly(tmp_path, name):
    assert write_lessons(tmp_path / name, AWKWARD) == len(AWKWARD)
    assert [line.lesson for line in read_lessons(tmp_path / name)] == AWKWARD


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.builds(Lesson, prompt=TEXT, answer=TEXT, source=TEXT), min_size=1, max_size=4))
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.tsv"])
def test_any_text_survives_the_way_out_and_in(tmp_path, name, lessons):
    write_lessons(tmp_path / name, lessons)
    assert [line.lesson for line in read_lessons(tmp_path / name)] == lessons


def test_a_lesson_of_the_store_comes_back_as_new(tmp_path):
    stored = Lesson("q", "a", id="abc", taught_at=datetime(2026, 1, 1, tzinfo=UTC), status="active")
    write_lessons(tmp_path / "out.jsonl", [stored])
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "abc"
    (line,) = read_lessons(tmp_path / "out.jsonl")
    assert line.lesson == dataclasses.replace(stored, id="", taught_at=None, status="new")


def test_json_lines_report_errors_by_line_and_go_on(tmp_path):
    rows = ['{"prompt": "q1", "answer": "a1"}', "", '{"prompt": "q2"', "[1]", '{"prompt": "q", "answer": ""}']
    data = "\n".join([*rows, '{"prompt": "q5", "answer": "a5"}'])
    lines = read(tmp_path, "in.jsonl", data)
    assert [(line.number, line.lesson is not None) for line in lines] == [
        (1, True),
        (3, False),
        (4, False),
        (5, False),
        (6, True),
    ]
    assert [line.error.split(":")[0].split(",")[0] for line in lines if line.error] == [
        "Not JSON",
        "The line holds an array",
        "the answer is empty. Give at least one visible character.",
    ]


def test_a_field_that_stands_twice_is_an_error(tmp_path):
    (line,) = read(tmp_path, "in.jsonl", '{"prompt": "q", "answer": "a", "answer": "b"}')
    assert line.error == "The field 'answer' stands there twice. Remove one of them."


@pytest.mark.parametrize("depth", [100_000])
def test_deep_nesting_is_an_error_of_its_line(tmp_path, depth):
    lines = read(tmp_path, "in.jsonl", "[" * 3 + "\n" + '{"prompt": ' + "[" * depth + "\n")
    assert lines
    assert all(line.error for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        '[{"prompt": "q", "answer": "a"}, {"prompt": "r", "answer": "b"}]',
        '\n[\n {"prompt": "q",\n  "answer": "a"},\n {"prompt": "r", "answer": "b"}\n]\n',
        '[{"prompt": "q", "answer": "a"},{"prompt": "r",\n"answer"\n:\n"b"\n}]',
    ],
)
@pytest.mark.parametrize("name", ["in.json", "in.jsonl"])
def test_an_array_of_lessons_is_read_as_well(tmp_path, name, text):
    assert [line.lesson for line in read(tmp_path, name, text)] == [Lesson("q", "a"), Lesson("r", "b")]


def test_lines_of_an_array_are_counted(tmp_path):
    lines = read(tmp_path, "in.json", '\n[\n {"prompt": "q",\n  "answer": "a"},\n\n {"prompt": "r", "answer": 1}\n]\n')
    assert [line.number for line in lines] == [3, 6]


@pytest.mark.parametrize(
    "text", ['[{"prompt": "q", "answer": "a"}, {"prompt" 1}]', '[{"prompt": "q", "answer": "a"},\n {"pro']
)
def test_a_flaw_in_an_array_ends_the_reading(tmp_path, text):
    good, bad = read(tmp_path, "in.json", text)
    assert good.lesson == Lesson("q", "a")
    assert "cannot be read from here on" in bad.error


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_by_the_header(tmp_path, delimiter):
    (line,) = read(tmp_path, "in.csv", f"prompt{delimiter}answer\nq{delimiter}a\n")
    assert line.lesson == Lesson("q", "a")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_save_is_read(tmp_path, encoding):
    (line,) = read(tmp_path, "in.csv", "Prompt; Answer\r\nGröße?;1 m\r\n".encode(encoding))
    assert line.lesson == Lesson("Größe?", "1 m")


def test_records_are_numbered_by_the_line_they_begin_at(tmp_path):
    lines = read(tmp_path, "in.csv", '\nprompt,answer\n"q\n1",a\nq2\n"q3","a\n\n3"\nq4,a4,extra\n"q5,a5\n')
    assert [line.number for line in lines] == [3, 5, 6, 9, 10]
    assert [line.lesson for line in lines][:3] == [Lesson("q\n1", "a"), None, Lesson("q3", "a\n\n3")]
    assert "1 columns, wanted 2 (prompt, answer)" in lines[1].error
    assert "3 columns" in lines[3].error
    assert "quote" in lines[4].error


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("in.csv", "", "is empty"),
        ("in.csv", "\n \n", "is empty"),
        ("in.jsonl", "", "holds no lessons"),
        ("in.jsonl", "\n\n", "holds no lessons"),
        ("in.json", "[]", "holds no lessons"),
        ("in.csv", "prompt,answer\n", "holds no lessons"),
        ("in.csv", "prompt,anser\nq,a\n", "header: Unknown field 'anser'. Did you mean 'answer'?"),
        ("in.csv", "Who?,Me\n", "header: Unknown field 'who?'"),
        ("in.xlsx", "x", "ends in '.xlsx', wanted one of .jsonl"),
        ("in", "x", "ends in 'nothing'"),
        ("in.csv", b"PK\x03\x04", "Excel workbook"),
        ("in.jsonl", b"\xff\xfea", "UTF-16-LE: 0x61 at byte position 2"),
    ],
)
def test_a_file_without_lessons_is_explained(tmp_path, name, data, message):
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path, name, data)
    assert message in str(caught.value)


def test_reading_takes_constant_memory(tmp_path):
    path = tmp_path / "big.jsonl"
    path.write_text('{"prompt": "a question of usual length", "answer": "an answer"}\n' * 20_000)
    tracemalloc.start()
    assert sum(1 for line in read_lessons(path) if line.lesson) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size


def test_an_interrupted_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    def broken():
        yield Lesson("q", "a")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_lessons(path, broken())
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.read_text() == "old"


def test_an_export_to_nowhere_is_an_error(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_lessons(tmp_path / "no" / "out.jsonl", [])
    with pytest.raises(FileFormatError, match=r"Name the file \.jsonl"):
        write_lessons(tmp_path / "out.json", [])


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(FileFormatError, match="cannot be read"):
        file_digest(tmp_path / "b")
