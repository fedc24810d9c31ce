"""Models, completions and embeddings, as OpenAI's clients ask for them."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from everlearn.errors import SettingsError
from everlearn.records import Answer, Message, TokenLogprob
from everlearn.server import asking
from everlearn.server.answering import Ask
from everlearn.server.api_schema import EVENTS
from everlearn.server.asking import FINISH, Asker
from everlearn.server.caller import Caller, may
from everlearn.server.chat_shapes import CompletionRequest
from everlearn.server.events import streamed
from everlearn.server.model_names import chosen, models
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(tags=["openai"])
MOST_TEXTS = 2048
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]


class EmbeddingRequest(BaseModel):
    """Body of POST /v1/embeddings."""

    model_config = ConfigDict(extra="ignore")
    input: str | list[str]
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)


@router.get("/v1/models")
def list_models(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """The base model, and each table and adapter as a model of its own, with the parent it rests on."""
    return {"object": "list", "data": models(tenant)}


@router.get("/v1/models/{model:path}")
def show_model(model: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """One model."""
    known = {row["id"]: row for row in models(tenant)}
    if model in known:
        return known[model]
    return {**known[tenant.engine.name], "id": chosen(tenant, model).id, "parent": tenant.engine.name}


@router.post("/v1/completions", responses=EVENTS)
async def complete(body: CompletionRequest, request: Request, room: InRoom, tenant: OfTenant, caller: Asks) -> Response:
    """Answer prompts without a conversation. Each is put to the model as one user message: it is a chat model."""
    asker = Asker(room, tenant, caller)
    if not body.stream:
        return JSONResponse(await completed(asker, body, request))
    _, asks = await run_in_threadpool(_asks, asker, body)
    chunks = _chunks(asker, body, _head(body), asks)
    first = await anext(chunks)
    return streamed(_with(first, chunks))


async def completed(asker: Asker, body: CompletionRequest, request: Request | None = None) -> dict[str, Any]:
    """The body of a whole completion; it is ended where the client of a request goes away.

    Raises:
        EverlearnError: it cannot be answered.
    """
    prompts, asks = await run_in_threadpool(_asks, asker, body)
    wanted = asking.together([asking.whole(asker, ask) for ask in asks])
    answers = await asking.unless_gone(wanted, request)
    choices = [
        _choice(n, (text if body.echo else "") + a.text, FINISH[a.finish_reason], a.logprobs)
        for n, (a, text) in enumerate(zip(answers, prompts, strict=True))
    ]
    usage = asking.usage_of(answers)
    usage["prompt_tokens"] = sum(a.usage.prompt_tokens for a in answers[:: body.n])
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    return {**_head(body), "choices": choices, "usage": usage, "learning": asking.learning_of(answers[0])}


def _asks(asker: Asker, body: CompletionRequest) -> tuple[list[str], list[Ask]]:
    """For each answer the prompt as the filters let it in, and what is asked."""
    if body.suffix or (body.best_of or 1) > body.n:
        raise SettingsError("suffix and best_of are not known to this server.", hint="Leave them out.")
    if not 1 <= len(body.prompts) <= MOST_TEXTS:
        raise SettingsError(f"prompt holds {len(body.prompts)} texts.", hint=f"Wanted: 1 to {MOST_TEXTS:,}.")
    passed = [asking.taken_in(asker, [Message("user", text)]) for text in body.prompts]
    asks = [asking.ask_of(asker, body, said, n, filtered=found) for said, found in passed for n in range(body.n)]
    return [said[0].content for said, _ in passed for _ in range(body.n)], asks


def _head(body: CompletionRequest) -> dict[str, Any]:
    made = int(time.time())
    return {"id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": made, "model": body.model}


@router.post("/v1/embeddings")
async def embed(body: EmbeddingRequest, room: InRoom, tenant: OfTenant, caller: Asks) -> dict[str, Any]:
    """Sentence embeddings of the encoder that makes the keys of lessons."""
    return await embedded(Asker(room, tenant, caller), body)


async def embedded(asker: Asker, body: EmbeddingRequest) -> dict[str, Any]:
    """The body of embeddings.

    Raises:
        SettingsError: no text, an empty one, too many, or a width that this encoder has not.
    """
    engine, texts = asker.tenant.engine, [body.input] if isinstance(body.input, str) else body.input
    keys = engine.memory.keys
    if not texts or len(texts) > MOST_TEXTS or any(not text.strip() for text in texts):
        raise SettingsError(f"input holds {len(texts)} texts, some may be empty.", hint=f"Wanted: 1 to {MOST_TEXTS:,}.")
    if body.dimensions not in (None, keys.width):
        raise SettingsError(f"dimensions is {body.dimensions}.", hint=f"This encoder gives {keys.width}; leave it out.")
    vectors = await run_in_threadpool(keys.vectors, texts)
    tokens = sum(engine.text.count(text) for text in texts)
    asker.room.limits.take_tokens(asker.caller, tokens)
    data = [
        {"object": "embedding", "index": n, "embedding": _shown(v, body.encoding_format)} for n, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}


def _shown(vector: np.ndarray[Any, np.dtype[np.float32]], form: str) -> list[float] | str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") if form == "base64" else vector.tolist()


def _choice(n: int, text: str, finish: str | None, tokens: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
    return {"index": n, "text": text, "logprobs": _logprobs(tokens), "finish_reason": finish}


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    """Probabilities in the older form, each kind a list of its own."""
    if not tokens:
        return None
    texts = [t.token.text for t in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [t.token.logprob for t in tokens],
        "top_logprobs": [{one.text: one.logprob for one in t.top} for t in tokens],
        "text_offset": [sum(map(len, texts[:n])) for n in range(len(texts))],
    }


async def _chunks(
    asker: Asker, body: CompletionRequest, head: dict[str, Any], asks: list[Ask]
) -> AsyncIterator[dict[str, Any]]:
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    more = {"usage": None} if with_usage else {}
    answers: list[Answer] = []
    for n, ask in enumerate(asks):
        async for event in asking.pieces(asker, ask):
            if isinstance(event, Answer):
                answers.append(event)
                last = {**head, "choices": [_choice(n, "", FINISH[event.finish_reason])], **more}
                yield {**last, "learning": asking.learning_of(event)}
            else:
                yield {**head, "choices": [_choice(n, event.text, None, event.tokens)], **more}
    if with_usage:
        yield {**head, "choices": [], "usage": asking.usage_of(answers)}


async def _with(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    yield first
    async for chunk in rest:
        yield chunk
