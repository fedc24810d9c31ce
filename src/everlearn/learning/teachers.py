"""Teachers: other models that answer prompts, so that ours can learn from the answers.

An endpoint that speaks OpenAI's chat API gives texts (hard labels). A local model whose tokenizer is ours gives its
distribution at every step, too (soft labels), which says more than the one token that was chosen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import httpx
import torch

from everlearn.engine.engine import Engine
from everlearn.errors import SettingsError, TeacherError
from everlearn.learning.examples import Encoded, SoftTargets
from everlearn.learning.losses import answer_logits, batch_of, soft_targets
from everlearn.records import Message, Sampling
from everlearn.text.chat import ChatText

_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0
_SAMPLE = "Héllo, wörld! 12,345 tokens\n\tdef f(x): return x ** 2  # 日本語"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a teacher said to one prompt.

    Attributes:
        text: the answer.
        finish: "stop" where it came to an end, "length" where it was cut, or what else the teacher says.
        prompt_tokens: that it was charged for.
        completion_tokens: that it was charged for.
        soft: its distribution at each answer step, where it can be had.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    soft: SoftTargets | None = None


class Teacher(Protocol):
    """A model that answers prompts."""

    @property
    def name(self) -> str:
        """Which one, as it is noted beside what it said."""
        ...

    def ask(self, prompts: Sequence[str]) -> list[Reply]:
        """Answer some prompts, all or none.

        Raises:
            TeacherError: it cannot be asked; asking again later may help.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how an endpoint is asked.

    Attributes:
        url: base address, up to and with `/v1`.
        model: its name there.
        key: sent as a bearer token; empty = none.
        system: system message; empty = none.
        max_tokens: of an answer.
        temperature: 0 = its likeliest answer.
        workers: requests at once.
        tries: of each request.
        timeout: seconds of one try.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    system: str = ""
    max_tokens: int = 256
    temperature: float = 0.0
    workers: int = 4
    tries: int = 5
    timeout: float = 120.0


@final
class EndpointTeacher:
    """A model behind OpenAI's chat API: a service, vLLM, llama.cpp, or another everlearn.

    Refused and failed requests are sent again after a growing, shaken pause, or after as long as the endpoint asks for.

    Args:
        endpoint: where it is.
        sleep: waits so many seconds.
    """

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if not endpoint.url.startswith(("http://", "https://")):
            raise SettingsError(f"{endpoint.url!r} is no address.", hint="Wanted: http://HOST:PORT/v1 or https://...")
        self._endpoint, self._sleep = endpoint, sleep
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx.Client(base_url=endpoint.url.rstrip("/"), headers=headers, timeout=endpoint.timeout)
        self._chance = random.Random(0)

    @property
    def name(self) -> str:
        """Model and address."""
        return f"{self._endpoint.model} at {self._endpoint.url}"

    def ask(self, prompts: Sequence[str]) -> list[Reply]:
        """Answer some prompts, several requests at once."""
        with ThreadPoolExecutor(max_workers=self._endpoint.workers) as pool:
            return list(pool.map(self._one, prompts))

    def close(self) -> None:
        """Release its connections."""
        self._client.close()

    def _one(self, prompt: str) -> Reply:
        wanted = self._endpoint
        said = [{"role": "system", "content": wanted.system}] if wanted.system else []
        body: dict[str, Any] = {
            "model": wanted.model,
            "messages": [*said, {"role": "user", "content": prompt}],
            "max_completion_tokens": wanted.max_tokens,
            "max_tokens": wanted.max_tokens,  # what older servers call it
            "temperature": wanted.temperature,
        }
        for number in range(1, wanted.tries + 1):
            try:
                response = self._client.post("/chat/completions", json=body)
            except httpx.HTTPError as cause:
                flaw, pause = f"{type(cause).__name__}: {cause}", self._pause(number)
            else:
                if response.is_success:
                    return _reply(response, self.name)
                flaw, pause = f"HTTP {response.status_code}: {response.text[:200]}", self._pause(number, response)
                if response.status_code not in _WORTH_ANOTHER_TRY:
                    raise TeacherError(f"{self.name} refuses: {flaw}.", hint="Mind address, model name and key.")
            if number < wanted.tries:
                self._sleep(pause)
        raise TeacherError(
            f"{self.name} cannot be asked after {wanted.tries} tries: {flaw}.",
            hint="What it said so far is kept; run the same command again to go on.",
        )

    def _pause(self, number: int, response: httpx.Response | None = None) -> float:
        told = response.headers.get("retry-after", "") if response is not None else ""
        if told.replace(".", "", 1).isdigit():
            return min(float(told), _LONGEST_WAIT)
        return min(0.5 * 2.0**number, _LONGEST_WAIT) * self._chance.uniform(0.5, 1.0)


