"""The model teaches itself: what it says with a lesson before its eyes is what it shall say without.

Source: self-distillation of context: Snell et al. 2022, Learning by distilling context, arXiv 2209.15189, section 2;
against forgetting: SDFT, arXiv 2601.19897, section 3 (there on the student's own samples, here on the taught answer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from everlearn.engine.engine import Engine
from everlearn.learning.examples import Encoded, Example
from everlearn.learning.losses import answer_logits_alike, soft_targets
from everlearn.learning.restating import Restated
from everlearn.memory.correction import raise_target, told_ids
from everlearn.records import Lesson, Message, Sampling

Progress = Callable[[int, int], None]
_BATCH = 16
ANSWER_TOKENS = 24


def lesson_examples(
    engine: Engine, lesson: Lesson, wordings: Restated, *, temperature: float, likeliest: int = 16
) -> list[Example]:
    """Examples of a lesson: each wording with the distribution of the model that reads the lesson in context.

    A small base model errs even with the lesson before its eyes, so each answer token is raised as the look-up table
    raises it: the teacher is the model with its table.

    Args:
        engine: the base model; adapters are off.
        lesson: a pair.
        wordings: of its question.
        temperature: of the teacher.
        likeliest: tokens that are kept of each distribution.
    """
    answer = engine.text.answer_ids(lesson.answer)
    rows = [Encoded(told_ids(engine.text, q, lesson.prompt, lesson.answer), answer) for q in wordings.asked]
    examples = []
    for question, logits in zip(wordings.asked, _logits(engine, rows), strict=True):
        taught = torch.stack([raise_target(row, token, 1.0) for row, token in zip(logits, answer, strict=True)])
        soft = soft_targets(taught, likeliest=likeliest, temperature=temperature)
        examples.append(Example(question, lesson.answer, lesson.domain, lesson.importance, lesson.id, soft))
    turned = [Example(q, a, lesson.domain, lesson.importance, lesson.id) for q, a in wordings.turned]
    return examples + turned


def own_answers(engine: Engine, prompts: Sequence[str], *, progress: Progress | None = None) -> list[Encoded]:
    """The bare base model's own greedy answers, as far as `ANSWER_TOKENS` go, as token ids."""
    sampling = Sampling(max_new_tokens=ANSWER_TOKENS)
    answers = engine.answer_many(
        prompts,
        tables=(),
        adapter="" if engine.specialists else None,
        sampling=sampling,
        progress=progress,
        in_background=True,
    )
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = engine.text.answer_ids(answer.text) if answer.text else [engine.text.turn_end]
        rows.append(Encoded(engine.text.prompt_ids([Message("user", prompt)]), ids[: answer.usage.completion_tokens]))
    return rows


def held_examples(
    engine: Engine,
    prompts: Sequence[str],
    rows: Sequence[Encoded],
    *,
    temperature: float,
    likeliest: int = 16,
    weight: float = 1.0,
) -> list[Example]:
    """Examples that hold the base model where it is: its own answers with its own distributions.

    Answers that read back as other tokens are left out.
    """
    examples = []
    for prompt, row, logits in zip(prompts, rows, _logits(engine, rows), strict=True):
        said = engine.text.decode(row.answer)
        if said.strip() and len(engine.text.answer_ids(said)) - len(row.answer) in (0, 1):
            soft = soft_targets(logits, likeliest=likeliest, temperature=temperature)
            examples.append(Example(prompt, said, "general", source="base", soft=soft, weight=weight))
    return examples


@torch.inference_mode()
def _logits(engine: Engine, rows: Sequence[Encoded]) -> list[Tensor]:
    """Logits [A, V] of each row's answer steps, adapters off."""
    found: list[Tensor] = []
    for first in range(0, len(rows), _BATCH):
        some = rows[first : first + _BATCH]
        engine.give_way()
        with engine.model.lock:
            logits = answer_logits_alike(engine.model, some)
        found += [logits[n, -len(row.answer) :].cpu() for n, row in enumerate(some)]
    return found
