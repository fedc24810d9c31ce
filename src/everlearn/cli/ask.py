"""`everlearn ask`: one question, one answer, and on request what the answer rests on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from everlearn.cli import options
from everlearn.cli.interrupt import cancelled_by_ctrl_c
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_engine
from everlearn.cli.receipts import answer_document, citations, lessons_of, receipt_view
from everlearn.cli.screen import is_terminal, note, out, show, show_json
from everlearn.cli.wrapping import WrappedWriter
from everlearn.errors import InputError
from everlearn.records import Answer

if TYPE_CHECKING:
    from everlearn.engine.stream import Stream


def ask(
    ctx: typer.Context,
    question: Annotated[
        str, typer.Argument(help='The question; "-" reads it from standard input.', show_default=False)
    ],
    table: options.Tables = None,
    user: options.User = "",
    team: options.Teams = None,
    no_memory: options.NoMemory = False,
    as_of: options.AsOf = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            "--adapter",
            metavar="NAME",
            help='Answer with this adapter, name or name@step; "" with none.',
            show_default="the router decides",
        ),
    ] = None,
    receipt: Annotated[bool, typer.Option("--receipt", "-r", help="Show what the answer rests on.")] = False,
    json: options.Json = False,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    top_k: options.TopK = 0,
    min_p: options.MinP = 0.0,
    repetition_penalty: options.RepetitionPenalty = 1.0,
    seed: options.Seed = None,
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
) -> None:
    """Ask a question.

    The answer goes to standard output, token by token on a terminal; everything else to standard error.
    """
    tables = options.asked_tables(table, no_memory=no_memory)
    sampling = options.sampling_of(temperature, top_p, top_k, min_p, repetition_penalty, seed, max_new_tokens, stop)
    prompt = _from_stdin() if question == "-" else question
    if (user or team) and tables is not None:
        raise typer.BadParameter("--user and --team choose the tables, so --table and --no-memory cannot be given.")
    with open_engine(choice_of(ctx)) as engine:
        if user or team:
            tables = engine.tables_for(user, team or ())
        stream = engine.stream(prompt, tables=tables, sampling=sampling, adapter=adapter, as_of=as_of)
        answer = write_answer(stream, silent=json)
        needed = receipt or json or bool(answer.receipt.context)
        lessons = lessons_of(answer.receipt, engine.memory.store) if needed else {}
        shown = short_ids(engine.memory.store, lessons)
    if json:
        show_json(answer_document(answer, lessons))
    elif receipt:
        show(receipt_view(answer, lessons, shown))
    else:
        for line in citations(answer.receipt, lessons):
            note(line)
    if answer.finish_reason == "cancelled":
        raise typer.Exit(130)


def write_answer(stream: Stream, *, silent: bool = False) -> Answer:
    """Write an answer to standard output: piece by piece on a terminal, else when complete. Ctrl-C ends it early."""
    with cancelled_by_ctrl_c(stream):
        if is_terminal(sys.stdout) and not silent:
            writer = WrappedWriter(sys.stdout, out().width)
            for piece in stream:
                writer.write(piece)
            writer.close()
            return stream.answer
        answer = stream.answer
    if not silent:
        sys.stdout.write(answer.text + "\n")
    return answer


def _from_stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as cause:
        raise InputError(
            f"Standard input is not {cause.encoding.upper()}: byte 0x{cause.object[cause.start]:02X} at position "
            f"{cause.start:,}.",
            hint="Convert it to UTF-8 first.",
        ) from cause
