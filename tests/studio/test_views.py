"""Figures become readings, plots and tables that say what was measured."""

from __future__ import annotations

import json
import re

import pytest

from everlearn.studio import compare_tab, demo_run, evaluate_tab, learn_tab, learn_view, monitor_tab
from everlearn.studio.client import ApiError
from everlearn.studio.jobs_view import job
from everlearn.studio.plots import bars, line
from everlearn.studio.readings import Reading, rates, read

METRICS = """# TYPE everlearn_requests_total counter
everlearn_requests_total{method="GET",route="/v1/models",status="200"} 3.0
everlearn_requests_total{method="POST",route="/v1/teach",status="201"} 2.0
# TYPE everlearn_request_seconds histogram
everlearn_request_seconds_bucket{route="/v1/teach",le="+Inf"} 2.0
everlearn_request_seconds_count{route="/v1/teach"} 2.0
everlearn_request_seconds_sum{route="/v1/teach"} 0.5
# TYPE everlearn_lessons gauge
everlearn_lessons{tenant="a",status="active"} 4.0
everlearn_lessons{tenant="b",status="active"} 6.0
# TYPE everlearn_recall_hits_total counter
everlearn_recall_hits_total{how="spoke"} 7.0
# TYPE everlearn_filter_actions_total counter
everlearn_filter_actions_total{stage="lesson",action="quarantined"} 2.0
"""


def test_metrics_are_summed_over_labels():
    found = read(METRICS, at=10.0)
    assert found.sums["everlearn_requests_total"] == 5.0
    assert (found.by("lessons"), found.by("hits")) == ({"active": 10.0}, {"spoke": 7.0})
    assert found.by("filters") == {"lesson quarantined": 2.0}
    assert found.routes == {"/v1/teach": (0.5, 2.0)}
    assert found.mean("everlearn_request_seconds") == 0.25
    assert found.mean("everlearn_never") is None


def test_a_rate_is_growth_per_second_and_never_negative_when_a_server_began_anew():
    readings = [Reading(at, {"n": n}) for at, n in ((0.0, 10.0), (2.0, 14.0), (4.0, 1.0))]
    assert rates(readings, "n") == [2.0, 0.0]


def test_the_monitor_shows_what_the_server_counts(with_api):
    async def work(api):
        await api.post("/v1/lessons", {"prompt": "Who runs the Zorblat bakery?", "answer": "Mirela"})
        first, second = read(await api.text("/metrics")), read(await api.text("/metrics"))
        page = monitor_tab.shown([first, second])
        assert re.search(r">1</b><span>lessons active<", page)
        assert "/v1/lessons" in page

    with_api(work)


def test_alerts_are_sentences_and_none_says_so():
    row = {"level": "high", "kind": "poisoning", "message": "3 lessons of <b>mail</b>", "hint": "Look."}
    page = monitor_tab.alerts([row])
    assert "el-bad" in page
    assert "&lt;b&gt;mail" in page
    assert "No alerts" in monitor_tab.alerts([])


def test_cost_is_core_time_times_its_price():
    now = Reading(0.0, {"process_cpu_seconds_total": 1800.0, "everlearn_generation_tokens_total": 9000.0})
    cards = "".join(monitor_tab.cost(now, 0.04))
    for number in ("0.500", "200.0 s", "0.02", "0.002222"):
        assert f">{number}<" in cards
    assert len(monitor_tab.cost(now, 0.0)) == 2
    assert [monitor_tab.size(n) for n in (12, 3400, 5_600_000, 7.8e9)] == ["12 B", "3.4 kB", "5.6 MB", "7.8 GB"]


def test_a_line_spans_its_plot_and_a_bar_its_share():
    assert '"4.0,56.0 296.0,6.0"' in line([0.0, 2.0], label="x")
    assert "two readings" in line([1.0], label="x")
    assert 'width="210.0"' in bars([("half", 0.5)], label="x")


def test_results_are_flattened_into_shares_and_figures(tmp_path):
    file = tmp_path / "r.json"
    file.write_text(json.dumps({"a": {"b": 0.5, "n": 3}, "words": "x", "raw": list(range(100))}), "utf-8")
    flat = evaluate_tab.flattened(evaluate_tab.loaded(file))
    assert flat == [("a.b", 0.5), ("a.n", 3), ("words", "x")]
    page = evaluate_tab.result("r", evaluate_tab.loaded(file))
    assert ">0.500<" in page
    assert "<td data-head=\"Value\">3</td>" in page  # fmt: skip
    file.write_text("{", "utf-8")
    with pytest.raises(ApiError, match="no JSON"):
        evaluate_tab.loaded(file)


