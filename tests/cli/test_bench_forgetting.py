import json

import pytest


@pytest.fixture
def stream(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for name in ("one", "two"):
            rows = [{"instruction": f"{name} {part} {n}", "input": "?", "output": "a"} for n in range(3)]
            (tmp_path / part / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path)


def test_methods_are_compared_written_and_drawn(cli, stream, tmp_path):
    out, plot = tmp_path / "report.json", tmp_path / "r.svg"
    sizes = ("--train", "2", "--test", "2", "--epochs", "1", "--seeds", "0,1")
    what = ("bench", "forgetting", "--stream", f"{stream},two,one", "--method", "sequential_lora,adapters_router,joint")
    result = cli(*what, *sizes, "--json", str(out), "--plot", str(plot))
    assert result.code == 0, result
    report = json.loads(out.read_text())
    assert report["tasks"] == ["two", "one"]
    assert list(report["methods"]) == ["sequential_lora", "adapters_router", "joint"]
    for found in report["methods"].values():
        assert {"R", "ACC", "BWT", "FWT", "forgetting", "seconds"} <= found.keys()
        assert len(found["runs"]) == 2
    assert "sequential_lora" in result.out
    assert "two → one" in result.out
    assert plot.read_text().startswith("<svg")
    assert not list((tmp_path / "home" / "bench").iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "magic"), "no method 'magic'"),
        (("--seeds", "0,x"), "wanted different whole numbers"),
        (("--rate", "0"), "Wanted: above 0"),
    ],
)
def test_wrong_options(cli, stream, more, message):
    result = cli("bench", "forgetting", "--stream", stream, *more)
    assert result.code == 2
    assert message in result.err


def test_a_folder_without_tasks(cli, tmp_path):
    result = cli("bench", "forgetting", "--stream", str(tmp_path / "nowhere"))
    assert result.code == 2
    assert "holds no tasks" in result.err
