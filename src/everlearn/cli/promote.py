"""`everlearn promote`: lessons on their way from personal to team to organisation tables."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_learner, open_store
from everlearn.cli.screen import document, note, one_line, show, show_json, show_rows, visible
from everlearn.errors import ConflictError, SettingsError
from everlearn.records import Proposal, ProposalStatus

app = typer.Typer(
    help="Propose a lesson for a table of a higher layer, review, accept and reject proposals.", no_args_is_help=True
)

STATUSES = ("pending", "accepted", "rejected", "all")
ProposalId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the proposal, or the beginning of it.", show_default=False)
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides.")]
Because = Annotated[str, typer.Option("--reason", metavar="TEXT", help="What they say to it.")]


@app.command("propose")
def propose(
    ctx: typer.Context,
    lesson_id: Annotated[
        str, typer.Argument(metavar="LESSON", help="Id of the lesson, or the beginning of it.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Look-up table of a higher layer.")],
    author: Annotated[str, typer.Option("--author", metavar="NAME", help="Who proposes it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why others should know it.")],
    json: options.Json = False,
) -> None:
    """Propose a lesson. It waits on disk until somebody accepts or rejects it."""
    with open_learner(choice_of(ctx)) as learner:
        store = learner.engine.memory.store
        proposal = learner.sharing.propose(store.resolve(lesson_id), to, author=author, reason=reason)
    _say("proposed", proposal, json=json)


@app.command("list")
def list_(
    ctx: typer.Context,
    status: Annotated[str, typer.Option("--status", metavar="|".join(STATUSES), help="Which proposals.")] = "pending",
    json: options.Json = False,
) -> None:
    """List proposals with what they are about, oldest first."""
    if status not in STATUSES:
        raise SettingsError(f"--status is {status!r}, wanted {', '.join(STATUSES)}.")
    with open_store(choice_of(ctx)) as store:
        proposals = store.proposals(None if status == "all" else cast(ProposalStatus, status))
        lessons = store.lessons_by_id([p.lesson_id for p in proposals])
        shown = short_ids(store, lessons)
    if json:
        show_json({"proposals": [document(p) | {"lesson": document(lessons[p.lesson_id])} for p in proposals]})
        return
    if not proposals:
        note("No proposals." if status == "all" else f"No proposal is {status}.")
        return
    columns = ("=proposal", "=lesson", "question", "answer", "=from", "=to", "author", "reason", "=status")
    rows: list[list[str | Text]] = []
    for p in proposals:
        lesson = lessons[p.lesson_id]
        ids = [Text(p.id[:16], "cyan"), Text(shown[lesson.id], "cyan")]
        state = p.status if p.status == "pending" else f"{p.status} by {p.decided_by}"
        texts = [one_line(lesson.prompt), one_line(lesson.answer), lesson.table, p.table, p.author, p.reason, state]
        rows.append([*ids, *texts])
    show_rows(columns, rows, {"=status": "pending"})


@app.command("accept")
def accept(
    ctx: typer.Context,
    proposal_id: ProposalId,
    by: By,
    reason: Because = "",
    on_conflict: options.OnConflictChoice = options.Conflict.SUPERSEDE,
    json: options.Json = False,
) -> None:
    """Accept a proposal: the lesson is copied into the table, and the copy says where it comes from."""
    with open_learner(choice_of(ctx)) as learner:
        try:
            proposal = learner.sharing.accept(proposal_id, by=by, decision=reason, on_conflict=on_conflict.chosen())
        except ConflictError as error:
            raise ConflictError(error.message, hint="Replace it with --on-conflict supersede.") from error
    _say("accepted", proposal, json=json)


@app.command("reject")
def reject(
    ctx: typer.Context, proposal_id: ProposalId, by: By, reason: Because = "", json: options.Json = False
) -> None:
    """Reject a proposal; the lesson stays where it is."""
    with open_learner(choice_of(ctx)) as learner:
        proposal = learner.sharing.reject(proposal_id, by=by, decision=reason)
    _say("rejected", proposal, json=json)


def _say(verb: str, proposal: Proposal, *, json: bool) -> None:
    if json:
        show_json(proposal)
        return
    copy = f", as lesson {proposal.promoted_id[:16]}" if proposal.promoted_id else ""
    where = f"  for table {visible(proposal.table)}{copy}"
    show(Text.assemble((f"{verb} ", "green"), (proposal.id[:16], "cyan"), (where, "dim")))
