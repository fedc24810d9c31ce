import json


def test_the_kinds_are_compared(cli, tmp_path):
    out, plot = tmp_path / "report.json", tmp_path / "plot.svg"
    ran = cli(
        "bench", "attention", "--kinds", "recurrent, linear", "--width", "64", "--longest", "2048",
        "--json", str(out), "--plot", str(plot),
    )  # fmt: skip
    assert ran.code == 0, ran
    report = json.loads(out.read_text())
    assert set(report["kinds"]) == {"recurrent", "linear"}
    assert set(report["kinds"]["linear"]) == {"slope", "prefill_ms", "decode_ms", "cache_bytes"}
    assert "slope" in ran.out and "recurrent" in ran.out
    assert plot.read_text().startswith("<svg")


def test_an_unknown_kind_is_named(cli):
    ran = cli("bench", "attention", "--kinds", "fuzzy")
    assert ran.code == 2
    assert "'fuzzy'" in ran.err and "block_sparse" in ran.err
