"""Answering: prompt -> recall -> prefill -> decode -> Answer, the steps that the Engine and its sessions share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import final

from torch import Tensor

from everlearn.engine.begun import Begun, Prepared
from everlearn.engine.context import fitted, screened, with_context
from everlearn.engine.decode import decode, prefill
from everlearn.engine.held import Held, common, reused, started
from everlearn.engine.prompt import AsOf, moment, question_of
from everlearn.engine.row import Row
from everlearn.engine.sampling import Sampler, checked
from everlearn.engine.stream import Stream
from everlearn.engine.wishes import Wishes
from everlearn.errors import AdapterNotFoundError, ConversationError
from everlearn.memory.cursor import Cursor
from everlearn.memory.memory import Memory
from everlearn.memory.recall import Recall
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.models.window import RollingWindow
from everlearn.records import Answer, Lesson, Message, Receipt, Sampling, Usage
from everlearn.specialists.specialists import Specialists
from everlearn.store.ids import new_id
from everlearn.text.chat import ChatText
from everlearn.text.stream import TextStream

USUAL_TOKENS = 256


@final
class Answerer:
    """The steps of an answer over one base model and its memory.

    Args:
        model: base model.
        text: its tokenizer and chat template.
        memory: its look-up tables.
        specialists: its adapters; None = none.
    """

    def __init__(
        self, model: BaseModel, text: ChatText, memory: Memory, specialists: Specialists | None = None
    ) -> None:
        self.specialists = specialists
        self.screen: Callable[[Lesson], Lesson | None] | None = None  # of lessons that are to be read with a question
        self.model = model
        self.text = text
        self.memory = memory

    def begin(
        self,
        messages: Sequence[Message],
        recall: Recall,
        sampling: Sampling,
        *,
        held: Sequence[Held] | None = None,
        adapter: str | None = None,
        window: RollingWindow | None = None,
    ) -> Begun:
        """Read a prompt, and of it only what none of the caches in `held` holds already.

        Args:
            messages: the conversation.
            recall: what was found for its last question.
            sampling: how tokens are chosen.
            held: caches of this conversation, the newest first; the one that is used grows. Their tokens must have been
                read with the same adapter. None = nobody goes on from this answer.
            adapter: what `adapter_for` gave.
            window: of a conversation without an end; None = the whole prompt has to fit.

        Raises:
            ConversationError: the conversation is longer than the model can read.
            SettingsError: a sampling setting is out of range.
        """
        prepared = self.prepare(messages, recall, sampling, adapter, window)
        ids, cursor, own, clean = prepared.prompt_ids, prepared.cursor, prepared.own_tokens, None
        started_at = time.perf_counter()
        cache = reused(held or (), ids) or started(self.model, ids, window, adapter)
        kept = cache.read
        if window is not None:
            if (cursor is not None or recall.context) and own > kept:
                prefill(self.model, ids[kept:own], cache, None, adapter)
            clean = Held(cache.copy(), ids[: cache.read])
        logits = prefill(self.model, ids[cache.read :], cache, cursor, adapter)
        spent = (time.perf_counter() - started_at) * 1000
        begun = self.begun(prepared, cache, logits, kept, spent, keep_cache=held is not None)
        begun.clean = clean
        return begun

    def prepare(
        self,
        messages: Sequence[Message],
        recall: Recall,
        sampling: Sampling,
        adapter: str | None = None,
        window: RollingWindow | None = None,
    ) -> Prepared:
        """Settle everything about an answer before its prompt is read; the arguments are those of `begin`.

        Raises:
            ConversationError: the conversation is longer than the model can read.
            SettingsError: a sampling setting is out of range.
        """
        sampling = seeded(checked(sampling))
        plain = self.text.prompt_ids(messages)
        ids = self.text.prompt_ids(with_context(messages, recall.context)) if recall.context else plain
        if window is None:
            self.check_room(ids)
        cursor = None if adapter else self.memory.cursor(recall)
        wishes = Wishes.of(sampling, self.text, self.model.vocab_size)
        return Prepared(recall, ids, common(plain, ids), sampling, cursor, adapter, wishes, window)

    def begun(
        self,
        prepared: Prepared,
        cache: KeyValueCache,
        logits: Tensor,
        cached: int,
        ms: float,
        *,
        keep_cache: bool = False,
    ) -> Begun:
        """An answer whose prompt was read in `ms`, `cached` tokens of it before; `logits` [V] come next."""
        ids, cursor, sampling = prepared.prompt_ids, prepared.cursor, prepared.sampling
        row = Row(
            cache,
            logits,
            sampler=Sampler(sampling, ids),
            cursor=cursor,
            text=TextStream(self.text.decode, sampling.stop),
            stop_ids=self.text.stop_ids,
            most=_limit(sampling, cursor, None if prepared.window else self.model.context_length - len(ids)),
            wishes=prepared.wishes,
        )
        row.keep_cache, row.adapter = keep_cache, prepared.adapter
        grammar = sampling.grammar.kind if sampling.grammar is not None else ""
        now, own = time.perf_counter(), prepared.own_tokens
        asked = time.monotonic() - (prepared.recall.ms + ms) / 1000  # who waited in a queue knows better
        return Begun(row, prepared.recall, ids, cached, ms, now, own, sampling, asked, grammar=grammar)

    def streamed(self, begun: Begun, then: Callable[[Answer], None] | None = None) -> Stream:
        """Decode what was begun; `then` is called with the finished answer."""

        def finish(text: str) -> Answer:
            answer = self.finished(begun, text)
            if then is not None:
                then(answer)
            return answer

        return Stream(begun.row, decode(self.model, [begun.row]), finish)

    def finish_together(self, begun: Sequence[Begun], between: Callable[[], None] | None = None) -> list[Answer]:
        """Decode several begun answers in one batch; `between` is called behind each piece."""
        pieces: dict[int, list[str]] = {id(b.row): [] for b in begun}
        for row, piece in decode(self.model, [b.row for b in begun]):
            pieces[id(row)].append(piece)
            if between is not None:
                between()
        return [self.finished(b, "".join(pieces[id(b.row)])) for b in begun]

    def recall(
        self,
        talks: Sequence[Sequence[Message]],
        tables: Sequence[str] | None,
        as_of: AsOf = None,
        window: RollingWindow | None = None,
        without: Collection[str] = (),
    ) -> list[Recall]:
        """Recall for the last question of each conversation; of the lessons to be read those are kept that fit.

        Raises:
            SettingsError: `as_of` is no moment.
        """
        recalls = self.memory.recall([question_of(messages) for messages in talks], tables, moment(as_of), without)
        return [self._fitted(recall, messages, window) for recall, messages in zip(recalls, talks, strict=True)]

    def adapter_for(self, messages: Sequence[Message], recall: Recall, wanted: str | None) -> str | None:
        """Id of the adapter that answers, loaded; None = the base model, with what its tables say.

        An entry that speaks goes before what the router says, unless its lesson has moved into an adapter's weights:
        then that one answers. An adapter that was asked for goes before both.

        Args:
            messages: the conversation.
            recall: what recall found for its last question.
            wanted: an adapter; "" = none; None = the router decides, and without tables none.

        Raises:
            AdapterNotFoundError: the wanted one does not exist.
        """
        if self.specialists is None:
            if wanted:
                raise AdapterNotFoundError(
                    f"There is no adapter {wanted!r}.", hint="This engine was opened without a folder of adapters."
                )
            return None
        if wanted is not None:
            return self.specialists.wear(wanted) if wanted else None
        if recall.found is not None:
            return None  # the hops were decided without an adapter
        if recall.hit is not None:
            return self.specialists.answerer_of(recall.hit.lesson_id)
        return self.specialists.choose(question_of(messages)[0]) if recall.tables else None

    def check_room(self, ids: Sequence[int]) -> None:
        """Raise ConversationError where prompt tokens [T] leave the model no room to answer."""
        most = self.model.context_length - 1
        if len(ids) > most:
            raise ConversationError(
                f"The conversation has {len(ids):,} tokens; {self.model.name} reads at most {most:,}.",
                hint="Shorten it, or begin a new conversation.",
            )

    def receipt(self, recall: Recall, steps: int, adapter: str | None = None) -> Receipt:
        """The receipt of a recall after which `steps` tokens were corrected."""
        found = recall.recalled
        return Receipt(new_id(), self.model.name, recall.tables, found, steps, recall.ms, adapter or "", recall.as_of)

    def _fitted(self, recall: Recall, messages: Sequence[Message], window: RollingWindow | None) -> Recall:
        if recall.context and self.screen is not None:
            recall = screened(recall, self.screen)
        if not recall.context:
            return recall
        if window is not None:  # it rolls on while the answer is given, so half of it may be read before
            room = window.capacity // 2 - len(self.text.prompt_ids(messages[-1:]))
        else:
            room = self.model.context_length - len(self.text.prompt_ids(messages)) - USUAL_TOKENS
        return fitted(recall, self.text.count, room)

    def finished(self, begun: Begun, text: str) -> Answer:
        """The answer whose text is whole."""
        row = begun.row
        usage = Usage(
            prompt_tokens=len(begun.prompt_ids),
            cached_tokens=begun.cached_tokens,
            completion_tokens=len(row.tokens),
            prefill_ms=begun.prefill_ms,
            decode_ms=(time.perf_counter() - begun.decoding_since) * 1000,
            queue_ms=begun.queue_ms,
            wait_ms=begun.wait_ms,
            total_ms=(time.monotonic() - begun.asked_at) * 1000,
        )
        receipt = self.receipt(begun.recall, row.steps_corrected, row.adapter)
        receipt = replace(receipt, grammar=begun.grammar, steps_refused=row.steps_refused, sampling=begun.sampling)
        return Answer(text.strip(), receipt, usage, row.finish or "cancelled", tuple(row.logprobs))


def seeded(sampling: Sampling) -> Sampling:
    """The same sampling; where it draws by chance and names no seed one is drawn: the receipt tells it."""
    if sampling.temperature <= 0 or sampling.seed is not None:
        return sampling
    return replace(sampling, seed=secrets.randbits(62))


def _limit(sampling: Sampling, cursor: Cursor | None, room: int | None) -> int:
    """Tokens at most: what was asked for, else the usual number, or what a taught answer needs; `room` at most."""
    wanted = sampling.max_new_tokens
    if wanted is None:
        wanted = USUAL_TOKENS if cursor is None else max(USUAL_TOKENS, cursor.length)
    return wanted if room is None else min(wanted, room)
