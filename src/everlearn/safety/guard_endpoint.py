"""A guard model behind an OpenAI-compatible address, asked beside the checks that come with everlearn.

Two forms: "moderation" posts to {url}/moderations and reads `flagged` and `categories`; "chat" posts to
{url}/chat/completions and reads what guard models write: "safe", or "unsafe" and a line of categories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, final, get_args
from urllib.parse import urlsplit

import httpx

from everlearn.errors import SettingsError
from everlearn.safety.flag import Flag

GuardForm = Literal["moderation", "chat"]
Unreachable = Literal["block", "allow"]
_LONGEST = 20_000  # characters of one call; longer texts are sent in parts
_UNSAFE = re.compile(r"\s*unsafe\b\s*(?P<names>[^\n]*(?:\n[^\n]*)?)", re.IGNORECASE)
_SAFE = re.compile(r"\s*safe\b", re.IGNORECASE)
_NAME = re.compile(r"[\w/-]{1,40}")


@final
@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Where a guard model is asked, and how.

    Attributes:
        url: base address, such as http://127.0.0.1:9000/v1; empty = none is asked.
        model: its name there.
        form: how it is asked.
        key: sent as a bearer token, where there is one.
        timeout: seconds for one call, connecting included.
        unreachable: what becomes of a text that it could not judge: "block" (fail closed) or "allow" (fail open).
    """

    url: str = ""
    model: str = "guard"
    form: GuardForm = "moderation"
    key: str = ""
    timeout: float = 5.0
    unreachable: Unreachable = "block"


@final
class GuardEndpoint:
    """Asks a guard model. Safe to use from several threads.

    Args:
        settings: where and how.
        transport: of the calls, for tests; None = the network.

    Raises:
        SettingsError: no address, an unknown form, or a time that is none.
    """

    def __init__(self, settings: GuardSettings, transport: httpx.BaseTransport | None = None) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"guard_url is {settings.url!r}.", hint="For example: http://127.0.0.1:9000/v1")
        if settings.form not in get_args(GuardForm) or settings.unreachable not in get_args(Unreachable):
            raise SettingsError(
                f"The guard's form is {settings.form!r}, when it is unreachable {settings.unreachable!r}.",
                hint="Wanted: moderation or chat; block or allow.",
            )
        if settings.timeout <= 0:
            raise SettingsError(f"guard_timeout is {settings.timeout}.", hint="Seconds, for example 5.")
        self.settings = settings
        headers = {"authorization": f"Bearer {settings.key}"} if settings.key else {}
        self._client = httpx.Client(
            base_url=settings.url.rstrip("/"), headers=headers, timeout=settings.timeout, transport=transport
        )

    def judge(self, text: str) -> list[Flag]:
        """What it finds in a text: one flag for each category that it names; none where it finds nothing.

        Where it cannot be asked, or answers something else, the flag's rule is "guard/unreachable" and its score 1
        where such texts are to be blocked, 0 where they pass.
        """
        found: list[Flag] = []
        for start in range(0, len(text), _LONGEST):
            part = text[start : start + _LONGEST]
            try:
                names = self._names(part)
            except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError, AttributeError):
                closed = self.settings.unreachable == "block"
                found.append(Flag("guard", float(closed), start, start + len(part), "guard/unreachable"))
                continue
            found += [Flag("guard", 1.0, start, start + len(part), f"guard/{name}") for name in names]
        return found

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _names(self, text: str) -> list[str]:
        """Categories that are named; a text that is flagged without one has "unsafe"."""
        if self.settings.form == "moderation":
            told = self._posted("/moderations", {"model": self.settings.model, "input": text})["results"][0]
            if not told["flagged"]:
                return []
            return _clean([name for name, yes in told.get("categories", {}).items() if yes])
        body = {"model": self.settings.model, "messages": [{"role": "user", "content": text}], "temperature": 0}
        told = self._posted("/chat/completions", {**body, "max_tokens": 32})["choices"][0]["message"]["content"]
        if (unsafe := _UNSAFE.match(told)) is not None:
            return _clean(_NAME.findall(unsafe["names"]))
        if _SAFE.match(told) is None:
            raise ValueError("neither safe nor unsafe")
        return []

    def _posted(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        response = self._client.post(path, json=body)
        response.raise_for_status()
        return response.json()


def _clean(names: list[str]) -> list[str]:
    """Names as they may stand in a log: short, without text."""
    found = ["".join(_NAME.findall(name))[:40] for name in names]
    return list(dict.fromkeys(name for name in found if name))[:20] or ["unsafe"]
