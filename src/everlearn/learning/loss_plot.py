"""The curves of a training as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from everlearn.errors import StoreFullError


def draw_losses(rows: Sequence[Mapping[str, float]], path: Path) -> str:
    """Draw loss, bits per byte and rate over the tokens.

    Args:
        rows: figures of each update.
        path: of the picture.

    Returns:
        The path; "" where matplotlib is not installed or nothing was logged.

    Raises:
        StoreFullError: it cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    if not rows:
        return ""
    tokens = [row["tokens"] / 1e6 for row in rows]
    judged = [(row["tokens"] / 1e6, row["bits_per_byte"]) for row in rows if "bits_per_byte" in row]
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1))
    above.plot(tokens, [row["loss"] for row in rows], linewidth=0.8, color="#9ecae1", label="each update")
    above.plot(tokens, _smoothed([row["loss"] for row in rows]), linewidth=1.6, color="#1b6ca8", label="smoothed")
    above.set_ylabel("loss, nats a token")
    above.legend(frameon=False, fontsize=9)
    middle.plot(*zip(*judged, strict=True) if judged else ([], []), marker="o", markersize=3, color="#d1495b")
    middle.set_ylabel("held out, bits a byte")
    below.plot(tokens, [row["rate"] for row in rows], color="#555555", linewidth=1.2)
    below.set_ylabel("rate")
    below.set_xlabel("million tokens")
    for axes in (above, middle, below):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=130)
    except OSError as cause:
        raise StoreFullError(f"{path} cannot be written: {cause}.", hint="Free some room.") from cause
    return str(path)


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running mean that follows the last tenth."""
    keep = 1 - 1 / max(len(values) / 10, 1.0)
    out: list[float] = []
    for value in values:
        out.append(value if not out else keep * out[-1] + (1 - keep) * value)
    return out
