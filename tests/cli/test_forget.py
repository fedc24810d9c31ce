from __future__ import annotations

import json


def test_forgetting_by_source_shows_first_what_would_go(cli, tmp_path):
    for n in range(12):
        cli("teach", f"What is thing{n}?", f"a{n}", "--source", f"facts.csv:{n}", "--author", "Ann")
    cli("teach", "Who leads?", "Bob")
    refused = cli("forget", "--source", "facts.csv")
    assert refused.code == 2
    assert "2 more, 12 in all" in refused.err
    assert cli("forget", "--source", "facts.csv", "--dry-run", "--json").json["dry_run"] is True
    receipt = tmp_path / "receipt.json"
    done = cli("forget", "--source", "facts.csv", "--author", "Ann", "--yes", "--receipt", str(receipt))
    assert done.code == 0, done
    assert "forgotten 12 lessons" in done.out
    assert cli("lessons", "list", "--json").json["count"] == 1
    verified = cli("receipts", "verify", str(receipt))
    assert (verified.code, "12 lessons" in verified.out) == (0, True)
    key = cli("receipts", "key").out.strip()
    assert cli("receipts", "verify", str(receipt), "--key", key, "--json").json["valid"] is True
    body = json.loads(receipt.read_text())
    body["body"]["turns"] = 5
    receipt.write_text(json.dumps(body))
    assert cli("receipts", "verify", str(receipt)).code == 1
    assert len(cli("receipts", "list", "--json").json) == 1


def test_nothing_meant_is_an_error(cli, teach):
    teach("Who leads?", "Bob")
    assert cli("forget", "--search", "xyzzy", "--yes").code == 2
    assert cli("forget", "--yes").code == 2
    assert cli("receipts", "verify", "nowhere.json").code == 2


def test_the_audit_is_sound_and_finds_what_was_changed(cli, teach, tmp_path):
    import sqlite3

    lesson = teach("Who leads?", "Bob")
    sound = cli("lessons", "audit", "--json")
    assert (sound.code, sound.json["sound"]) == (0, True)
    assert cli("lessons", "audit", "--expect", sound.json["head"]).code == 0
    connection = sqlite3.connect(tmp_path / "home" / "lessons.db")
    with connection:
        connection.execute("UPDATE lessons SET answer = 'Eve'")
    connection.close()
    found = cli("lessons", "audit")
    assert (found.code, lesson in found.out) == (1, True)


def test_an_answer_as_of_a_time_and_a_conflict_on_the_command_line(cli, teach):
    teach("Who leads?", "Ann", "--valid-from", "2015")
    new = teach("Who leads?", "Bob", "--valid-from", "2018")
    answer = cli("ask", "Who leads?", "--as-of", "2016", "--json").json
    assert (answer["text"], answer["receipt"]["as_of"][:4]) == ("Ann", "2016")
    assert cli("lessons", "list", "--as-of", "2016", "--json").json["count"] == 1
    back = cli("lessons", "undo", new, "--json").json
    assert [lesson["answer"] for lesson in back["speaks_again"]] == ["Ann"]
    teach("Who leads?", "Cleo", "--on-conflict", "keep_both")
    pairs = cli("lessons", "conflicts", "--json").json["conflicts"]
    assert [(pair["speaks"]["answer"], pair["kept_beside"]["answer"]) for pair in pairs] == [("Cleo", "Ann")]
    assert cli("ask", "Who leads?", "--as-of", "soon").code == 2


def test_a_document_is_forgotten_by_the_path_it_was_taught_by(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wiki").mkdir()
    for name in ("tram", "mill"):
        (tmp_path / "wiki" / f"{name}.md").write_text(f"The Zorblat {name} is open on Mondays and closed on Fridays.\n")
        cli("teach", f"wiki/{name}.md")
    assert cli("lessons", "list", "--json").json["count"] == 2
    assert "forgotten 1 lesson " in cli("forget", "--source", "wiki/tram.md", "--yes").out
    assert "forgotten 1 lesson " in cli("forget", "--source", "./wiki", "--yes").out
    assert cli("forget", "--source", "wiki", "--yes").code == 2
