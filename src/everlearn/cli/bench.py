"""`everlearn bench`: the measurements of evaluation/, run on the configured model. Your lessons are not touched."""

from __future__ import annotations

import random
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from everlearn.cli import bench_attention, bench_lookup, bench_multihop, bench_stream, bench_temporal
from everlearn.cli.bench_folder import kept, measuring
from everlearn.cli.bench_view import STDOUT, editing_view, latency_view, publish, teach_view
from everlearn.cli.opening import choice_of, open_parts, passing_learner, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import show
from everlearn.corpus.lesson_files import file_digest
from everlearn.errors import InputError
from everlearn.records import Lesson, TableSettings

if TYPE_CHECKING:
    from everlearn.evaluation.editing import EditingOptions
    from everlearn.wiring import Settings

app = typer.Typer(help="Measure: how well edits hold, how fast teaching is, what memory adds.", no_args_is_help=True)


@final
class Protocol(StrEnum):
    """How answers are asked for."""

    WILD = "wild"
    TEACHER_FORCED = "teacher-forced"


Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FILE",
        help="JSON Lines file of edits: prompt, target, rephrases, locality.",
        show_default=False,
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Draws the sample or the order.")]


@app.command("editing")
def editing(
    ctx: typer.Context,
    data: Data,
    edits: Annotated[
        int, typer.Option("--edits", metavar="N", min=1, help="How many to teach, the first ones.", show_default=False)
    ],
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=0, help="How many to score; 0 = all.")] = 0,
    protocol: Annotated[
        Protocol,
        typer.Option(
            "--protocol", metavar="wild|teacher-forced", help="Free decoding to a natural stop, or fed answers."
        ),
    ] = (Protocol.WILD),
    rephrases: Annotated[
        int, typer.Option("--rephrases", metavar="N", min=0, help="Most rephrases of an edit; 0 = all.")
    ] = 0,
    locality: Annotated[
        int, typer.Option("--locality", metavar="N", min=0, help="Most locality questions of an edit; 0 = all.")
    ] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Questions asked together.")] = 16,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="NUMBER", min=0.0, max=1.0, help="Of the look-up table.")
    ] = 0.5,
    seed: Seed = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has found.")] = False,
    json: JsonFile = None,
) -> None:
    """Teach edits one after another, then score a sample of them after all.

    Reliability asks what was taught, generality asks in other words, locality asks other things and compares with the
    bare model. A run that was interrupted goes on where it stopped.
    """
    from everlearn.evaluation.editing import EditingOptions

    settings = settings_of(choice_of(ctx))
    setup = {"encoder": settings.encoder, "device": settings.device, "dtype": settings.dtype, "data": file_digest(data)}
    options = EditingOptions(
        data=data,
        edits=edits,
        sample=sample,
        protocol=protocol.value,
        seed=seed,
        rephrases=rephrases,
        locality=locality,
        batch_size=batch_size,
        table_settings=TableSettings(threshold=threshold),
        restart=restart,
        setup=setup,
    )
    _measure_editing(settings, options, json)


app.command("temporal")(bench_temporal.temporal)
app.command("multihop")(bench_multihop.multihop)
app.command("lookup")(bench_lookup.lookup)
app.command("attention")(bench_attention.attention)
app.command("stream")(bench_stream.stream)


@app.command("teach")
def teach(
    ctx: typer.Context,
    data: Data,
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", min=1, help="Pairs taught in one call.")] = 1000,
    singles: Annotated[int, typer.Option("--singles", metavar="N", min=1, help="Pairs taught one by one.")] = 50,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Measure how fast pairs are taught, durably: one by one, and many in one call."""
    from everlearn.evaluation.latency import WARM_UP, teach_speed

    lessons = _lessons(data, seed, pairs + singles + WARM_UP)
    settings = settings_of(choice_of(ctx))
    parts = open_parts(settings)
    with passing_learner(parts, settings) as learner, steps_progress("teaching") as progress:
        report = teach_speed(learner.teach_many, lessons, singles=singles, progress=progress)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(teach_view(report))


@app.command("latency")
def latency(
    ctx: typer.Context,
    data: Data,
    sizes: Annotated[str, typer.Option("--sizes", metavar="N,N", help="Table sizes to measure at.")] = "0,100,10000",
    questions: Annotated[int, typer.Option("--questions", metavar="N", min=1, help="Questions of each kind.")] = 10,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="How often each is asked.")] = 3,
    seed: Seed = 0,
    json: JsonFile = None,
) -> None:
    """Measure what a look-up table adds to a question and to each token, as it grows."""
    from everlearn.evaluation.facts import UNRELATED
    from everlearn.evaluation.latency import LatencyOptions, measure_latency

    wanted = _numbers(sizes)
    lessons = _lessons(data, seed, max(wanted))
    options = LatencyOptions(sizes=wanted, questions=questions, rounds=rounds)
    settings = settings_of(choice_of(ctx))
    parts = open_parts(settings)
    with passing_learner(parts, settings) as learner, steps_progress("asking") as progress:
        report = measure_latency(learner.engine, learner.teach_many, lessons, UNRELATED, options, progress)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(latency_view(report))


def _measure_editing(settings: Settings, options: EditingOptions, json: Path | None) -> None:
    """Measure in a folder that an interrupted run leaves behind, and a complete one does not."""
    from everlearn.evaluation.editing import run_editing

    options = kept("editing", settings, options)
    assert options.state is not None
    with measuring(options.state, settings) as learner, steps_progress("editing") as progress:
        report = run_editing(learner.engine, learner.teach_many, options, progress)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(editing_view(report))


def _lessons(data: Path, seed: int, count: int) -> list[Lesson]:
    """Lessons of as many different questions, shuffled.

    Raises:
        InputError: the file holds fewer.
    """
    from everlearn.evaluation.edits import read_edits

    edits = list({edit.prompt: edit for edit in read_edits(data)}.values())
    if len(edits) < count:
        raise InputError(
            f"{count:,} different questions are needed, {data.name} holds {len(edits):,}.", hint="Ask for fewer."
        )
    random.Random(seed).shuffle(edits)
    return [Lesson(edit.prompt, edit.target, source=f"{data.name}:{edit.line}") for edit in edits[:count]]


def _numbers(sizes: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in sizes.split(","))
    except ValueError as cause:
        raise InputError(
            f"--sizes is {sizes!r}, wanted whole numbers.", hint="For example: --sizes 0,100,10000"
        ) from cause
    if min(numbers) < 0 or list(numbers) != sorted(set(numbers)):
        raise InputError(
            f"--sizes is {sizes!r}, wanted rising numbers from 0 on.", hint="For example: --sizes 0,100,10000"
        )
    return numbers
