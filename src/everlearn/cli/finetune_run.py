"""A fine-tuning in the terminal: the engine it needs, a bar, and the outcome."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from everlearn.cli.findings import size
from everlearn.cli.opening import open_parts
from everlearn.cli.progress import named_steps_progress
from everlearn.cli.screen import grid, note, show, text

if TYPE_CHECKING:
    from everlearn.cli.train import Method
    from everlearn.learning.training_settings import TrainingSettings
    from everlearn.specialists.settings import AdapterSettings
    from everlearn.wiring import Parts, Settings


def run_finetuning(
    settings: Settings,
    method: Method,
    data: Path,
    name: str,
    out: Path,
    training: TrainingSettings,
    shape: AdapterSettings,
    *,
    quiet: bool,
) -> tuple[dict[str, Any], bool]:
    """Train, and say what came of it.

    Args:
        settings: which base model, and where adapters are kept.
        method: lora, qlora or full.
        data: questions and answers.
        name: of the adapter.
        out: folder of a model all of whose weights are trained.
        training: how.
        shape: of the adapter.
        quiet: say nothing on the screen.

    Returns:
        The report, and whether the outcome is used.
    """
    from everlearn.learning.finetuning import examples_in

    train, held = examples_in(data)  # a mistake in the file is told before a model is loaded
    if not quiet:
        note(f"{len(train):,} examples to train on, {len(held):,} held out")
    formats = {"full": "float32", "qlora": "nf4"}
    parts = open_parts(settings.model_copy(update={"dtype": formats.get(method.value, settings.dtype)}))
    if not quiet:
        note(f"{parts.model.name}: {size(_bytes(parts))} of weights")
    if method == "full":
        return _full(parts, data, out, training, quiet=quiet)
    return _adapter(parts, settings, method, data, name, training, shape, quiet=quiet)


def _adapter(
    parts: Parts,
    settings: Settings,
    method: Method,
    data: Path,
    name: str,
    training: TrainingSettings,
    shape: AdapterSettings,
    *,
    quiet: bool,
) -> tuple[dict[str, Any], bool]:
    from everlearn import wiring
    from everlearn.learning.finetuning import finetune_adapter

    stores = wiring.open_store(settings), wiring.open_derived(settings)
    with (
        closing(wiring.engine_over(parts, *stores, settings.adapters_folder)) as engine,
        named_steps_progress() as progress,
    ):
        verdict = finetune_adapter(engine, name, data, training, shape, progress=progress)
    if not quiet:
        figures = {"loss on held-out examples": verdict.figures["loss"], "of the base": verdict.figures["loss_base"]}
        figures |= {"unrelated answers unchanged": verdict.figures["locality"], "drift": verdict.figures["drift"]}
        _show(figures)
        how = text(f"everlearn ask --adapter {verdict.adapter} ...", "dim")
        show(
            Text.assemble((f"kept as {verdict.adapter}", "green"), "  ", how) if verdict.accepted else _refused(verdict)
        )
    return {"method": method.value, **asdict(verdict)}, verdict.accepted


def _full(
    parts: Parts, data: Path, out: Path, training: TrainingSettings, *, quiet: bool
) -> tuple[dict[str, Any], bool]:
    from everlearn.learning.finetuning import finetune_full
    from everlearn.models.silence import no_progress_bars

    with named_steps_progress() as progress, no_progress_bars():
        done = finetune_full(parts.model, parts.text, data, out, training, progress=progress)
    if not quiet:
        _show({"loss on held-out examples": done.loss, "before": done.loss_base})
        show(text(f"everlearn --model {done.folder} ask ...", "dim"))
    return {"method": "full", **asdict(done), "folder": str(done.folder)}, True


def _show(figures: dict[str, float]) -> None:
    table = grid("", ">")
    table.show_header = False
    for what, value in figures.items():
        table.add_row(what, f"{value:.4f}")
    show(table)


def _refused(verdict: Any) -> Text:  # noqa: ANN401  a Verdict
    return text(f"refused: {'; '.join(verdict.reasons)}. Nothing was changed.", "red")


def _bytes(parts: Parts) -> int:
    tensors = {t.data_ptr(): t for t in (*parts.model.module.parameters(), *parts.model.module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())
