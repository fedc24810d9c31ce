import pytest


def test_a_table_is_created_changed_listed_and_deleted(cli, teach):
    created = cli("tables", "create", "docs", "--threshold", "0.7", "--json").json
    usual = {
        "threshold": 0.5,
        "residual": 1.0,
        "blocks": [],
        "sparsity": 1.0,
        "output": True,
        "values": "difference",
        "context_threshold": 0.5,
        "context_tokens": 512,
        "layer": "",
        "owner": "",
    }
    assert created["settings"] == {**usual, "threshold": 0.7}
    changed = cli("tables", "set", "docs", "--blocks", "2,-1", "--sparsity", "0.5", "--json").json["settings"]
    assert changed == {**usual, "threshold": 0.7, "blocks": [2, -1], "sparsity": 0.5}
    changed = cli("tables", "set", "docs", "--no-output", "--values", "learned", "--json").json["settings"]
    assert (changed["output"], changed["values"]) == (False, "learned")
    graded = cli("tables", "set", "docs", "--context-threshold", "0.3", "--context-tokens", "64", "--json").json
    assert graded["settings"] == changed | {"context_threshold": 0.3, "context_tokens": 64}
    assert cli("tables", "set", "docs", "--blocks", "auto", "--json").json["settings"]["blocks"] == []
    lesson = teach("q", "a", "--table", "docs")
    assert cli("tables", "list").out.splitlines()[1] == "docs\t1\t0\t0.7\t1\tauto\t0.5\toff\tlearned\t0.3\t64\t\t"

    deleted = cli("tables", "delete", "docs", "--yes", "--json").json
    assert deleted["forgotten"] == [lesson]
    assert deleted["derived"] >= 1
    assert [table["name"] for table in cli("tables", "list", "--json").json["tables"]] == ["default"]


def test_outcomes_are_said_in_a_line(cli):
    usual = (
        "threshold 0.5, residual 1, blocks auto, sparsity 1, output on, values difference, context from 0.5, 512 tokens"
    )
    assert cli("tables", "create", "docs").out == f"created docs  {usual}\n"
    assert cli("tables", "set", "docs", "--residual", "0").out.startswith("changed docs  threshold 0.5, residual 0")
    assert cli("tables", "delete", "docs", "--yes").out == "deleted docs  0 lessons and 0 derived rows removed\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["create", "default"], "There is a table 'default' already."),
        (["create", ""], "'' cannot name a table"),
        (["create", "a b"], "'a b' cannot name a table"),
        (["create", "x", "--threshold", "1.5"], "threshold is 1.5, wanted 0 to 1"),
        (["create", "x", "--residual", "-1"], "residual is -1.0, wanted 0 to 1"),
        (["create", "x", "--residual", "nan"], "residual is nan, wanted 0 to 1"),
        (["create", "x", "--sparsity", "0", "--no-output"], "a table would correct nothing"),
        (["create", "x", "--values", "guessed"], "values is 'guessed', wanted one of difference, learned,"),
        (["create", "x", "--context-threshold", "2"], "context_threshold is 2.0, wanted 0 to 1"),
        (["create", "x", "--blocks", "a"], "blocks is 'a', wanted whole numbers"),
        (["create", "x", "--blocks", "1,1"], "stands there twice"),
        (["set", "default"], "Wanted: --threshold"),
        (["set", "x", "--residual", "1"], "no look-up table 'x'"),
        (["delete", "x", "--yes"], "no look-up table 'x'"),
        (["delete", "default"], "Add --yes"),
    ],
)
def test_what_cannot_be_done_is_explained(cli, args, message):
    result = cli("tables", *args)
    assert result.code == 2
    assert message in result.err
    assert [table["name"] for table in cli("tables", "list", "--json").json["tables"]] == ["default"]


def test_deleting_asks_a_person(cli, teach):
    cli("tables", "create", "docs")
    teach("q", "a", "--table", "docs")
    result = cli("tables", "delete", "docs", typed="n\n")
    assert result.code == 1
    assert "its 1 lessons for good?" in result.err
    assert "docs" in cli("tables", "list").out
