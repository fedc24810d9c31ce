"""A pre-training in the terminal: what was derived, a line for each group of updates, texts on the way, a summary."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, final

from rich.panel import Panel
from rich.text import Text

from everlearn.cli.findings import size
from everlearn.cli.screen import grid, note, one_line, show
from everlearn.learning.pretrainer import Pretrained, Step
from everlearn.learning.pretraining import Opened, open_pretraining, read_log
from everlearn.learning.pretraining_settings import PretrainingSettings
from everlearn.learning.together import joined
from everlearn.models.silence import no_progress_bars

_LINES = 40
_HEAD = f"{'update':>15} {'tokens':>12} {'loss':>8} {'rate':>9} {'norm':>6} {'tokens/s':>9} {'left':>8}  bits a byte"


@final
class Dashboard:
    """Says how a training goes, line after line: readable on a screen, in a file and over a slow connection.

    Args:
        steps: updates in all.
        quiet: say nothing.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self._every, self._quiet = max(1, steps // _LINES), quiet
        self._times: list[float] = [time.perf_counter()]
        self._headed = False

    def tell(self, step: Step) -> None:
        """Take in an update."""
        self._times = [*self._times[-20:], time.perf_counter()]
        bits = step.figures.get("bits_per_byte")
        if self._quiet or (bits is None and step.step % self._every and step.step != step.steps):
            return
        if not self._headed:
            show(Text(_HEAD, "bold"))
            self._headed = True
        figures = step.figures
        pace = (self._times[-1] - self._times[0]) / max(len(self._times) - 1, 1)
        line = (
            f"{f'{step.step:,}/{step.steps:,}':>15} {figures['tokens']:>12,.0f} {figures['loss']:>8.4f} "
            f"{figures['rate']:>9.2e} {figures['norm']:>6.2f} {figures['tokens_per_second']:>9,.0f} "
            f"{_clock(pace * (step.steps - step.step)):>8}  "
        )
        shown = Text(line)
        if bits is not None:
            shown.append(f"{bits:.4f}", "bold green" if step.best else "bold")
            shown.append(" best" if step.best else "", "green")
        if step.saved:
            shown.append(" saved", "dim")
        show(shown)
        for written in step.texts:
            show(Text(f"{'':>15} {one_line(written)}", "italic dim", no_wrap=True, overflow="ellipsis"))


def run_pretraining(
    settings: PretrainingSettings,
    folder: Path,
    *,
    resume: bool,
    dry_run: bool,
    tensorboard: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Train, and say how it goes.

    Args:
        settings: the given ones.
        folder: of the training.
        resume: go on from its newest checkpoint.
        dry_run: only say what would be done.
        tensorboard: write events, too.
        quiet: say nothing on the screen.

    Returns:
        The report, as JSON can hold it.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with joined() as together, no_progress_bars():
        tell = note if together.first and not quiet else None
        opened = open_pretraining(
            settings, folder, resume=resume, together=together, tensorboard=tensorboard, tell=tell
        )
        quiet = quiet or not together.first
        if not quiet:
            show_opened(opened, folder)
        if dry_run:
            return {"settings": opened.settings.to_yaml(), "parameters": opened.parameters, "steps": 0}
        try:
            done = opened.trainer.train(Dashboard(opened.settings.steps, quiet=quiet).tell)
        except KeyboardInterrupt:
            note(f"Stopped. It goes on from its newest checkpoint: everlearn train pretrain --out {folder} --resume")
            raise
        plot = _plot(folder) if together.first else ""
        if not quiet:
            show_finished(done, plot)
    return {
        "parameters": opened.parameters, "steps": done.steps, "tokens": done.tokens, "loss": done.loss,
        "bits_per_byte": done.bits_per_byte, "best": done.best, "seconds": done.seconds, "model": str(done.folder),
        "plot": plot,
    }  # fmt: skip


def show_opened(opened: Opened, folder: Path) -> None:
    """What is trained, on what, and every setting that follows from the size."""
    settings = opened.settings
    lines = Text(settings.to_yaml().strip())
    title = f"{settings.size} {settings.variant}: {opened.parameters:,} parameters, {settings.steps:,} updates"
    show(Panel(lines, title=title, title_align="left", border_style="dim", expand=False))
    train, held_out = opened.blocks
    text = f"{size(opened.text_bytes)} of text in {train + held_out:,} blocks, {held_out:,} of them held out"
    show(Text(f"{text}; everything goes to {folder}", "dim"))
    if opened.done:
        show(Text(f"going on behind update {opened.done:,}", "green"))


def show_finished(done: Pretrained, plot: str) -> None:
    """The outcome."""
    table = grid("", ">")
    table.show_header = False
    table.add_row("updates", f"{done.steps:,}")
    table.add_row("tokens", f"{done.tokens:,}")
    table.add_row("bits a byte, last and best", f"{done.bits_per_byte:.4f}, {done.best:.4f}")
    table.add_row("time", _clock(done.seconds))
    table.add_row("model", str(done.folder))
    table.add_row("curves", plot or "matplotlib is not installed: pip install 'everlearn[train]'")
    show(table)
    show(Text(f"Talk to it: everlearn --model {done.folder} ask --no-memory ...", "dim"))


def _plot(folder: Path) -> str:
    from everlearn.learning.loss_plot import draw_losses

    return draw_losses(read_log(folder), folder / "training.png")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