def test_what_a_stream_forgot_is_a_heat_map():
    method = {"R": [[80.0, 10.0], [60.0, 90.0]], "runs": [{"seed": 0}], "forgetting": 20.0}
    values = {
        "benchmark": "forgetting",
        "tasks": ["a", "b"],
        "methods": {"replay": method, "joint": {"R": [[70.0, 75.0]]}},
    }
    page = evaluate_tab.result("r", values)
    assert re.findall(r">(\d\.\d\d)</td>", page) == ["0.80", "0.10", "0.60", "0.90", "0.70", "0.75"]
    assert re.findall(r'scope="row">([^<]*)<', page) == ["after a", "after b", "after all"]
    assert "methods.replay.forgetting" in page
    assert "runs" not in page


@pytest.mark.slow
def test_the_demo_measurement_measures_and_cleans_up(with_api):
    async def work(api):
        steps = [(done, total, dict(results)) async for _, done, total, results in demo_run.measured(api)]
        done, total, results = steps[-1]
        assert done == total == len(steps)
        assert results["taught"] == 1.0
        assert results["forgotten_as_before"] == 1.0
        assert demo_run.TABLE not in [row["name"] for row in (await api.get("/v1/tables"))["data"]]

    with_api(work)


def test_two_models_are_answered_at_once(with_api):
    async def work(api):
        await api.post("/v1/lessons", {"prompt": "Who runs the Zorblat bakery?", "answer": "Mirela Quandt"})
        sides = [{"model": m, "text": "", "receipt": "", "done": False} for m in ("everlearn", "base")]
        ticks = [None async for _ in compare_tab.answered(api, "Who runs the Zorblat bakery?", sides)]
        assert ticks
        assert [side["done"] for side in sides] == [True, True]
        assert sides[0]["text"] == "Mirela Quandt"
        assert (sides[0]["lessons"], sides[1]["lessons"]) == (1, 0)
        assert "everlearn" not in compare_tab.shown(sides, blind=True, votable=True)
        await compare_tab.preferred(api, sides, 0, blind=True)
        (kept,) = (await api.get("/v1/preferences"))["data"]
        assert (kept["chosen"], kept["rejected"], kept["blind"]) == ("Mirela Quandt", [sides[1]["text"]], True)

    with_api(work)


def test_a_job_is_a_bar_then_a_sentence():
    told = {"id": "j", "kind": "sleep", "stage": "training", "done": 3, "total": 4, "created_at": 0, "ended_at": None}
    assert 'aria-valuenow="75"' in job({**told, "status": "running", "error": None})
    error = {"message": "There are no lessons.", "hint": "Teach first."}
    assert "There are no lessons. Teach first." in job({**told, "status": "failed", "error": error})
    assert "1 min 5 s" in job({**told, "status": "succeeded", "ended_at": 65, "error": None})


def test_verdicts_and_versions_say_their_numbers():
    verdict = {"adapter": "general@2", "accepted": False, "reasons": ["locality 0.5 < 0.9"], "lessons": 1}
    page = learn_view.verdicts([{**verdict, "figures": {"locality": 0.5}, "seconds": 12.0}])
    for said in ("refused", "locality 0.5 &lt; 0.9", "<td>0.5</td>", "1 lesson, 12 s"):
        assert said in page
    version = {"name": "general", "parent": "", "lesson_count": 3, "weights": "0123456789abcdef", "created_at": 0}
    rows = [{**version, "id": f"general@{n}", "step": n, "in_use": n == 2} for n in (1, 2)]
    page = learn_view.timeline(rows)
    assert page.index("general@2") < page.index("general@1")
    assert 'data-act="roll" data-of="general@1"' in page
    assert 'data-act="roll" data-of="general@"' in page


def test_an_empty_field_of_a_sleep_keeps_the_default():
    assert learn_tab.body_of("", None, None, None, None, None, False) == {"fresh": False}
    assert learn_tab.body_of(" x ", 2, 1e-4, 8, 0, 16, True) == {
        "epochs": 2,
        "rate": 1e-4,
        "rank": 8,
        "general": 16,
        "domain": "x",
        "fresh": True,
    }
