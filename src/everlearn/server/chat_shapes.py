"""What OpenAI's clients send for an answer, read into what the engine takes. Unknown fields are passed over."""

from __future__ import annotations

from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from everlearn.errors import SettingsError
from everlearn.records import Message, Role, Sampling
from everlearn.server.tools import tool_said, written

_KIND = ConfigDict(extra="ignore", protected_namespaces=())
_MOST_ANSWERS = 16
_MOST_STOPS = 16


@final
class Part(BaseModel):
    """A part of a message's content."""

    model_config = _KIND
    type: str
    text: str = ""


@final
class CalledFunction(BaseModel):
    """Name and arguments of a call."""

    model_config = _KIND
    name: str
    arguments: str = "{}"


@final
class CalledTool(BaseModel):
    """A call in an earlier message of the assistant."""

    model_config = _KIND
    function: CalledFunction


@final
class ChatMessage(BaseModel):
    """A message of a conversation."""

    model_config = _KIND
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[CalledTool] | None = None

    @property
    def text(self) -> str:
        """All of its text.

        Raises:
            SettingsError: it holds something else than text.
        """
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        for part in self.content:
            if part.type not in ("text", "input_text", "output_text"):
                raise SettingsError(f"A message holds {part.type!r}; this model reads text.", hint="Send text parts.")
        return "".join(part.text for part in self.content)

    def spoken(self) -> Message | None:
        """As the engine takes it: a developer is the system, what a tool gave is told by the user; None where empty."""
        if self.role in ("tool", "function"):
            return Message("user", tool_said(self.text))
        calls = [call.function.model_dump() for call in self.tool_calls or ()]
        text = self.text + (written(calls) if calls and self.role == "assistant" else "")
        role: Role = "system" if self.role == "developer" else self.role  # type: ignore[assignment]
        return Message(role, text) if text else None


@final
class StreamOptions(BaseModel):
    """What a stream carries beside its pieces."""

    model_config = _KIND
    include_usage: bool = False


@final
class Learning(BaseModel):
    """What everlearn adds to a request: which memory is asked, as of when, and whether it may be written."""

    model_config = ConfigDict(extra="forbid")
    mode: Literal["off", "read", "write"] = "write"
    tools: bool = False
    tables: list[str] | None = None
    adapter: str | None = None
    as_of: str | None = None
    user: str = ""
    teams: list[str] = Field(default_factory=list)
    check_claims: bool = False


class Sampled(BaseModel):
    """Fields that all kinds of answers share."""

    model_config = _KIND
    model: str = Field(min_length=1, max_length=512)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(default=1, ge=1, le=_MOST_ANSWERS)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int = Field(default=0, ge=0, le=1_000_000)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[int, float] | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    learning: Learning = Field(default_factory=Learning)
    user: str | None = None

    @field_validator("stop")
    @classmethod
    def _few(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and len(stop) > _MOST_STOPS:
            raise ValueError(f"at most {_MOST_STOPS} stop strings")
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        found = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in found if stop)

    def sampling(self, number: int = 0) -> Sampling:
        """How the answer of this number is sampled. Greedy unless a temperature is given: a taught answer is exact."""
        limit = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return Sampling(
            max_new_tokens=limit,
            temperature=0.0 if self.temperature is None or self.temperature < 1e-3 else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=None if self.seed is None else self.seed + number,
            stop=self.stops,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=tuple((self.logit_bias or {}).items()),
            logprobs=self.probabilities,
        )

    @property
    def probabilities(self) -> int | None:
        """How many of the likeliest tokens are told with each token; None = nothing is."""
        return None


@final
class ChatRequest(Sampled):
    """Body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=4096)
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    parallel_tool_calls: bool | None = None

    @property
    def probabilities(self) -> int | None:
        """How many of the likeliest tokens are told with each token; None = nothing is."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def spoken(self) -> list[Message]:
        """The conversation as the engine takes it."""
        return [said for m in self.messages if (said := m.spoken()) is not None]


@final
class CompletionRequest(Sampled):
    """Body of POST /v1/completions."""

    prompt: str | list[str]
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @property
    def probabilities(self) -> int | None:
        """How many of the likeliest tokens are told with each token; None = nothing is."""
        return self.logprobs

    @property
    def prompts(self) -> list[str]:
        """Each prompt."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt
