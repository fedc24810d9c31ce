import json

import pytest


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "edits.jsonl"
    rows = [
        {
            "prompt": f"word{n} thing{n}",
            "target": f"a{n}",
            "rephrases": [f"thing{n} word{n}"],
            "locality": [{"prompt": f"other{n} matter{n}", "answer": "x"}],
        }
        for n in range(8)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_edits_are_measured_and_written_to_a_file(cli, data, tmp_path):
    out = tmp_path / "report.json"
    result = cli("bench", "editing", "--data", data, "--edits", "3", "--sample", "2", "--json", str(out))
    assert result.code == 0, result
    report = json.loads(out.read_text())
    assert {"reliability", "generality", "locality", "edits", "sampled", "teach_ms", "added_ms"} <= report.keys()
    assert (report["edits"], report["sampled"], report["reliability"]) == (3, 2, 1.0)
    for part in ("reliability", "generality", "locality", "wild", "3 edits, 2 scored"):
        assert part in result.out


def test_the_report_may_be_the_one_document_on_stdout(cli, data):
    result = cli("bench", "editing", "--data", data, "--edits", "2", "--json", "-")
    assert result.json["edits"] == 2


def test_the_users_lessons_are_not_touched_and_nothing_is_left(cli, data, tmp_path):
    cli("bench", "editing", "--data", data, "--edits", "2")
    assert not (tmp_path / "home" / "lessons.db").exists()
    assert list((tmp_path / "home" / "bench").iterdir()) == []


def test_an_interrupted_measurement_goes_on(cli, data, tmp_path, monkeypatch):
    from everlearn.evaluation import editing

    def broken(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(editing, "added_first_token", broken)
        assert cli("bench", "editing", "--data", data, "--edits", "2").code == 130
    assert len(list((tmp_path / "home" / "bench").iterdir())) == 1
    result = cli("bench", "editing", "--data", data, "--edits", "2")
    assert result.code == 0
    assert "going on with the run kept in" in result.err


def test_teaching_is_timed(cli, data):
    report = cli("bench", "teach", "--data", data, "--pairs", "2", "--singles", "2", "--json", "-").json
    assert (report["singles"], report["bulk"]) == (2, 2)
    assert "in one call" in cli("bench", "teach", "--data", data, "--pairs", "2", "--singles", "2").out


def test_added_time_is_measured_by_size(cli, data):
    arguments = ("bench", "latency", "--data", data, "--sizes", "0,2", "--questions", "1", "--rounds", "1")
    assert [cost["entries"] for cost in cli(*arguments, "--json", "-").json["sizes"]] == [0, 2]
    assert "time per token with 2 entries" in cli(*arguments).out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["editing", "--edits", "99"], "99 edits were wanted"),
        (["editing", "--edits", "2", "--sample", "3"], "sample of 3"),
        (["editing", "--edits", "2", "--protocol", "easy"], "easy"),
        (["teach", "--pairs", "500"], "different questions are needed"),
        (["latency", "--sizes", "a"], "wanted whole numbers"),
        (["latency", "--sizes", "5,1"], "wanted rising numbers"),
        (["editing", "--edits", "1", "--json", "/no/such/folder/x"], "cannot be written"),
    ],
)
def test_what_cannot_be_measured_is_explained(cli, data, args, message):
    result = cli("bench", *args, "--data", data)
    assert result.code == 2
    assert message in result.err


def test_a_stream_is_measured_and_drawn(cli, tmp_path):
    text, plot = tmp_path / "boats.txt", tmp_path / "stream.png"
    text.write_text("The harbour of Quimper had seven boats, and none was red. " * 60)
    options = ("--text", str(text), "--window", "512", "--dense", "1000", "--plot", str(plot))
    report = cli("bench", "stream", "--tokens", "3000", *options, "--json", "-").json
    assert {"bytes_first", "bytes_last", "ppl_first", "ppl_last"} <= report.keys()
    assert report["bytes_first"] == report["bytes_last"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = cli("bench", "stream", "--tokens", "3000", *options)
    assert "4 sinks" in shown.out
    assert "all keys" in shown.out


def test_a_stream_needs_a_text_in_utf_8(cli, tmp_path):
    assert "cannot be read" in cli("bench", "stream", "--text", str(tmp_path / "none.txt")).err
    (tmp_path / "latin.txt").write_bytes("café ".encode("latin-1") * 999)
    assert "UTF-8" in cli("bench", "stream", "--text", str(tmp_path / "latin.txt")).err
