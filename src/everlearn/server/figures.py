"""What a running server tells of itself, read back from its metrics."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import final

from prometheus_client.parser import text_string_to_metric_families


@final
@dataclass(frozen=True, slots=True)
class Figures:
    """Figures at one moment; counters have counted since the start of the server.

    Attributes:
        values: name -> sum over all labels.
        parts: (name, labels) -> value.
    """

    values: dict[str, float]
    parts: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def mean_since(self, before: Figures, name: str) -> float | None:
        """Mean of what a histogram saw between two moments; None where it saw nothing."""
        count = self.since(before, f"{name}_count")
        return self.since(before, f"{name}_sum") / count if count else None

    def since(self, before: Figures, name: str) -> float:
        """What was added to a counter between two moments."""
        return self.values.get(name, 0.0) - before.values.get(name, 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """A figure's values by one of its labels."""
        found: dict[str, float] = defaultdict(float)
        for (known, labels), value in self.parts.items():
            if known == name:
                found[dict(labels).get(label, "")] += value
        return dict(found)


def read_figures(text: str) -> Figures:
    """Figures of a text in Prometheus' format.

    Raises:
        ValueError: it is none.
    """
    values: dict[str, float] = defaultdict(float)
    parts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] += sample.value
            parts[(sample.name, tuple(sorted(sample.labels.items())))] = sample.value
    return Figures(dict(values), parts)