@final
class LocalTeacher:
    """A model on this machine; its look-up tables are not asked.

    Args:
        engine: over the teacher's weights.
        student: tokenizer of the model that learns; where both read text as the same tokens, replies are soft.
        sampling: how it answers.
        temperature: of the soft targets.
        likeliest: tokens that are kept of each distribution.
        soft: whether its distributions are wanted at all.
    """

    def __init__(
        self,
        engine: Engine,
        student: ChatText,
        *,
        sampling: Sampling,
        temperature: float = 1.0,
        likeliest: int = 16,
        soft: bool = True,
    ) -> None:
        self._engine, self._sampling = engine, sampling
        self._temperature, self._likeliest = temperature, likeliest
        self.is_soft = soft and same_tokens(engine.text, student)

    @property
    def name(self) -> str:
        """Name of its base model."""
        return self._engine.name

    def ask(self, prompts: Sequence[str]) -> list[Reply]:
        """Answer some prompts in one batch."""
        engine = self._engine
        answers = engine.answer_many(
            prompts, tables=(), adapter="" if engine.specialists else None, sampling=self._sampling
        )
        soft = self._soft(prompts, [answer.text for answer in answers])
        return [
            Reply(a.text, a.finish_reason, a.usage.prompt_tokens, a.usage.completion_tokens, s)
            for a, s in zip(answers, soft, strict=True)
        ]

    @torch.inference_mode()
    def _soft(self, prompts: Sequence[str], answers: Sequence[str]) -> list[SoftTargets | None]:
        """Its distribution at each token of its answers, read back as the student will read them."""
        if not self.is_soft:
            return [None] * len(answers)
        text, model = self._engine.text, self._engine.model
        found: list[SoftTargets | None] = []
        for prompt, answer in zip(prompts, answers, strict=True):
            if not answer.strip():
                found.append(None)
                continue
            row = Encoded(text.prompt_ids([Message("user", prompt)]), text.answer_ids(answer))
            with model.lock:
                logits = answer_logits(model, batch_of([row], model.device))[0]
            found.append(soft_targets(logits, likeliest=self._likeliest, temperature=self._temperature))
        return found


def same_tokens(one: ChatText, other: ChatText) -> bool:
    """Whether two tokenizers read text, and end an answer, as the same token ids: then their distributions compare."""
    return one.plain_ids(_SAMPLE) == other.plain_ids(_SAMPLE) and one.turn_end == other.turn_end


def _reply(response: httpx.Response, name: str) -> Reply:
    try:
        body = response.json()
        choice = body["choices"][0]
        usage = body.get("usage") or {}
        return Reply(
            str(choice["message"]["content"] or ""),
            str(choice.get("finish_reason") or "stop"),
            int(usage.get("prompt_tokens", 0)),
            int(usage.get("completion_tokens", 0)),
        )
    except (ValueError, KeyError, IndexError, TypeError) as cause:
        raise TeacherError(
            f"{name} answers what is no chat completion ({cause!r}): {response.text[:200]}.",
            hint="Wanted: the address of an OpenAI-compatible API, up to and with /v1.",
        ) from cause
