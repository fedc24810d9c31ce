"""The dashboard asks for figures that there are, and the unit starts a command that there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families

from everlearn.records import Answer, Lesson, Recalled, Receipt, Taught, Usage
from everlearn.server.answering import Load
from everlearn.server.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
TARGETS = [
    target
    for panel in json.loads((DEPLOY / "grafana.json").read_text("utf-8"))["panels"]
    for target in panel["targets"]
]
SCRAPED = frozenset({"job", "instance"})  # Prometheus adds them
GROWS = frozenset({"rate", "irate", "increase"})


@pytest.fixture(scope="module")
def figures():
    """Name of each figure -> its kind and labels, as they are read when everything has happened once."""
    metrics = Metrics()
    metrics.request("GET", "/v1/models", 200, 0.1)
    metrics.loaded(Load())
    metrics.hit()
    metrics.refused("rate")
    rests_on = (Recalled("lesson", "default", 1.0, 1.0, "spoke"),)
    usage = Usage(prompt_tokens=5, cached_tokens=1, completion_tokens=2, decode_ms=10.0)
    metrics.answered(Answer("Mirela Quandt", Receipt("r", "toy", ("default",), rests_on), usage, "stop"), 0.1)
    with metrics.teaching(1):
        metrics.judged([Taught(Lesson("Who?", "She.", status="quarantined"))])
    metrics.stored("local", {"lessons": 1})
    metrics.forgot(1)
    metrics.slept(accepted=True)
    metrics.held("local", {"active": 1})
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found[sample.name] = family.type, frozenset(sample.labels)
    return found


def labels_of(expr, figures):
    """Labels of what an expression gives. Every name and label in it has to be one that there is."""
    match expr:
        case promql.NumberLiteral():
            return frozenset()
        case promql.MatrixSelector():
            return labels_of(expr.vector_selector, figures)
        case promql.VectorSelector():
            assert expr.name in figures, f"there is no figure {expr.name}"
            labels = figures[expr.name][1] | SCRAPED
            asked = {matcher.name for matcher in expr.matchers.matchers}
            assert asked <= labels, f"{expr.name} has no labels {asked - labels}"
            return labels
        case promql.Call():
            return labels_of_call(expr, figures)
        case promql.AggregateExpr():
            return labels_of_sum(expr, figures)
        case promql.BinaryExpr():
            sides = [labels_of(side, figures) for side in (expr.lhs, expr.rhs)]
            return frozenset.intersection(*(side for side in sides if side)) if any(sides) else frozenset()
    raise AssertionError(f"{type(expr).__name__} is not known here")


def labels_of_sum(expr, figures):
    labels = labels_of(expr.expr, figures)
    named = frozenset(expr.modifier.labels) if expr.modifier else frozenset()
    assert named <= labels, f"{expr.prettify()}: there are no labels {named - labels}"
    by = expr.modifier is None or expr.modifier.type == promql.AggModifierType.By
    return named if by else labels - named


def labels_of_call(expr, figures):
    labels = frozenset().union(*(labels_of(argument, figures) for argument in expr.args))
    if expr.func.name in GROWS:
        name = expr.args[0].vector_selector.name
        assert figures[name][0] in ("counter", "histogram"), f"{name} is no counter: it has no {expr.func.name}"
    if expr.func.name == "histogram_quantile":
        assert "le" in labels, f"{expr.prettify()}: the buckets are summed up before they are looked at"
        return labels - {"le"}
    return labels


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"])
def test_a_panel_asks_prometheus_for_a_figure_with_its_labels(figures, target):
    given = labels_of(promql.parse(target["expr"]), figures)
    assert set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])) <= given


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("sum(rate(everlearn_requests_total[5m])", "unclosed left parenthesis"),
        ("rate(everlearn_requests_total)", "expected type matrix"),
        ("everlearn_requests", "no figure everlearn_requests"),
        ("sum by (table) (everlearn_lessons)", "no labels"),
        ('everlearn_lessons{table="x"}', "no labels"),
        ("rate(everlearn_lessons[5m])", "no counter"),
        ("histogram_quantile(0.5, sum by (route) (rate(everlearn_request_seconds_bucket[5m])))", "summed up"),
        ("everlearn_lessons / sum without (where) (everlearn_lessons)", "no labels"),
    ],
)
def test_what_prometheus_or_the_server_would_not_know_is_found(figures, wrong, why):
    with pytest.raises((ValueError, AssertionError), match=why):
        labels_of(promql.parse(wrong), figures)


def test_a_running_server_tells_the_figures_of_the_dashboard(client, figures):
    families = {name for name, _ in re.findall(r"^# TYPE (\S+) (\S+)$", client.get("/metrics").text, re.MULTILINE)}
    own = {name for name in figures if name.startswith("everlearn_") and not name.endswith("_created")}
    assert own <= {f"{name}{end}" for name in families for end in ("", "_bucket", "_sum", "_count")}


def test_what_is_started_is_a_command():
    from everlearn.cli.main import app

    names = {command.name for command in app.registered_commands}
    unit = re.search(r"^ExecStart=(.*)$", (DEPLOY / "everlearn.service").read_text("utf-8"), re.MULTILINE)
    assert shlex.split(unit[1])[1] in names
    entry = re.search(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert json.loads(entry[1])[0] in names
