"""The Engine answers: the face over answering, batches, sessions and proofs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import final, get_args

import torch
from torch import Tensor

from everlearn.engine.answering import Answerer
from everlearn.engine.begun import Begun
from everlearn.engine.decode import forward, prefill
from everlearn.engine.prompt import AsOf, Prompt, messages_of
from everlearn.engine.row import corrected_logits
from everlearn.engine.session import Session
from everlearn.engine.stream import Stream
from everlearn.errors import ConversationError, SettingsError
from everlearn.memory.memory import Memory
from everlearn.memory.recall import Recall
from everlearn.models.base import BaseModel
from everlearn.records import Answer, Context, Message, Quarantine, Receipt, Sampling
from everlearn.specialists.specialists import Specialists
from everlearn.text.chat import ChatText

Progress = Callable[[int, int], None]
GREEDY = Sampling()


@final
class Engine:
    """A base model with its memory, ready to answer. Safe to use from several threads; they take turns at the model.

    Args:
        model: base model.
        text: its tokenizer and chat template.
        memory: its look-up tables.
        specialists: its adapters; None = none.
        quarantine: what a learner does with lessons that look like poison, as the settings say.
        context: of sessions that name none: "full" = until the model's context ends, "unlimited" = no end.
        window: tokens that an unlimited session holds; None = what the model reads, at most 4,096.

    Attributes:
        before_close: called first when the engine is closed.
        give_way: called between steps of work in the background, without a lock; may wait while others are answered.
    """

    def __init__(
        self,
        model: BaseModel,
        text: ChatText,
        memory: Memory,
        specialists: Specialists | None = None,
        *,
        quarantine: Quarantine = "on",
        context: Context = "full",
        window: int | None = None,
    ) -> None:
        self.model = model
        self.text = text
        self.memory = memory
        self.specialists = specialists
        self.quarantine = quarantine
        self.context, self.window = context, window
        self.before_close: list[Callable[[], None]] = []
        self.give_way: Callable[[], None] = lambda: None
        self._closed = False
        self.answerer = Answerer(model, text, memory, specialists)

    @property
    def name(self) -> str:
        """Name of the base model."""
        return self.model.name

    def answer(
        self,
        prompt: Prompt,
        *,
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        as_of: AsOf = None,
        without: Collection[str] = (),
    ) -> Answer:
        """Answer a question or a conversation.

        Args:
            prompt: a question, or messages that end with the user's.
            tables: look-up tables to ask; None = all that belong to nobody (see `tables_for`); () = the bare base
                model.
            sampling: how tokens are chosen; greedy by default.
            adapter: "name" or "name@step" to answer with; "" = none; None = the router decides, without tables none.
            as_of: answer from the lessons that hold at this moment, superseded ones too; None = now.
            without: ids of lessons that are passed over, to see what the answer would be if they were not there.

        Raises:
            AdapterNotFoundError: there is no such adapter.
            ConversationError: the prompt is empty, malformed, or longer than the model can read.
            TableNotFoundError: a table does not exist.
            SettingsError: a sampling setting is out of range, or `as_of` is no moment.
        """
        messages = messages_of(prompt)
        recall = self.answerer.recall([messages], tables, as_of, None, without)[0]
        return self.answerer.streamed(self._begin(messages, recall, sampling, adapter)).answer

    def stream(
        self,
        prompt: Prompt,
        *,
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        as_of: AsOf = None,
    ) -> Stream:
        """Like `answer`, piece by piece. The prompt is read before this returns."""
        messages = messages_of(prompt)
        begun = self._begin(messages, self.answerer.recall([messages], tables, as_of)[0], sampling, adapter)
        return self.answerer.streamed(begun)

    def answer_many(
        self,
        prompts: Sequence[Prompt],
        *,
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        batch_size: int = 16,
        progress: Progress | None = None,
        as_of: AsOf = None,
        in_background: bool = False,
    ) -> list[Answer]:
        """Answer several prompts, `batch_size` of them decoded together, each with its own corrections.

        In bfloat16 the last bits of a row's logits depend on how many rows there are, so at a near tie an answer may
        take another turn here than alone. Where bits matter, ask one at a time.

        Args:
            prompts: as for `answer`.
            tables: for all of them.
            sampling: for all of them; a seed is used for each anew.
            adapter: for all of them; rows of one batch may wear different ones where the router decides.
            batch_size: rows decoded together.
            progress: called with (answered, all).
            as_of: for all of them.
            in_background: nobody waits for them: give way to others between any two tokens.
        """
        talks = [messages_of(p) for p in prompts]
        between = self.give_way if in_background else None
        answers: list[Answer] = []
        for first in range(0, len(talks), batch_size):
            some = talks[first : first + batch_size]
            recalls = self.answerer.recall(some, tables, as_of)
            begun = []
            for messages, recall in zip(some, recalls, strict=True):
                if between is not None:
                    between()
                begun.append(self._begin(messages, recall, sampling, adapter))
            answers += self.answerer.finish_together(begun, between)
            if progress is not None:
                progress(len(answers), len(talks))
        return answers

    def say_many(self, said: Sequence[tuple[Session, str]], *, sampling: Sampling | None = None) -> list[Answer]:
        """One turn of several sessions, decoded together in one batch.

        Raises:
            ConversationError: one session twice.
        """
        if len({id(session) for session, _ in said}) < len(said):
            raise ConversationError("One session is asked twice in one batch.", hint="Ask one turn after the other.")
        begun: list[Begun] = []
        try:
            for session, text in said:
                begun.append(session.begin(text, sampling))
            answers = self.answerer.finish_together(begun)
        except BaseException:  # also Ctrl-C: the turns of this batch did not happen
            for (session, _), _ in zip(said, begun, strict=False):
                session.abandon()
            raise
        for (session, _), each, answer in zip(said, begun, answers, strict=True):
            session.end(each, answer)
        return answers

    def session(
        self,
        *,
        system: str = "",
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        as_of: AsOf = None,
        context: Context | None = None,
        window: int | None = None,
    ) -> Session:
        """Begin a conversation whose attention cache is kept between turns.

        Args:
            system: system message, or "".
            tables: look-up tables to ask; None = all that belong to nobody.
            sampling: for turns that name none.
            adapter: as for `answer`.
            as_of: as for `answer`.
            context: "full" = the conversation may be as long as the model can read; "unlimited" = it never ends: its
                first tokens and the newest ones are held, and what is older is forgotten. None = as the engine says.
            window: tokens that an unlimited conversation holds; None = as the engine says.

        Raises:
            SettingsError: an impossible window, or a model whose cache cannot roll.
        """
        context = context or self.context
        if context not in get_args(Context):
            raise SettingsError(f"The context is {context!r}, wanted full or unlimited.", hint='"full" is the default.')
        rolling = self.model.window(window or self.window) if context == "unlimited" else None
        return Session(
            self.answerer,
            system=system,
            tables=tables,
            sampling=sampling,
            adapter=adapter,
            as_of=as_of,
            window=rolling,
        )

    def recall(self, prompt: Prompt, *, tables: Sequence[str] | None = None, as_of: AsOf = None) -> Receipt:
        """What an answer would rest on, without answering."""
        return self.answerer.receipt(self.answerer.recall([messages_of(prompt)], tables, as_of)[0], 0)

    def logits(
        self, prompt: Prompt, *, tables: Sequence[str] | None = None, steps: int = 1, as_of: AsOf = None
    ) -> Tensor:
        """Logits [S, V] float32 of the first greedy steps, corrections applied: for proofs that two engines are equal.

        S is `steps`, or fewer where the answer ends before.
        """
        out: list[Tensor] = []
        for logits in self._trace(prompt, tables, as_of, lambda step: int(out[step].argmax())):
            out.append(logits)
            if len(out) == steps or int(logits.argmax()) in self.text.stop_ids:
                break
        return torch.stack(out)

    def forced_logits(self, prompt: Prompt, answer: str, *, tables: Sequence[str] | None = None) -> Tensor:
        """Logits [A, V] float32 at each step of a given answer, stop token last, with its tokens fed."""
        tokens = self.text.answer_ids(answer)
        steps = self._trace(prompt, tables, None, tokens.__getitem__)
        return torch.stack([logits for logits, _ in zip(steps, tokens, strict=False)])

    def tables_for(self, user: str = "", teams: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the look-up tables to ask for somebody: their own, their teams', and those that belong to nobody.

        Pass them as `tables`. Without it nobody's personal or team tables are asked.
        """
        return self.memory.open_to(user, teams)

    def close(self) -> None:
        """Release the files of the memory. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        for callback in self.before_close:
            callback()
        self.memory.close()

    def _begin(
        self, messages: Sequence[Message], recall: Recall, sampling: Sampling | None, adapter: str | None
    ) -> Begun:
        worn = self.answerer.adapter_for(messages, recall, adapter)
        return self.answerer.begin(messages, recall, sampling or GREEDY, adapter=worn)

    def _trace(
        self, prompt: Prompt, tables: Sequence[str] | None, as_of: AsOf, choose: Callable[[int], int]
    ) -> Iterator[Tensor]:
        """Corrected logits [V] step by step; `choose(step)` gives the token that is fed next."""
        messages = messages_of(prompt)
        ids = self.text.prompt_ids(messages)
        self.answerer.check_room(ids)
        recall = self.answerer.recall([messages], tables, as_of)[0]
        worn = self.answerer.adapter_for(messages, recall, None)
        cursor = None if worn else self.memory.cursor(recall)
        cache = self.model.new_cache()
        logits = prefill(self.model, ids, cache, cursor, worn)
        for step in range(self.model.context_length - len(ids)):
            yield corrected_logits(logits, cursor)
            token = choose(step)
            if cursor is not None:
                cursor.advance(token)
            logits = forward(self.model, torch.tensor([[token]], device=self.model.device), cache, [cursor], [worn])[0]
