"""`everlearn train prune`: a model with fewer weights."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import show, show_json
from everlearn.errors import SettingsError, StoreFullError


class Score(Enum):
    """What says which weights go."""

    SYNFLOW = "synflow"
    MAGNITUDE = "magnitude"


def prune(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets the model.", show_default=False)],
    share: Annotated[
        float, typer.Option("--share", metavar="X", help="Of the blocks' weights that become zero.")
    ] = 0.1,
    score: Annotated[
        Score, typer.Option("--score", metavar="synflow|magnitude", help="Which go: by synaptic flow, or the smallest.")
    ] = Score.SYNFLOW,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Scores are computed anew in each.")] = 10,
    balance: Annotated[
        float,
        typer.Option("--balance", metavar="X", help="Least share of the average that a layer keeps; 1 = all alike."),
    ] = 0.8,
    json: options.Json = False,
) -> None:
    """Set the weights of the base model that matter least to zero, and write the model into a folder.

    No data is needed and nothing is trained afterwards: what that costs is in docs/smaller.md. The files do not become
    smaller by themselves: zeros are numbers, too, until they are packed.
    """
    from everlearn.models.base import BaseModel
    from everlearn.models.loading import QUANTISED
    from everlearn.models.placement import choose_device, choose_dtype
    from everlearn.models.pruning import magnitude, synaptic_flow
    from everlearn.models.pruning import prune as set_to_zero
    from everlearn.models.sources import resolve
    from everlearn.text.chat import ChatText

    if out.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty.", hint="Name a new folder with --out.")
    settings = settings_of(choice_of(ctx))
    if settings.dtype in QUANTISED:
        raise SettingsError(
            f"A model in {settings.dtype} cannot be pruned.", hint="Unset EVERLEARN_DTYPE for this command."
        )
    files = resolve(settings.model, settings.home)
    kept = choose_dtype(settings.dtype, choose_device(settings.device))  # told before an hour is spent
    model = BaseModel.from_folder(files, device=settings.device, dtype="float32")
    chosen = {Score.SYNFLOW: synaptic_flow, Score.MAGNITUDE: magnitude}[score]
    with steps_progress("pruning") as step:
        gone = set_to_zero(model, share, score=chosen, rounds=rounds, balance=balance, progress=step)
    model.module.to(kept)
    try:
        out.mkdir(parents=True, exist_ok=True)
        model.module.save_pretrained(out)  # type: ignore[operator]  # a module of transformers
        ChatText.from_folder(files.folder).save(out)
    except OSError as cause:
        raise StoreFullError(
            f"{out} cannot be written: {cause}.", hint="Name another folder, or free some room."
        ) from cause
    if json:
        show_json({"folder": str(out), "zero": gone, "score": score.value})
    else:
        show(Text(f"{gone:.1%} of the blocks' weights are zero; everlearn --model {out} ask ..."))
