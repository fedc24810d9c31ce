import pytest


def test_a_lesson_is_taught_with_all_its_fields(cli, teach):
    lesson = teach("q one", "a", "--domain", "d", "--importance", "0.9", "--source", "s", "--author", "me")
    shown = cli("lessons", "show", lesson, "--json").json
    assert (shown["domain"], shown["importance"], shown["source"], shown["author"]) == ("d", 0.9, "s", "me")


def test_a_lesson_says_where_it_came_from(cli, teach):
    assert cli("lessons", "show", teach("q", "a"), "--json").json["source"] == "command line"


def test_what_is_replaced_is_named(cli, teach):
    old = teach("Who leads?", "Ann")
    result = cli("teach", "Who leads?", "Bob")
    first, second = result.out.splitlines()
    assert first.startswith("learned ")
    assert "in default" in first
    replaced, shown, answer = second.split()
    assert (replaced, answer) == ("replaces", "Ann")
    assert old.startswith(shown)
    assert cli("teach", "Who leads?", "Bob").out.startswith("known already ")


def test_a_conflict_can_be_refused(cli, teach):
    teach("Who leads?", "Ann")
    result = cli("teach", "Who leads?", "Bob", "--on-conflict", "reject")
    assert result.code == 2
    assert "'Ann' already" in result.err
    assert "--on-conflict supersede" in result.err


def test_the_document_of_a_lesson(cli, teach):
    old = teach("Who leads?", "Ann")
    document = cli("teach", "Who leads?", "Bob", "--json").json
    assert document["superseded"] == [old]
    assert document["known"] is False
    assert document["taught_at"].endswith("+00:00")
    assert document["ms"] > 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["q", ""], "answer is empty"),
        ([" ", "a"], "prompt is empty"),
        (["q", "a\x00b"], "NUL"),
        (["q", "\udc80"], "surrogate"),
        (["q", "x" * 100_000], "100,000 characters"),
        (["q", "a", "--table", "nowhere"], "nowhere"),
        (["q", "a", "--importance", "2"], "--importance"),
        (["q", "a", "--on-conflict", "maybe"], "maybe"),
        (["q", "a", "--skip-bad"], "--skip-bad goes with --file"),
        (["q", "--file", "f.jsonl"], "question goes with a single lesson"),
        (["--file", "f.jsonl", "--domain", "d"], "--domain goes with a single lesson"),
    ],
)
def test_what_cannot_be_taught_is_explained(cli, args, message):
    result = cli("teach", *args)
    assert result.code == 2
    assert message in result.err
    assert cli("lessons", "list", "--json").json["count"] == 0


def test_text_is_shown_as_it_is_but_cannot_steer_the_terminal(cli, teach):
    teach("What is [bold]x[/bold]?", "old \x1b[31mred")
    result = cli("teach", "What is [bold]x[/bold]?", "new")
    assert "old ␛[31mred" in result.out
    assert "[bold]x[/bold]" in cli("lessons", "list").out
