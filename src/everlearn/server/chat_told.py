"""Answers as chat completions and their chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from everlearn.records import Answer, Likely, TokenLogprob
from everlearn.server import asking
from everlearn.server.asking import FINISH
from everlearn.server.tools import Call

Told = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Said:
    """An answer parted into words and calls.

    Attributes:
        answer: it.
        text: its words.
        calls: of the client's tools.
        done: what the server taught or forgot by its own tools.
    """

    answer: Answer
    text: str
    calls: Sequence[Call] = ()
    done: Sequence[Told] = ()

    @property
    def finish(self) -> str:
        """Why it ended."""
        return "tool_calls" if self.calls else FINISH[self.answer.finish_reason]


def completion(head: Told, said: Sequence[Said]) -> Told:
    """The body of a chat completion."""
    choices = [
        {
            "index": n,
            "message": _message(each),
            "logprobs": logprobs_told(each.answer.logprobs),
            "finish_reason": each.finish,
        }
        for n, each in enumerate(said)
    ]
    answers = [each.answer for each in said]
    whole = {**head, "object": "chat.completion", "choices": choices, "usage": asking.usage_of(answers)}
    done = [row for each in said for row in each.done]
    return {**whole, "learning": asking.learning_of(answers[0], done)}


def chunk(
    head: Told,
    delta: Told,
    finish: str | None = None,
    n: int = 0,
    *,
    usage: bool = False,
    tokens: Sequence[TokenLogprob] = (),
) -> Told:
    """A chunk of a stream, with the probabilities of its tokens where they were asked for."""
    choice = {"index": n, "delta": delta, "logprobs": logprobs_told(tokens), "finish_reason": finish}
    told = {**head, "object": "chat.completion.chunk", "choices": [choice]}
    return {**told, "usage": None} if usage else told


def last_chunk(head: Told, said: Said, n: int = 0, *, usage: bool = False) -> Told:
    """The chunk that ends an answer, with what it rests on."""
    learning = asking.learning_of(said.answer, list(said.done))
    return {**chunk(head, {}, said.finish, n, usage=usage), "learning": learning}


def calls_delta(calls: Sequence[Call]) -> Told:
    """Calls as a delta holds them."""
    return {"tool_calls": [{"index": n, **_call(call)} for n, call in enumerate(calls)]}


def usage_chunk(head: Told, answers: list[Answer]) -> Told:
    """The chunk that tells usage."""
    return {**head, "object": "chat.completion.chunk", "choices": [], "usage": asking.usage_of(answers)}


def logprobs_told(tokens: Sequence[TokenLogprob]) -> Told | None:
    """Probabilities of tokens as the API tells them."""
    if not tokens:
        return None
    content = [{**_likely(t.token), "top_logprobs": [_likely(one) for one in t.top]} for t in tokens]
    return {"content": content, "refusal": None}


def _likely(token: Likely) -> Told:
    # A part of a character has no text of its own, and its bytes are not told.
    parts = None if "\ufffd" in token.text else list(token.text.encode())
    return {"token": token.text, "logprob": token.logprob, "bytes": parts}


def _message(said: Said) -> Told:
    told: Told = {"role": "assistant", "content": said.text, "refusal": None, "annotations": []}
    if said.calls:
        told |= {"content": said.text or None, "tool_calls": [_call(call) for call in said.calls]}
    return told


def _call(call: Call) -> Told:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
