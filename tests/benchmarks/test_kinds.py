"""The comparison of kinds: all of them train on the same text, and what was found is not computed again."""

import json

import kinds
from everlearn.models.apertis.configuration import LAYER_KINDS


def test_every_kind_of_layer_is_compared():
    layers = {kind for each in kinds.kinds_of(4).values() for kind in each.get("layer_types", ["full"])}
    assert layers == set(LAYER_KINDS)


def test_kinds_train_alike_and_once(tmp_path, capsys):
    text = tmp_path / "boats.txt"
    text.write_text("".join(f"Boat {n} lies in the harbour of Quimper.\n" for n in range(3000)), encoding="utf-8")
    arguments = ["--data", str(text), "--out", str(tmp_path / "runs"), "--tokens", "600", "--sequence", "33"]
    arguments += [
        "--update-tokens",
        "320",
        "--vocabulary",
        "300",
        "--kinds",
        "linear",
        "--json",
        str(tmp_path / "k.json"),
    ]
    kinds.main(arguments)
    report = json.loads((tmp_path / "k.json").read_text())
    assert [row["kind"] for row in report["kinds"]] == ["full", "linear"]
    assert len({row["tokens"] for row in report["kinds"]}) == 1
    assert "| linear |" in capsys.readouterr().out
    kinds.main([*arguments[:-2], "--json", str(tmp_path / "again.json")])
    assert json.loads((tmp_path / "again.json").read_text())["kinds"] == report["kinds"]
