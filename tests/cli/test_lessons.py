import io
import re
import sys

import pytest

from everlearn.cli import screen


def test_an_empty_list_says_so_on_stderr(cli):
    result = cli("lessons", "list")
    assert (result.code, result.out, result.err) == (0, "", "No lessons.\n")


def test_a_list_in_a_pipe_is_a_line_with_tabs_per_lesson(cli, teach):
    lesson = teach("first\nline", "a\tb")
    (line,) = cli("lessons", "list").out.splitlines()
    cells = line.split("\t")
    assert lesson.startswith(cells[0])
    assert cells[1:4] == ["default", "first line", "a b"]
    assert cells[5] == "active"


def test_lists_are_filtered(cli, teach):
    cli("tables", "create", "docs")
    teach("Who leads?", "Ann")
    teach("Who leads?", "Bob")
    teach("other thing entirely", "x", "--table", "docs", "--domain", "d")

    def answers(*options):
        return [lesson["answer"] for lesson in cli("lessons", "list", "--json", *options).json["lessons"]]

    assert answers() == ["Bob", "x"]
    assert answers("--status", "all") == ["Ann", "Bob", "x"]
    assert answers("--status", "superseded") == ["Ann"]
    assert answers("--table", "docs") == answers("--domain", "d") == ["x"]
    assert answers("--limit", "1", "--offset", "1") == ["x"]


def test_what_is_left_out_of_a_list_is_said(cli, teach):
    for n in range(3):
        teach(f"word{n} thing{n}", "a")
    assert "1 to 2 of 3" in cli("lessons", "list", "--limit", "2").err
    assert cli("lessons", "list", "--limit", "3").err == ""


def test_wrong_filters_are_errors(cli):
    assert "'nowhere'" in cli("lessons", "list", "--table", "nowhere").err
    assert "wanted active, superseded, quarantined, all" in cli("lessons", "list", "--status", "old").err


def test_search_finds_questions_and_answers(cli, teach):
    teach("Wie heißt die STRASSE?", "Größenweg")
    teach("another one", "x")
    assert cli("lessons", "search", "größen", "--json").json["count"] == 1
    assert cli("lessons", "search", "straße", "--json").json["count"] == 1
    assert cli("lessons", "search", "nothing").err == "No lesson has 'nothing' in it.\n"


def test_a_lesson_is_shown_by_the_beginning_of_its_id(cli, teach):
    lesson = teach("q", "a")
    out = cli("lessons", "show", lesson[:12]).out
    for part in (lesson, "q", "a", "default", "active", "0 kept answers"):
        assert part in out
    assert cli("lessons", "show", lesson[:12], "--json").json["turns"] == 0
    assert cli("lessons", "show", "zzzz").code == 2
    assert "at least 4" in cli("lessons", "show", "01").err


def test_history_shows_the_chain(cli, teach):
    teach("Who leads?", "Ann")
    new = teach("Who leads?", "Bob")
    rows = [line.split("\t") for line in cli("lessons", "history", new).out.splitlines()]
    assert [(row[3], row[4]) for row in rows] == [("Ann", "superseded"), ("Bob", "active")]
    assert len(cli("lessons", "history", new, "--json").json) == 2


def test_forgetting_removes_everything_and_says_what(cli, teach):
    teach("Who leads?", "Ann")
    lesson = teach("Who leads?", "Bob")
    cli("chat", stdin="Who leads?\n")
    plan = cli("lessons", "forget", lesson, "--dry-run", "--json").json
    assert (plan["ids"], len(plan["restored"]), plan["turns"]) == ([lesson], 1, 1)

    result = cli("lessons", "forget", lesson, "--yes")
    assert result.code == 0
    assert result.out.startswith("forgotten 1 lesson ")
    assert "1 kept answers removed" in result.out
    assert "1 older lessons speak again" in result.out
    assert cli("ask", "Who leads?").out == "Ann\n"
    assert cli("lessons", "show", lesson).code == 2


def test_the_document_of_forgetting(cli, teach):
    ids = [teach("word1 thing1", "a"), teach("word2 thing2", "b")]
    document = cli("lessons", "forget", *ids, "--yes", "--json").json
    assert document["ids"] == ids
    assert document["derived"] >= 2
    assert document["restored"] == []


def test_a_plan_of_a_chain_says_who_speaks_again(cli, teach):
    first, second, third = (teach("Who leads?", answer) for answer in ("Ann", "Bob", "Cyd"))

    def restored(*ids):
        return cli("lessons", "forget", *ids, "--dry-run", "--json").json["restored"]

    assert restored(third) == [second]
    assert restored(second) == restored(first) == []
    assert restored(second, third) == [first]
    out = cli("lessons", "forget", third, "--dry-run")
    assert "goes " in out.err
    assert "speaks again " in out.err


def test_forgetting_needs_a_yes(cli, teach):
    lesson = teach("q", "a")
    result = cli("lessons", "forget", lesson)
    assert result.code == 2
    assert "--yes" in result.err
    assert cli("lessons", "forget", lesson, typed="n\n").code == 1
    assert cli("lessons", "list", "--json").json["count"] == 1
    assert cli("lessons", "forget", lesson, typed="y\n").code == 0
    assert cli("lessons", "list", "--json").json["count"] == 0


def test_forgetting_what_is_not_there_forgets_nothing(cli, teach):
    lesson = teach("q", "a")
    assert cli("lessons", "forget", lesson, "zzzz", "--yes").code == 2
    assert cli("lessons", "list", "--json").json["count"] == 1


def test_ids_are_shown_as_long_as_they_must_be(cli, tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(f'{{"prompt": "word{n} thing{n}", "answer": "a"}}\n' for n in range(40)))
    cli("teach", "--file", str(path))
    ids = [line.split("\t")[0] for line in cli("lessons", "list").out.splitlines()]
    assert len(set(ids)) == 40
    assert all(cli("lessons", "show", each).code == 0 for each in ids[:3])


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_gets_a_table(monkeypatch, width):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen.show_rows(("lesson", "question"), [("abc", "long " * 60)])
    colours = re.findall(r"\x1b\[[34]\dm", terminal.getvalue())
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert "lesson" in lines[1]
    assert max(map(len, lines)) <= width
    assert not colours
