"""The program `everlearn`: its commands, its global options, and the edge where errors become messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from everlearn.cli import (
    adapters,
    ask,
    audit,
    bench,
    bench_forgetting,
    bench_knowledge,
    chat,
    data,
    demo,
    distill,
    doctor,
    forget,
    forget_receipts,
    keys,
    lessons,
    promote,
    prune,
    serve,
    sleep,
    studio,
    tables,
    teach,
    top,
    train,
)
from everlearn.cli.errors import quiet_broken_pipe, report, usage_hint, wants_json
from everlearn.cli.opening import Choice
from everlearn.errors import EverlearnError

INTERRUPTED = 130
UNUSABLE = 2

app = typer.Typer(
    name="everlearn",
    help="A language model that keeps learning after it is deployed: teach it, ask it, see why, make it forget.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("chat")(chat.chat)
app.command("ask")(ask.ask)
app.command("teach")(teach.teach)
app.add_typer(lessons.app, name="lessons")
app.command("forget")(forget.forget)
app.add_typer(forget_receipts.app, name="receipts")
app.add_typer(tables.app, name="tables")
bench.app.command("forgetting")(bench_forgetting.forgetting)
bench.app.command("knowledge")(bench_knowledge.knowledge)
app.add_typer(promote.app, name="promote")
app.add_typer(bench.app, name="bench")
app.command("serve")(serve.serve)
app.command("studio")(studio.studio)
app.add_typer(keys.app, name="keys")
app.command("audit")(audit.audit)
app.command("top")(top.top)
app.command("sleep")(sleep.sleep)
app.command("distill")(distill.distill)
app.add_typer(data.app, name="data")
train.app.command("prune")(prune.prune)
app.add_typer(train.app, name="train")
app.add_typer(adapters.app, name="adapters")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from everlearn import __version__

        typer.echo(f"everlearn {__version__}")
        raise typer.Exit


@app.callback()
def choose(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", metavar="PATH", envvar="EVERLEARN_HOME", help="Folder of all state.", show_default="~/.everlearn"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            envvar="EVERLEARN_MODEL",
            help="Base model: an alias, a folder, a GGUF file or a hub id.",
            show_default="smollm2-135m",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A language model that keeps learning after it is deployed: teach it, ask it, see why, make it forget."""
    ctx.obj = Choice(home, model)


def run(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code: 0, 1 (a check failed), 2 (cannot be done), 130 (stopped)."""
    given = list(sys.argv[1:] if args is None else args)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as wiring.wait_passively, which would cost its import here
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # what an encoding lacks is escaped, never a crash
    sys.exit(_exit_code(given))


@cache
def program() -> Callable[..., object]:
    """The whole tree of commands, built once."""
    return typer.main.get_command(app)


def _exit_code(args: list[str]) -> int:
    json = wants_json(args)
    try:
        code = program()(args, prog_name="everlearn", standalone_mode=False)
        sys.stdout.flush()
    except EverlearnError as error:
        report(error.code, error.message, error.hint, json=json)
        return UNUSABLE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        quiet_broken_pipe()
        return UNUSABLE
    except Exception as error:
        # Usage errors live in click or, newer, in typer itself; both can format their own message.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().removeprefix("Invalid value: ")
        if not message:
            return UNUSABLE  # a group without a command: its help was shown
        command = getattr(getattr(error, "ctx", None), "command_path", "everlearn")
        report("usage", message, usage_hint(message, command), json=json)
        return UNUSABLE
    return code if isinstance(code, int) else 0
