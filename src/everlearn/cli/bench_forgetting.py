"""`everlearn bench forgetting`: a stream of tasks, learned by every method in the same run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import bench, bench_view
from everlearn.cli.bench_folder import BENCH
from everlearn.cli.opening import choice_of, open_parts, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import grid, note, show
from everlearn.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from everlearn.learning.stream_bench import StreamReport
    from everlearn.learning.stream_methods import Bench, StreamSettings
    from everlearn.wiring import Parts, Settings

NOTHING = "–"


def forgetting(
    ctx: typer.Context,
    stream: Annotated[
        str,
        typer.Option(
            "--stream",
            metavar="DIR[,TASK...]",
            help="Folder with train/NAME.jsonl and test/NAME.jsonl, and tasks in their order; all by name otherwise.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str, typer.Option("--method", metavar="NAME[,NAME...]|all", help="Methods to compare, or all.")
    ] = "all",
    train: Annotated[int, typer.Option("--train", metavar="N", min=0, help="Training cases of a task; 0 = all.")] = 250,
    test: Annotated[int, typer.Option("--test", metavar="N", min=0, help="Test cases of a task; 0 = all.")] = 200,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N[,N...]", help="One run of each method for each.")] = "0",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over a task.")] = 3,
    rate: Annotated[float, typer.Option("--rate", metavar="NUMBER", help="Learning rate of adapters.")] = 5e-4,
    rank: Annotated[int, typer.Option("--rank", metavar="N", min=1, help="Rank of adapters.")] = 16,
    strength: Annotated[float, typer.Option("--strength", metavar="NUMBER", help="Pull of EWC to its anchor.")] = 1.0,
    kept: Annotated[int, typer.Option("--kept", metavar="N", min=1, help="Cases of a task that replay keeps.")] = 50,
    longest: Annotated[
        int, typer.Option("--longest", metavar="TOKENS", min=8, help="Longer prompts lose their middle.")
    ] = 512,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Train and score in bfloat16 over float32 weights: faster, a little coarser.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has found.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write a heat map of all scores to this SVG file.")
    ] = None,
    json: bench.JsonFile = None,
) -> None:
    """Learn tasks one after another by every method, and score all tasks after each.

    R holds the score in per cent on each task (columns) after each task (rows); ACC, BWT, FWT and forgetting are
    summed from it. An answer counts when greedy decoding gives it exactly. A run that was stopped goes on at the same
    cell.
    """
    from everlearn.corpus.task_streams import read_stream
    from everlearn.learning import stream_bench
    from everlearn.learning.stream_methods import StreamSettings
    from everlearn.learning.training_settings import TrainingSettings
    from everlearn.specialists.settings import AdapterSettings

    methods, numbers = stream_bench.chosen_methods(method), _seeds(seeds)
    tasks = {seed: read_stream(stream, train=train, test=test, seed=seed) for seed in numbers}
    training = TrainingSettings(epochs=epochs, rate=rate, precision="bf16" if bf16 else "model").checked()
    chosen = StreamSettings(training, AdapterSettings(rank=rank), strength=strength, kept=kept, most_tokens=longest)
    settings = settings_of(choice_of(ctx))
    folder = settings.home / BENCH / _folder(settings, chosen, stream, (train, test, numbers))
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        note(f"going on with the run kept in {folder}; --restart begins anew")
    parts = open_parts(settings)
    plan = stream_bench.StreamPlan(tasks, methods, chosen, folder)
    with steps_progress("learning") as progress:
        report = stream_bench.run_stream(_bench(parts, settings), plan, progress)
    bench_view.publish(report.to_dict(), json)
    if plot is not None:
        _write_plot(report, plot)
    shutil.rmtree(folder, ignore_errors=True)  # it is measured; the next run shall measure anew
    if json != bench_view.STDOUT:
        show(forgetting_view(report))


def forgetting_view(report: StreamReport) -> RenderableType:
    """One line a method."""
    table = grid("", ">ACC", ">BWT", ">FWT", ">forgetting", ">learned", ">seconds")
    for name, found in report.methods.items():
        table.add_row(
            name,
            *(_figure(found, key) for key in ("ACC", "BWT", "FWT", "forgetting", "learning_accuracy")),
            f"{found['seconds']:,.0f}",
        )
    untrained = sum(report.untrained) / len(report.untrained)
    line = f"{' → '.join(report.tasks)} · untrained {untrained:.1f} · per cent, ± = half a 95 % interval over seeds"
    return Group(table, Text(line, "dim"))


def _figure(found: dict[str, Any], key: str) -> str:
    if found[key] is None:
        return NOTHING
    half = found["intervals"][key]
    return f"{found[key]:.1f}" + (f" ± {half:.1f}" if half else "")


def _bench(parts: Parts, settings: Settings) -> Bench:
    from everlearn.learning.stream_methods import Bench
    from everlearn.models.base import BaseModel
    from everlearn.models.sources import resolve

    def fresh() -> BaseModel:
        return BaseModel.from_folder(resolve(settings.model, settings.home), device=settings.device, dtype="float32")

    return Bench(parts.model, parts.text, lambda texts: parts.keys.vectors(list(texts)), fresh)


def _folder(settings: Settings, chosen: StreamSettings, stream: str, sizes: tuple[object, ...]) -> str:
    from dataclasses import asdict

    from everlearn.learning.stream_bench import folder_name

    about = [settings.model, settings.encoder, settings.dtype, settings.device, stream, sizes]
    return folder_name({"settings": asdict(chosen), "about": about})


def _seeds(spoken: str) -> list[int]:
    parts = [part.strip() for part in spoken.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"--seeds is {spoken!r}, wanted different whole numbers.", hint="For example: --seeds 0,1,2")
    return [int(part) for part in parts]


def _write_plot(report: StreamReport, file: Path) -> None:
    from everlearn.evaluation.heat_map import heat_map

    try:
        file.write_text(heat_map({n: f["R"] for n, f in report.methods.items()}, report.tasks), encoding="utf-8")
    except OSError as cause:
        raise FileFormatError(f"{file} cannot be written: {cause.strerror}.", hint="Choose another folder.") from cause
