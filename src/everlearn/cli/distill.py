"""`everlearn distill`: collect what a teacher says, and learn it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import Choice, choice_of, open_engine, open_parts, passing_learner, settings_of
from everlearn.cli.progress import named_steps_progress, steps_progress
from everlearn.cli.screen import document, grid, show, show_json, visible
from everlearn.cli.sleep import REFUSED
from everlearn.errors import SettingsError

if TYPE_CHECKING:
    from everlearn.learning.distilling import Distilled, Limits
    from everlearn.learning.teachers import Teacher
    from everlearn.records import Verdict

File = Annotated[Path, typer.Argument(metavar="PROMPTS", help="A prompt a line, or JSON Lines with `prompt`.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where replies and examples are kept.")]
TeacherName = Annotated[
    str,
    typer.Option("--teacher", metavar="URL|MODEL", help="An OpenAI-compatible address up to /v1, or a local model."),
]
Count = Annotated[int, typer.Option("--max-tokens", metavar="N", min=1, help="Tokens of an answer at most.")]


def distill(
    ctx: typer.Context,
    prompts: File,
    teacher: TeacherName,
    out: Out,
    teacher_model: Annotated[
        str, typer.Option("--teacher-model", metavar="NAME", help="Name of the model at the address.")
    ] = "",
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="VARIABLE", help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    system: Annotated[str, typer.Option("--system", metavar="TEXT", help="System message for the address.")] = "",
    max_tokens: Count = 256,
    temperature: Annotated[float, typer.Option("--temperature", metavar="T", min=0.0, help="Of its answers.")] = 0.0,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Requests at once.")] = 4,
    domain: Annotated[str, typer.Option("--domain", metavar="NAME", help="Domain of the examples.")] = "general",
    token_limit: Annotated[
        int, typer.Option("--token-limit", metavar="N", min=0, help="Stop after so many tokens; 0 = never.")
    ] = 0,
    cost_limit: Annotated[
        float, typer.Option("--cost-limit", metavar="X", min=0.0, help="Stop at this cost; 0 = never.")
    ] = 0.0,
    price_in: Annotated[
        float, typer.Option("--price-in", metavar="X", min=0.0, help="Of a million tokens read.")
    ] = 0.0,
    price_out: Annotated[
        float, typer.Option("--price-out", metavar="X", min=0.0, help="Of a million tokens written.")
    ] = 0.0,
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="NAME", help="Train this adapter on what was collected.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the examples.")] = 3,
    rate: Annotated[float, typer.Option("--rate", metavar="NUMBER", help="Learning rate.")] = 3e-4,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an earlier run collected here.")] = False,
    json: options.Json = False,
) -> None:
    """Learn from a teacher: ask it, keep what is good to learn from, and train an adapter on it.

    Replies are on disk as they come; the same command goes on where it was stopped. Empty, cut, refused, echoing and
    repetitive replies and near-duplicate prompts are left out, one prompt in ten is held out. A local teacher whose
    tokenizer is ours gives its probabilities (soft labels), an address gives texts. Exits with 1 where the adapter did
    not become better than the base on what was held out; then nothing is changed.
    """
    from everlearn.learning.distilling import Limits, distil, read_prompts

    asked = read_prompts(prompts)
    limits = Limits(token_limit, cost_limit, price_in, price_out)
    how: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "system": system}
    collect: dict[str, Any] = {
        "domain": domain,
        "settings": how,
        "limits": limits,
        "restart": restart,
    }
    if teacher.startswith(("http://", "https://")):
        from everlearn.learning.teachers import Endpoint, EndpointTeacher

        if not teacher_model:
            raise SettingsError("The address needs a model's name.", hint="Give it with --teacher-model.")
        key = os.environ.get(key_env, "")
        place = Endpoint(teacher, teacher_model, key, system, max_tokens, temperature, workers)
        with closing(EndpointTeacher(place)) as remote, steps_progress("asking the teacher") as step:
            report = distil(remote, asked, out, progress=step, **collect)
    else:
        report = _from_local(choice_of(ctx), teacher, asked, out, how, collect)
    if not json:
        show(_report_view(report, limits))
    verdict = _learned(choice_of(ctx), adapter, out, epochs, rate) if adapter is not None else None
    if json:
        show_json({"distilled": document(report), "verdict": document(verdict) if verdict else None})
    elif verdict is not None:
        show(_verdict_view(verdict))
    if verdict is not None and not verdict.accepted:
        raise typer.Exit(REFUSED)


def _from_local(
    choice: Choice, name: str, prompts: list[str], out: Path, how: dict[str, Any], collect: dict[str, Any]
) -> Distilled:
    """Ask a model of this machine, in a state folder of its own."""
    from everlearn.learning.distilling import distil
    from everlearn.learning.teachers import LocalTeacher
    from everlearn.models.sources import resolve
    from everlearn.records import Sampling
    from everlearn.text.chat import ChatText

    if how["system"]:
        raise SettingsError("A system message is sent to addresses only.", hint="Leave --system out.")
    settings = settings_of(choice)
    student = ChatText.from_folder(resolve(settings.model, settings.home).folder)
    own = settings.model_copy(update={"model": name})
    sampling = Sampling(max_new_tokens=how["max_tokens"], temperature=how["temperature"], seed=0)
    with passing_learner(open_parts(own), own) as learner, steps_progress("asking the teacher") as step:
        teacher: Teacher = LocalTeacher(learner.engine, student, sampling=sampling)
        return distil(teacher, prompts, out, progress=step, **collect)


def _learned(choice: Choice, adapter: str, out: Path, epochs: int, rate: float) -> Verdict:
    from everlearn.learning.distilled_adapter import learn_distilled
    from everlearn.learning.training_settings import TrainingSettings

    with open_engine(choice) as engine, named_steps_progress() as progress:
        return learn_distilled(engine, adapter, out, TrainingSettings(epochs=epochs, rate=rate), progress=progress)


def _report_view(report: Distilled, limits: Limits) -> Group:
    table = grid("=what", ">how many")
    rows = {
        "prompts": f"{report.prompts:,}",
        "answered": f"{report.asked:,}",
        "to train on": f"{report.train:,}",
        "held out": f"{report.validation:,}",
        "with soft labels": f"{report.soft:,}",
        "tokens read": f"{report.prompt_tokens:,}",
        "tokens written": f"{report.completion_tokens:,}",
    }
    rows |= {f"left out: {reason}": f"{count:,}" for reason, count in sorted(report.dropped.items())}
    if limits.price_in or limits.price_out:
        rows["cost"] = f"{report.cost:,.4f}"
    for what, count in rows.items():
        table.add_row(what, count)
    notes = [Text(f"teacher: {visible(report.teacher)}; kept in {visible(str(report.folder))}", "dim")]
    if report.stopped:
        notes.append(Text(f"stopped early: {report.stopped}; the same command goes on with a higher limit", "yellow"))
    return Group(table, *notes)


def _verdict_view(verdict: Verdict) -> Group:
    word = Text("accepted", "green") if verdict.accepted else Text("refused", "red")
    figures = ", ".join(f"{name} {value:.3f}" for name, value in verdict.figures.items())
    head = Text.assemble(visible(verdict.adapter), ": ", word, f" ({figures})")
    return Group(head, *(Text(reason, "yellow") for reason in verdict.reasons))
