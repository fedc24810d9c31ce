"""`everlearn tables export`, `import`, `copy` and `merge`."""

import pytest

from everlearn import wiring
from toys import toy_parts

WHO = "Who bakes at Zorblat?"


def test_a_table_goes_to_another_home_and_answers_there(cli, teach, tmp_path):
    teach(WHO, "Mirela")
    bundle = tmp_path / "shared.zip"
    assert "1 lessons" in cli("tables", "export", "default", str(bundle), "--licence", "MIT").out
    assert cli("tables", "export", "default", str(bundle)).code == 2
    other = ("--home", str(tmp_path / "other"))
    done = cli(*other, "tables", "import", str(bundle), "--table", "shared", "--json").json
    assert (done["table"], done["active"]) == ("shared", 1)
    assert cli(*other, "ask", WHO, "--json").json["text"] == "Mirela"


def test_another_base_model_is_refused_until_values_are_derived_or_the_table_is_copied(
    cli, teach, tmp_path, monkeypatch, parts
):
    teach(WHO, "Mirela")
    bundle, copy, second = tmp_path / "bundle", tmp_path / "copy", toy_parts(seed=5)
    cli("tables", "export", "default", str(bundle))
    monkeypatch.setattr(wiring, "load_parts", lambda settings, progress=None: second)
    other = ("--home", str(tmp_path / "other"))
    refused = cli(*other, "tables", "import", str(bundle))
    assert refused.code == 2
    assert "--derive" in refused.err
    assert cli(*other, "tables", "import", str(bundle), "--derive").code == 0
    assert cli(*other, "ask", WHO, "--json").json["text"] == "Mirela"
    assert cli("tables", "copy", "default", str(copy), "--to-model", "second", "--json").json["path"] == str(copy)
    assert cli("--home", str(tmp_path / "third"), "tables", "import", str(copy)).code == 0


@pytest.mark.parametrize("json", [False, True])
def test_a_merge_reports_conflicts(cli, teach, json):
    cli("tables", "create", "north")
    cli("tables", "create", "south")
    teach(WHO, "Mirela", "--table", "north")
    teach(WHO, "Olaf", "--table", "south")
    assert cli("tables", "merge", "north", "south", "--on-conflict", "ours").code == 2
    report = cli("tables", "merge", "north", "south", *(["--json"] if json else []))
    assert ("Mirela" in report.out) == ("Olaf" in report.out) == True  # noqa: E712
    assert "both" not in cli("tables", "list").out
    merged = cli("tables", "merge", "north", "south", "--into", "both", "--on-conflict", "theirs", "--json").json
    assert merged["lessons"] == 1
    assert merged["conflicts"][0]["answers"] == ["Mirela", "Olaf"]
    assert cli("ask", WHO, "--table", "both", "--json").json["text"] == "Olaf"
