"""The first visit: two minutes with facts that no model can know."""

from __future__ import annotations

from everlearn.evaluation.facts import FACTS
from everlearn.studio.markup import button, plain

_FACT = FACTS[0]


def question_of(step: str) -> str:
    """The question of a step of the tour: as it is taught, or in words of its own."""
    return _FACT.question if step == "other" else _FACT.prompt


TOUR = f"""
<details class="el-tour" id="el-tour" open>
<summary>New here? Two minutes</summary>
<ol>
<li>Ask about something nobody taught: {button(_FACT.prompt, "tour", "first")} The model guesses.</li>
<li>Under the answer press <b>Wrong: the answer is ...</b> and teach: <b>{plain(_FACT.answer)}</b>.
No training run; it is on disk at once.</li>
<li>Ask in other words: {button(_FACT.question, "tour", "other")} It knows, and everything else is as it was.</li>
<li>Open the <b>Receipt</b> under the answer: the lesson, how near it was, what was decided.
<b>Without memory</b> shows the bare model beside it.</li>
<li>In <b>Knowledge</b> forget the lesson: it is gone to the last bit, with a signed receipt.
Ask again: the guess is back.</li>
</ol>
</details>
""".replace("\n", " ")
