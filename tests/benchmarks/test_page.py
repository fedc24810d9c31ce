"""The page shows what result files hold, and says of everything else that it was not run."""

import json

import pytest

pytest.importorskip("matplotlib")

from editing_page import page
from editing_results import METHODS, Grid, millis_of, numbers_of, read_grid, sizes_of
from everlearn.errors import FileFormatError


def cell(name, edits, method, protocol, **more):
    place = {"commit": "abc", "machine": {"processor": "P", "cores": "2", "threads": "1"}}
    shares = {"reliability": 0.9876, "generality": 0.5, "locality": 1.0}
    about = {"benchmark": "editing-grid", "set": name, "edits": edits, "method": method, "protocol": protocol}
    rest = {"scored_edits": 30, "draws": 3, "teach_ms": 12.34, "date": "2026-11-25", "where": place}
    return {**about, **shares, **rest, **more}


@pytest.fixture
def results(tmp_path):
    (tmp_path / "editing").mkdir()

    def write(**files):
        for name, result in files.items():
            folder = tmp_path / "editing" if result.get("benchmark") == "editing-grid" else tmp_path
            (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
        return tmp_path

    return write


def made(folder):
    return page(read_grid(folder / "editing"), folder, folder / "out")


def row(text, *begins):
    (found,) = [line for line in text.splitlines() if line.startswith("| " + " | ".join(begins))]
    return [part.strip() for part in found.strip("|").split("|")]


def test_a_cell_shows_both_protocols_side_by_side(results):
    text = made(
        results(
            a=cell("zsre", 10, "grace", "wild"),
            b=cell("zsre", 10, "grace", "teacher-forced", reliability=1.0, generality=None),
        )
    )
    assert row(text, "10", "`grace`")[2:] == ["0.988", "0.500", "1.000", "1.000", "-", "1.000", "30 (3)"]


def test_what_was_not_run_is_said_to_be_not_run_and_never_drawn(results):
    folder = results(a=cell("zsre", 10, "grace", "wild"))
    text = made(folder)
    assert row(text, "10", "`grace`")[5:8] == ["not run"] * 3
    (line,) = [line for line in text.splitlines() if line.startswith("| 1,304 |")]
    assert line.count("not run") == 6
    assert all(f"`{method}`" in line for method in METHODS)
    assert (folder / "out" / "editing-zsre.svg").exists()
    assert not (folder / "out" / "editing-qaedit.svg").exists()
    assert "editing-qaedit.svg" not in text
    assert "no result file named `*temporal*.json`" in text


def test_runs_of_the_table_alone_are_listed(results):
    run = {"reliability": 1.0, "generality": 0.91, "locality": None, "edits": 1000, "sampled": 300, "protocol": "wild"}
    run |= {"settings": {"data": "zsre.jsonl"}, "where": {"commit": "abc"}}
    text = made(results(**{"2026-11-25-editing-zsre-1000-wild": run}))
    assert row(text, "2026-11-25")[1:] == ["zsre.jsonl", "1,000", "wild", "1.000", "0.910", "-", "300", "abc"]


def test_an_empty_folder_gives_a_page_without_figures(results):
    text = made(results())
    assert "No cell was run yet." in text
    assert "added" not in text.split("## What it costs")[1].split("not run")[0] or "not run" in text


def test_costs_are_drawn_from_the_newest_file(results):
    folder = results(
        **{
            "2026-01-01-latency": {"sizes": [{"entries": 100, "added_ms_hits": 99.0}]},
            "2026-01-02-latency": {
                "sizes": [{"entries": n, "added_ms_hits": 1.5, "bare_ms": 80.0} for n in (0, 100, 9000)]
            },
        }
    )
    text = made(folder)
    assert row(text, "added ms hits (latency)")[1:] == ["1.50", "1.50", "1.50"]
    assert "bare ms" not in text
    assert "2026-01-02-latency.json" in text
    assert (folder / "out" / "lookup-cost.svg").exists()


def test_the_same_results_give_the_same_files(results):
    folder = results(a=cell("zsre", 10, "grace", "wild"))
    first = made(folder), (folder / "out" / "editing-zsre.svg").read_bytes()
    assert (made(folder), (folder / "out" / "editing-zsre.svg").read_bytes()) == first


def test_perplexities_stand_in_the_hallucination_table(results):
    text = made(
        results(a=cell("hallucination", 306, "everlearn", "teacher-forced", perplexity={"mean": 1.0012, "median": 1.0}))
    )
    assert row(text, "306", "`everlearn`")[2:] == ["1.001", "1.000", "1.000", "not run", "not run", "30 (3)"]


def test_figures_of_other_benchmarks_are_taken_as_they_are():
    found = numbers_of({"share": 0.5123, "edits": 1502, "ok": True, "none": None, "accuracy": {"right": 3, "of": 4}})
    assert found == [("share", "0.512"), ("edits", "1,502"), ("accuracy", "3 of 4")]


def test_a_stopped_run_says_so_and_counts_only_what_was_asked():
    found = numbers_of(
        {"complete": False, "as_of": {"asked": 3, "right": 2, "of": 1036}, "latest": {"asked": 4, "right": 4}}
    )
    assert found == [
        ("complete", "no: it was stopped"),
        ("as_of", "2 of 3 asked; there are 1,036"),
        ("latest", "4 of 4"),
    ]


def test_rows_by_entries_are_found_under_any_name():
    rows = sizes_of({"name": "x", "list": [1], "scaling": [{"entries": 9, "search_ms_p50": 2}, {"entries": 3}]})
    assert [r["entries"] for r in rows] == [3, 9]
    assert millis_of(rows) == {"search_ms_p50": [(9, 2)]}


def test_a_strange_file_among_the_cells_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"benchmark": "other"}')
    with pytest.raises(FileFormatError, match=r"x\.json"):
        read_grid(tmp_path)
    (tmp_path / "x.json").write_text("[")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_grid(tmp_path)


def test_a_grid_knows_its_lines():
    cells = {("zsre", n, "grace", "wild"): {"reliability": v} for n, v in ((100, 0.5), (7, 1.0))}
    assert Grid(cells).line("zsre", "grace", "reliability") == [(7, 1.0), (100, 0.5)]
    assert 7 in Grid(cells).edits_of("zsre")
