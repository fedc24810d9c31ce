"""A conversation as HTML: questions, answers, and under each answer what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everlearn.studio.conversation import Turn
from everlearn.studio.markup import button, empty, markdown, plain, table

MOST_SHOWN = 60
DECISIONS = {
    "spoke": "spoke",
    "hop": "one of several facts",
    "context": "was read with the question",
    "no_room": "no room left to read it",
    "outranked": "another was nearer",
    "kept_beside": "kept beside the one that spoke",
    "below_threshold": "not near enough",
    "silent": "its table is silent",
}
_RESTS = ("spoke", "hop", "context")
_GOOD, _BAD = "\N{THUMBS UP SIGN} Right", "\N{THUMBS DOWN SIGN} Wrong"


def conversation(turns: Sequence[Turn]) -> str:
    """All turns, the newest last; of a long conversation the last ones."""
    if not turns:
        return empty(
            "Ask something.",
            "The answer streams in here. Where it is wrong, say what is right: the model knows it from then on, in "
            "other words too, and shows which lesson an answer rests on.",
        )
    first = max(0, len(turns) - MOST_SHOWN)
    left = '<p class="el-dim">Earlier turns are not shown.</p>' if first else ""
    return left + "".join(_turn(turn, n, last=n == len(turns) - 1) for n, turn in enumerate(turns) if n >= first)


def live(turn: Turn | None) -> str:
    """The answer that is being written."""
    if turn is None:
        return ""
    text = markdown(turn.answer) if turn.answer else '<p class="el-dim">thinking ...</p>'
    return f'<div class="el-answer el-live" aria-busy="true">{text}</div>'


def _turn(turn: Turn, n: int, *, last: bool) -> str:
    asked = f'<div class="el-question"><span class="el-hidden">You: </span>{_lines(turn.question)}</div>'
    if turn.state in ("asked", "streaming"):
        return f'<section class="el-turn">{asked}</section>'
    stopped = '<p class="el-dim">(stopped)</p>' if turn.state == "stopped" else ""
    failed = f'<p class="el-bad-text">{plain(turn.note)}</p>' if turn.state == "failed" else ""
    said = f'<div class="el-answer"><span class="el-hidden">Answer: </span>{markdown(turn.answer)}{stopped}{failed}'
    note = f'<p class="el-note">{plain(turn.note)}</p>' if turn.note and turn.state != "failed" else ""
    bare = "" if turn.bare is None else _beside(turn.bare)
    return (
        f'<section class="el-turn">{asked}{said}{bare}{note}{_acts(turn, n, last=last)}{receipt(turn)}</div></section>'
    )


def _acts(turn: Turn, n: int, *, last: bool) -> str:
    acts = []
    if turn.state == "done":
        chosen = {"right": "el-on", "wrong": "el-on"}.get(turn.verdict, "")
        acts.append(button(_GOOD, "right", n, kind=chosen if turn.verdict == "right" else ""))
        acts.append(button(_BAD + ": the answer is ...", "wrong", n, kind=chosen if turn.verdict == "wrong" else ""))
        acts.append(button("Without memory", "bare", n))
    if last:
        acts += [button("Answer again", "again", n), button("Edit the question", "edit", n)]
    else:
        acts.append(button("Branch here", "edit", n, described="Edit this question and go on from here"))
    return f'<div class="el-acts">{"".join(acts)}</div>'


def receipt(turn: Turn) -> str:
    """What an answer rests on, folded; its title says it in one line."""
    if turn.state != "done":
        return ""
    looked: list[dict[str, Any]] = turn.receipt.get("recalled", [])
    resting = [each for each in looked if each["decision"] in _RESTS]
    adapter = turn.receipt.get("adapter", "")
    title = plain(_title(turn, resting, adapter))
    return f'<details class="el-receipt"><summary>{title}</summary>{_body(turn, looked)}</details>'


def _title(turn: Turn, resting: Sequence[dict[str, Any]], adapter: str) -> str:
    if turn.taught:
        return f"Taught {len(turn.taught)} lesson{'s' * (len(turn.taught) != 1)}"
    by = f" and adapter {adapter}" if adapter else ""
    if not resting:
        return f"Receipt: no lesson{by or '; this is the bare model'}"
    best = max(each["probability"] for each in resting)
    return f"Receipt: rests on {len(resting)} lesson{'s' * (len(resting) != 1)}{by} (probability {best:.2f})"


def _body(turn: Turn, looked: Sequence[dict[str, Any]]) -> str:
    known = turn.receipt
    facts = [f"Recall took {known.get('recall_ms', 0.0):.1f} ms; {known.get('steps_corrected', 0)} tokens corrected."]
    if known.get("as_of"):
        facts.append(f"Asked as of {known['as_of']}.")
    if known.get("missing"):
        facts.append(str(known["missing"]))
    taught = "".join(f"<li>{plain(t['prompt'])} <b>{plain(t['answer'])}</b></li>" for t in turn.taught)
    rows = [_row(each) for each in looked]
    heads = ("Lesson", "Table", "Score", "Probability", "Decision", "")
    shown = table(heads, rows, label="Lessons that were looked at") if rows else "<p>No lesson was near.</p>"
    id_ = f'<p class="el-dim">Receipt {plain(known.get("id", "none"))}. {plain(" ".join(facts))}</p>'
    return (f"<ul>{taught}</ul>" if taught else shown) + id_


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    lesson = each.get("lesson") or {}
    text = f"{plain(lesson['prompt'])} <b>{plain(lesson['answer'])}</b>" if lesson else "<i>forgotten since</i>"
    decision = each["decision"]
    kind = "el-yes" if decision in _RESTS else ""
    mark = f'<span class="el-tag {kind}">{plain(DECISIONS.get(decision, decision))}</span>'
    open_ = (
        button("Open", "open", each["lesson_id"], described=f"Open the lesson {lesson.get('prompt', '')}")
        if lesson
        else ""
    )
    return text, plain(each["table"]), f"{each['score']:.2f}", f"{each['probability']:.3f}", mark, open_


def _beside(bare: str) -> str:
    return f'<div class="el-bare"><p class="el-heading">Without memory</p>{markdown(bare)}</div>'


def _lines(text: str) -> str:
    return plain(text).replace("\n", "<br>")
