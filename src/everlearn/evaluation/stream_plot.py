"""The curves of an endless stream as a picture."""

from __future__ import annotations

from pathlib import Path

from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.endless import PART, StreamReport


def draw(report: StreamReport, path: Path) -> None:
    """Draw perplexity and bytes of each cache along the stream.

    Raises:
        InputError: matplotlib is not installed.
        FileFormatError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError as cause:
        raise InputError("A plot needs matplotlib.", hint="pip install 'everlearn[train]'") from cause
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for curve in report.curves:
        places = [(n + 1) * PART for n in range(len(curve.perplexity))]
        above.plot(places, curve.perplexity, label=curve.name, linewidth=1.4)
        below.plot(places, [each / 2**20 for each in curve.cache_bytes], label=curve.name, linewidth=1.4)
    above.set_yscale("log")
    above.set_ylabel("perplexity of 1,000 tokens")
    above.set_title(f"{report.model}, {report.text}: window {report.window:,}, {report.sinks} sinks", fontsize=10)
    above.legend(frameon=False, fontsize=9)
    below.set_yscale("log")
    below.set_ylabel("cache, MiB")
    below.set_xlabel("tokens read")
    for axes in (above, below):
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=130)
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be written: {cause.strerror}.", hint="Choose another folder.") from cause
    except ValueError as cause:  # an ending that matplotlib does not know
        raise InputError(f"{path} cannot be drawn: {cause}.", hint="End its name in .png or .svg.") from cause
