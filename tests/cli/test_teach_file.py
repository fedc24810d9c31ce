import json

import pytest

from everlearn import Learner
from everlearn.errors import StoreFullError


@pytest.fixture
def file(tmp_path):
    def write(*rows, name="facts.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
        return str(path)

    return write


def pairs(count):
    return [{"prompt": f"word{n} thing{n}", "answer": f"answer {n}"} for n in range(count)]


def test_all_lessons_of_a_file_are_taught(cli, file):
    result = cli("teach", "--file", file(*pairs(3)), "--json")
    document = result.json
    assert (document["lessons"], document["taught"], document["bad"], document["resumed_at"]) == (3, 3, 0, 0)
    listed = cli("lessons", "list", "--json").json["lessons"]
    assert [lesson["source"] for lesson in listed] == ["facts.jsonl:1", "facts.jsonl:2", "facts.jsonl:3"]


def test_import_is_the_same_command(cli, file):
    result = cli("lessons", "import", file("prompt;answer", "Größe?;1 m", name="facts.csv"))
    assert result.code == 0
    assert result.out.startswith("facts.csv  1 learned")


def test_a_source_that_is_given_stays(cli, file):
    cli("teach", "--file", file({"prompt": "q", "answer": "a", "source": "book"}))
    assert cli("lessons", "list", "--json").json["lessons"][0]["source"] == "book"


def test_with_bad_lines_nothing_is_taught(cli, file):
    path = file(*pairs(2), "{broken", {"prompt": "q", "anser": "a"})
    result = cli("teach", "--file", path)
    assert result.code == 2
    assert "line 3: Not JSON" in result.err
    assert "line 4: Unknown field 'anser'. Did you mean 'answer'?" in result.err
    assert "error: facts.jsonl: 2 of 4 lines cannot be taught." in result.err
    assert "--skip-bad" in result.err
    assert cli("lessons", "list", "--json").json["count"] == 0


def test_bad_lines_can_be_skipped(cli, file):
    document = cli("teach", "--file", file("{", *pairs(2)), "--skip-bad", "--json").json
    assert (document["taught"], document["bad"]) == (2, 1)
    assert document["errors"][0]["line"] == 1


def test_a_file_of_bad_lines_only_is_an_error(cli, file):
    result = cli("teach", "--file", file("{", "["), "--skip-bad")
    assert result.code == 2
    assert "no line can be taught" in result.err


def test_many_bad_lines_are_not_all_shown(cli, file):
    result = cli("teach", "--file", file(*["{"] * 30))
    assert "line 20:" in result.err
    assert "line 21:" not in result.err
    assert "... and 10 more bad lines" in result.err


def test_a_dry_run_checks_and_changes_nothing(cli, file):
    path = file(*pairs(2), pairs(1)[0])
    result = cli("teach", "--file", path, "--dry-run")
    assert (result.code, result.out) == (
        0,
        "facts.jsonl  3 lessons can be taught, 0 bad lines, 1 repeat an earlier one  (dry run)\n",
    )
    assert cli("lessons", "list", "--json").json["count"] == 0
    assert cli("teach", "--file", file("{", *pairs(1)), "--dry-run").code == 2
    assert cli("teach", "--file", file("{", *pairs(1)), "--dry-run", "--skip-bad", "--json").json["dry_run"] is True


def test_a_table_that_is_not_there_is_a_bad_line(cli, file):
    path = file({"prompt": "q", "answer": "a", "table": "docs"})
    result = cli("teach", "--file", path)
    assert "line 1: There is no look-up table 'docs'. Create it with: everlearn tables create docs" in result.err
    cli("tables", "create", "docs")
    assert cli("teach", "--file", path).code == 0
    assert cli("lessons", "list", "--table", "docs", "--json").json["count"] == 1


def test_one_table_for_all(cli, file):
    cli("tables", "create", "docs")
    path = file(*pairs(2))
    assert cli("teach", "--file", path, "--table", "docs", "--json").json["taught"] == 2
    assert cli("teach", "--file", path, "--json").json["taught"] == 2, "another table is another import"
    assert cli("teach", "--file", path, "--table", "docs", "--json").json["taught"] == 0


def test_a_file_is_taught_once_unless_asked_again(cli, file):
    path = file(*pairs(2))
    cli("teach", "--file", path)
    assert cli("teach", "--file", path).out == "facts.jsonl is taught already, nothing was done; --again repeats it.\n"
    again = cli("teach", "--file", path, "--again", "--json").json
    assert (again["taught"], again["known"]) == (0, 2)


def test_what_was_forgotten_is_taught_by_the_same_file_again(cli, file):
    cli("tables", "create", "docs")
    path = file({"prompt": "q", "answer": "a"}, {"prompt": "word thing", "answer": "b", "table": "docs"})
    cli("teach", "--file", path)
    for table, counts in (("default", (1, 1)), ("docs", (1, 1))):
        lesson = cli("lessons", "list", "--table", table, "--json").json["lessons"][0]["id"]
        cli("lessons", "forget", lesson, "--yes")
        again = cli("teach", "--file", path, "--json").json
        assert (again["taught"], again["known"]) == counts, table
        assert cli("teach", "--file", path, "--json").json["taught"] == 0
    cli("tables", "delete", "docs", "--yes")
    cli("tables", "create", "docs")
    again = cli("teach", "--file", path, "--json").json
    assert (again["taught"], again["known"]) == (1, 1)


def test_an_interrupted_import_goes_on_where_it_stopped(cli, file, monkeypatch):
    path = file("{", *pairs(300))
    real = Learner._commit
    batches = []

    def full_at_the_second(self, lessons, *args):
        batches.append(len(lessons))
        if len(batches) == 2:
            raise StoreFullError("No room.")
        return real(self, lessons, *args)

    monkeypatch.setattr(Learner, "_commit", full_at_the_second)
    assert cli("teach", "--file", path, "--skip-bad").code == 2
    assert cli("lessons", "list", "--json").json["count"] == 256

    result = cli("teach", "--file", path, "--skip-bad")
    assert "continuing at line 258; 256 of 300 lessons were taught before" in result.err
    assert "44 learned" in result.out
    assert batches == [256, 44, 44]
    assert cli("lessons", "list", "--json").json["count"] == 300


def test_export_and_import_give_the_same_lessons(cli, file, tmp_path, monkeypatch):
    rows = [
        {"prompt": "שאלה one", "answer": 'שלום "😀",\nline two'},
        {"prompt": "second question", "answer": "a;b\tc", "importance": 0.25, "valid_from": "2026-01-01"},
    ]
    cli("teach", "--file", file(*rows))
    before = cli("lessons", "list", "--json").json["lessons"]
    for name in ("out.jsonl", "out.csv", "out.tsv"):
        assert cli("lessons", "export", str(tmp_path / name), "--json").json["lessons"] == 2
        home = str(tmp_path / f"home of {name}")
        assert cli("--home", home, "lessons", "import", str(tmp_path / name)).code == 0
        after = cli("--home", home, "lessons", "list", "--json").json["lessons"]
        for old, new in zip(before, after, strict=True):
            changed = {name for name in old if old[name] != new[name]}
            assert changed == {"id", "taught_at"}


def test_an_export_does_not_replace_a_file_unasked(cli, teach, tmp_path):
    teach("q", "a")
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    result = cli("lessons", "export", str(target))
    assert result.code == 2
    assert target.read_text() == "mine"
    assert cli("lessons", "export", str(target), "--force").out == "out.jsonl  1 lessons written\n"


def test_an_export_may_hold_the_history(cli, teach, tmp_path):
    teach("Who leads?", "Ann")
    teach("Who leads?", "Bob")
    target = str(tmp_path / "out.jsonl")
    assert cli("lessons", "export", target, "--json").json["lessons"] == 1
    assert cli("lessons", "export", target, "--force", "--history", "--json").json["lessons"] == 2
    home = str(tmp_path / "second")
    cli("--home", home, "lessons", "import", target)
    listed = cli("--home", home, "lessons", "list", "--status", "all", "--json").json["lessons"]
    assert [(lesson["answer"], lesson["status"]) for lesson in listed] == [("Ann", "superseded"), ("Bob", "active")]


def test_a_file_that_is_not_there_is_an_error(cli, tmp_path):
    result = cli("teach", "--file", str(tmp_path / "none.jsonl"))
    assert result.code == 2
    assert "cannot be read: No such file" in result.err


def test_ctrl_c_keeps_what_is_taught_and_says_so(cli, file, monkeypatch):
    path = file(*pairs(300))
    real = Learner._commit
    batches = []

    def stopped_after_the_first(self, lessons, *args):
        batches.append(len(lessons))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return real(self, lessons, *args)

    monkeypatch.setattr(Learner, "_commit", stopped_after_the_first)
    result = cli("teach", "--file", path)
    assert result.code == 130
    assert "stopped; 256 of 300 lessons are kept, and the same command goes on from there" in result.err
    assert "continuing at line 257" in cli("teach", "--file", path).err
