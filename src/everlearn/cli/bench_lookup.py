"""`everlearn bench lookup`: how the index of a look-up table scales."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everlearn.cli.bench_view import STDOUT, lookup_view, publish
from everlearn.cli.opening import choice_of, open_parts, settings_of
from everlearn.cli.progress import steps_progress, waiting
from everlearn.cli.screen import note, show
from everlearn.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from everlearn.evaluation.pararel import Asked
    from everlearn.memory.key import KeyMaker

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_ENCODE_AT_ONCE = 1024

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
    queries: Annotated[int, typer.Option("--queries", metavar="N", min=10, help="How many are searched for.")] = 500,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws facts and compositions.")] = 0,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
) -> None:
    """Measure how the index scales: build, open, search, recall against brute force, append, forget, bytes.

    Entries are facts of ParaRel, encoded, and more that are composed of these: one subject in another's phrasing.
    """
    import numpy as np

    from everlearn.evaluation.lookup import measure_lookup, report_of
    from everlearn.evaluation.pararel import composed, read_prompts

    settings = settings_of(choice_of(ctx))
    asked = read_prompts(data, seed)
    if encoded + queries > len(asked):
        raise InputError(
            f"{encoded:,} entries and {queries:,} queries are to be encoded, {data.name} holds {len(asked):,} prompts.",
            hint="Ask for fewer.",
        )
    asked = asked[: encoded + queries]
    real = _encoded(open_parts(settings).keys, asked)
    held_out, real = real[:queries], real[queries:]
    with waiting("composing vectors"):
        made = composed(real, asked[queries:], max(entries - encoded, 0), seed)
    vectors = np.concatenate([real.astype(np.float16), made])[:entries]
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    folder = settings.home / "bench" / "lookup"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        sizes = [*(n for n in _SIZES if n < entries), entries]
        costs = measure_lookup(vectors, held_out, sizes, folder, note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = report_of(min(encoded, entries), queries, costs)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(lookup_view(report))


def _encoded(keys: KeyMaker, asked: list[Asked]) -> NDArray[np.float32]:
    import numpy as np

    rows = []
    with steps_progress("encoding") as progress:
        for first in range(0, len(asked), _ENCODE_AT_ONCE):
            rows.append(keys.vectors([each.prompt for each in asked[first : first + _ENCODE_AT_ONCE]]))
            progress(min(first + _ENCODE_AT_ONCE, len(asked)), len(asked))
    return np.concatenate(rows)
