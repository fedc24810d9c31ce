"""The public API as the studio calls it: JSON, files, streams of events; errors as the sentences the server sends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import httpx

from everlearn.errors import EverlearnError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 660.0  # longer than the server's own deadline, so that its message comes first
_LIMITS = "x-ratelimit-"


@final
class ApiError(EverlearnError):
    """The server refused, or was not there.

    Args:
        message: the server's own sentence.
        code: the server's stable code.
        status: of HTTP; 0 = no answer came.
    """

    def __init__(self, message: str, *, code: str = "error", status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code, self.status = code, status


@final
class Server:
    """A server that the studio talks to.

    Args:
        address: such as "http://127.0.0.1:8000".
        transport: instead of the network, in tests.
    """

    def __init__(self, address: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.address = address
        # No proxy of the environment: what is said here must not leave the machine on its way to the machine.
        self._client = httpx.AsyncClient(
            base_url=address,
            transport=transport,
            trust_env=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None),
        )

    def as_caller(self, key: str | None) -> Api:
        """The API with a caller's key; empty where the server wants none."""
        return Api(self._client, (key or "").strip())

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


@final
@dataclass(frozen=True, slots=True)
class Api:
    """The API as one caller may use it.

    Every method raises ApiError with the server's sentence where it refuses.
    """

    client: httpx.AsyncClient
    key: str = ""

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET; parameters that are None or empty are left out."""
        return _json(await self._sent("GET", path, params=_given(params)))

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST a body of JSON."""
        return _json(await self._sent("POST", path, json=dict(body or {})))

    async def patch(self, path: str, body: Mapping[str, Any], *, if_match: str = "") -> dict[str, Any]:
        """PATCH, only while `if_match` is the newest version where it is given."""
        more = {"if-match": if_match} if if_match else {}
        return _json(await self._sent("PATCH", path, json=dict(body), headers=more))

    async def delete(self, path: str) -> dict[str, Any]:
        """DELETE."""
        return _json(await self._sent("DELETE", path))

    async def text(self, path: str) -> str:
        """GET what is no JSON."""
        return (await self._sent("GET", path)).text

    async def download(self, path: str, to: Path) -> Path:
        """GET into a file."""
        response = await self._sent("GET", path)
        to.write_bytes(response.content)
        return to

    async def upload(self, path: str, file: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
        """POST a file with fields of a form."""
        form = {name: _field(value) for name, value in _given(fields).items()}
        with file.open("rb") as content:
            return _json(await self._sent("POST", path, data=form, files={"file": (file.name, content)}))

    async def limits(self) -> dict[str, str]:
        """What the server says of this key's limits; empty where it has none."""
        response = await self._sent("GET", "/v1/models")
        return {n.removeprefix(_LIMITS): v for n, v in response.headers.items() if n.startswith(_LIMITS)}

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Events that a POST gives, as they come. Leaving the loop early ends the answer at the server."""
        async with self._open("POST", path, json=dict(body)) as response:
            async for event in _events(response):
                yield event

    async def watch(self, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """A job, whenever it changes, until it has ended."""
        async with self._open("GET", f"/v1/jobs/{job_id}/events") as response:
            async for event in _events(response):
                yield event

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    async def _sent(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {**self._headers, **how.pop("headers", {})}
        try:
            response = await self.client.request(method, path, headers=headers, **how)
        except httpx.HTTPError as cause:
            raise _unreachable(cause) from cause
        except UnicodeEncodeError as cause:
            raise ApiError("The key holds a letter that no key has.", hint="Paste it anew in Settings.") from cause
        return _checked(response)

    @asynccontextmanager
    async def _open(self, method: str, path: str, **how: Any) -> AsyncIterator[httpx.Response]:
        try:
            async with self.client.stream(method, path, headers=self._headers, **how) as response:
                if response.is_error:
                    await response.aread()
                yield _checked(response)
        except httpx.HTTPError as cause:
            raise _unreachable(cause) from cause


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event: dict[str, Any] = json.loads(line.removeprefix("data: "))
        if isinstance(said := event.get("error"), dict) and "object" not in event:
            raise ApiError(str(said.get("message", "The answer failed.")), code=str(said.get("code") or "error"))
        yield event


def _checked(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    try:
        said = response.json()["error"]
        message, code = str(said["message"]), str(said.get("code") or "error")
    except (ValueError, KeyError, TypeError):
        message, code = f"The server answered {response.status_code} without saying why.", "error"
    hint = "Put your key in under Settings." if response.status_code == 401 else ""
    raise ApiError(message, code=code, status=response.status_code, hint=hint)


def _json(response: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = response.json()
    return told


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _field(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unreachable(cause: Exception) -> ApiError:
    return ApiError(f"The server did not answer ({type(cause).__name__}).", hint="Is `everlearn serve` still running?")
