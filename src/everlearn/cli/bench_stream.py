"""`everlearn bench stream`: a text without an end through a cache of constant size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.bench_view import STDOUT, publish
from everlearn.cli.findings import size
from everlearn.cli.opening import choice_of, open_parts, settings_of
from everlearn.cli.progress import named_steps_progress, weights_progress
from everlearn.cli.screen import grid, note, show
from everlearn.errors import InputError

if TYPE_CHECKING:
    from everlearn.evaluation.endless import StreamReport
    from everlearn.wiring import Settings


def stream(
    ctx: typer.Context,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=2_000, help="How many are read.")] = 100_000,
    text: Annotated[
        Path | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="The text; by default War and Peace, from a package of the registry.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[int, typer.Option("--window", metavar="N", min=32, help="Tokens that are held.")] = 1024,
    dense: Annotated[
        int, typer.Option("--dense", metavar="N", min=0, help="How far to go with all keys kept, for comparison.")
    ] = 12_000,
    recomputed: Annotated[
        bool,
        typer.Option(
            "--recomputed", help="Read both ends also with a window from scratch: how hard the text is there."
        ),
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw the curves into this file.")] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
) -> None:
    """Measure an endless conversation: bytes of the cache and perplexity from the begin of a long text to its end.

    The same text is read with sinks and a rolling window, with the window alone, and with all keys as far as they go.
    """
    from everlearn.evaluation.endless import measure_stream

    settings = settings_of(choice_of(ctx))
    said, name = _text(text, settings)
    parts = open_parts(settings)
    ids = parts.text.plain_ids(said[: tokens * 8])[:tokens]
    if len(ids) < tokens:
        note(f"The text has {len(ids):,} tokens; all of them are read.")
    with named_steps_progress() as progress:
        report = measure_stream(
            parts.model,
            ids,
            window=window,
            text=name,
            dense_tokens=min(dense, len(ids)),
            recomputed=recomputed,
            progress=progress,
        )
    if plot is not None:
        from everlearn.evaluation.stream_plot import draw

        draw(report, plot)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(stream_view(report))


def stream_view(report: StreamReport) -> RenderableType:
    """The caches side by side."""
    table = grid("cache", ">tokens", ">bytes", ">perplexity, first", ">last", ">worst thousand", ">time")
    for curve in report.curves:
        skipped = report.warm_up // 1000
        table.add_row(
            curve.name,
            f"{len(curve.perplexity) * 1000:,}",
            size(curve.cache_bytes[-1]),
            f"{curve.perplexity[min(skipped, len(curve.perplexity) - 1)]:,.1f}",
            f"{curve.perplexity[-1]:,.1f}",
            f"{max(curve.perplexity[skipped:] or curve.perplexity):,.1f}",
            f"{curve.seconds:.0f} s",
        )
    lines = [
        f"{report.sinks} sinks, window {report.window:,}: first 10,000 tokens {report.ppl_first:.2f}, last "
        f"{report.ppl_last:.2f} ({report.ppl_last / report.ppl_first - 1:+.1%}); "
        f"cache {size(report.bytes_first)}, then {size(report.bytes_last)}",
    ]
    if report.recomputed_first is not None and report.recomputed_last is not None:
        lines.append(
            f"read from scratch in windows: first {report.recomputed_first:.2f}, last {report.recomputed_last:.2f}"
        )
    return Group(table, *(Text(line, "dim") for line in lines))


def _text(path: Path | None, settings: Settings) -> tuple[str, str]:
    """The text and its name.

    Raises:
        InputError: it is no text in UTF-8.
    """
    if path is None:
        from everlearn.models.texts import books

        with weights_progress() as progress:
            path = next(book for book in books(settings.home, progress) if book.stem == "war-and-peace")
    try:
        return path.read_text(encoding="utf-8"), path.name
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror}.", hint="Check the path.") from cause
    except UnicodeDecodeError as cause:
        raise InputError(f"{path} is no text in UTF-8: {cause}.", hint="Convert it first.") from cause
