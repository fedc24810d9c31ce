"""`everlearn bench lookup`: how the index of a look-up table scales."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everlearn.cli.bench_view import STDOUT, lookup_view, publish
from everlearn.cli.opening import choice_of, learner_in, open_parts, settings_of
from everlearn.cli.progress import steps_progress, waiting
from everlearn.cli.screen import note, show
from everlearn.errors import InputError

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.evaluation.pararel import Asked
    from everlearn.evaluation.table_scale import Material, TableCost
    from everlearn.learning.learner import Learner
    from everlearn.memory.key import KeyMaker
    from everlearn.memory.phrase import Encoded
    from everlearn.wiring import Parts, Settings

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_ENCODE_AT_ONCE = 1024
_FRESH = 40  # of the held-out prompts are taught, the others asked

Facts = Annotated[
    Path,
    typer.Option("--data", metavar="FILE", help="ParaRel's facts: pararel_trex.tar.gz.", show_default=False),
]


def lookup(
    ctx: typer.Context,
    data: Facts,
    entries: Annotated[int, typer.Option("--entries", metavar="N", min=1_000, help="The largest size.")] = 1_000_000,
    encoded: Annotated[
        int, typer.Option("--encoded", metavar="N", min=100, help="How many vectors are encodings of facts.")
    ] = 20_000,
    queries: Annotated[int, typer.Option("--queries", metavar="N", min=60, help="How many are searched for.")] = 500,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws facts and compositions.")] = 0,
    tables: Annotated[
        bool, typer.Option("--tables/--no-tables", help="Also through the engine: open, ask, teach, forget.")
    ] = True,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
) -> None:
    """Measure how a look-up table scales: its index alone, and what it costs whoever asks, teaches and forgets.

    Entries are facts of ParaRel, encoded, and more that are composed of these: one subject in another's phrasing. A
    million of them take 10 GB of disk and a quarter of an hour.
    """
    import numpy as np

    from everlearn.evaluation.lookup import measure_lookup, report_of
    from everlearn.evaluation.pararel import composed, read_prompts
    from everlearn.evaluation.table_scale import Material, floats

    settings = settings_of(choice_of(ctx))
    asked = read_prompts(data, seed)
    if encoded + queries > len(asked):
        raise InputError(
            f"{encoded:,} entries and {queries:,} queries are to be encoded, {data.name} holds {len(asked):,} prompts.",
            hint="Ask for fewer.",
        )
    asked = asked[: encoded + queries]
    parts = open_parts(settings)
    read = _encoded(parts.keys, asked)
    with waiting("composing vectors"):
        made = composed(floats(read[queries:]), asked[queries:], max(entries - encoded, 0), seed)
    material = Material(asked[queries:], read[queries:], made)
    vectors = np.concatenate([floats(read[queries:]).astype(np.float16), made.vectors])[:entries]
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    sizes = [*(n for n in _SIZES if n < entries), entries]
    with _folder(settings) as folder:
        costs = measure_lookup(vectors, floats(read[:queries]), sizes, folder / "index", note)
    del vectors
    found: list[TableCost] = []
    if tables:
        with _folder(settings) as folder:
            found = _tables(folder, parts, settings, material, asked[:queries], sizes)
    report = report_of(min(encoded, entries), queries, costs, found)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(lookup_view(report))


@contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    folder = settings.home / "bench" / "lookup"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tables(
    folder: Path, parts: Parts, settings: Settings, material: Material, asked: list[Asked], sizes: list[int]
) -> list[TableCost]:
    """What the table costs at each size. It grows, so that each size holds the entries of the one before."""
    from everlearn import wiring
    from everlearn.evaluation.table_scale import fill, measure_table
    from everlearn.memory.filing import LARGE

    @contextmanager
    def opened() -> Iterator[tuple[Engine, Learner]]:
        with learner_in(folder, parts, settings) as learner:
            yield learner.engine, learner

    own = settings.model_copy(update={"home": folder, "state": folder})
    questions, fresh = [each.prompt for each in asked[_FRESH:]], asked[:_FRESH]
    found, there = [], 0
    for size in sizes:
        with closing(wiring.open_store(own)) as store, closing(wiring.open_derived(own)) as derived:
            fill(store, derived, parts.keys, material, range(there, size), note)
        note(f"a table of {size:,} entries is measured")
        found.append(measure_table(opened, questions, fresh, large=size >= LARGE))
        there = size
    return found


def _encoded(keys: KeyMaker, asked: list[Asked]) -> list[Encoded]:
    read: list[Encoded] = []
    with steps_progress("encoding") as progress:
        for first in range(0, len(asked), _ENCODE_AT_ONCE):
            read += keys.read([each.prompt for each in asked[first : first + _ENCODE_AT_ONCE]])
            progress(min(first + _ENCODE_AT_ONCE, len(asked)), len(asked))
    return read
