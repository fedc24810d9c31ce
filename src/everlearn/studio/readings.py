"""Prometheus' text as the few figures that the monitor shows."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

from prometheus_client.parser import text_string_to_metric_families

# sample name -> (part of the reading, labels that name a value there)
_PARTS = {
    "everlearn_lessons": ("lessons", ("status",)),
    "everlearn_recall_hits_total": ("hits", ("how",)),
    "everlearn_filter_actions_total": ("filters", ("stage", "action")),
    "everlearn_storage_bytes": ("bytes", ("what",)),
    "everlearn_sleeps_total": ("sleeps", ("outcome",)),
    "everlearn_refused_total": ("refused", ("why",)),
}


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """Figures of one moment.

    Attributes:
        at: seconds since 1970.
        sums: of each sample name, over all its labels.
        parts: what is counted by a label: "lessons" by status, "hits" by how, "filters" by stage and action, "bytes" by
            what, "sleeps" by outcome, "refused" by why; of all tenants.
        routes: seconds and requests by route.
    """

    at: float
    sums: dict[str, float]
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    routes: dict[str, tuple[float, float]] = field(default_factory=dict)

    def mean(self, name: str) -> float | None:
        """Mean of a histogram; None where nothing was observed."""
        count = self.sums.get(f"{name}_count", 0.0)
        return self.sums.get(f"{name}_sum", 0.0) / count if count else None

    def by(self, part: str) -> dict[str, float]:
        """What is counted by a label; empty where nothing was."""
        return self.parts.get(part, {})


def read(text: str, at: float | None = None) -> Reading:
    """Figures of a page of metrics."""
    sums: dict[str, float] = defaultdict(float)
    parts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith(("_bucket", "_created")):
                continue
            sums[sample.name] += sample.value
            if sample.name in _PARTS:
                part, labels = _PARTS[sample.name]
                parts[part][" ".join(sample.labels[label] for label in labels)] += sample.value
            elif sample.name.startswith("everlearn_request_seconds_"):
                seconds[sample.labels["route"]][sample.name.endswith("_count")] += sample.value
    routes = {route: (values[0], values[1]) for route, values in seconds.items()}
    plain = {name: dict(values) for name, values in parts.items()}
    return Reading(time.time() if at is None else at, dict(sums), plain, routes)


def rates(readings: list[Reading], name: str) -> list[float]:
    """A counter's growth per second between readings; a server that began anew counts from 0."""
    found = []
    for before, after in pairwise(readings):
        grown = after.sums.get(name, 0.0) - before.sums.get(name, 0.0)
        found.append(max(0.0, grown) / max(1e-3, after.at - before.at))
    return found


def levels(readings: list[Reading], name: str) -> list[float]:
    """What a gauge stood at, reading by reading."""
    return [reading.sums.get(name, 0.0) for reading in readings]
