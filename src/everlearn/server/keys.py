"""API keys: random, shown once, kept as hashes in one small file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, final
from uuid import uuid4

from filelock import FileLock

from everlearn.errors import FileFormatError, NotFoundError, SettingsError, StoreFullError
from everlearn.server.caller import SCOPES, Caller, Scope

FILE = "keys.json"
MARK = "sk-el-"
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@final
@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept. The secret itself is not in it.

    Attributes:
        id: by which it is named.
        hash: sha256 hex of the secret. It has 256 random bits, so nothing slower is needed.
        start: first characters of the secret, to recognise it by.
        tenant: whose.
        scopes: what may be done with it.
        name: what it is for.
        created_at: when.
        expires_at: from when on it is refused; None = never.
    """

    id: str
    hash: str
    start: str
    tenant: str
    scopes: tuple[Scope, ...]
    name: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None


@final
class KeyRing:
    """The keys of a server. Another process may change the file: the next request sees it.

    Args:
        folder: holds the file; made at the first key.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._stamp = -1
        self._keys: dict[str, Key] = {}  # by hash

    def all(self) -> list[Key]:
        """All keys, oldest first."""
        self._refresh()
        return list(self._keys.values())

    def create(
        self, tenant: str, scopes: Iterable[str], *, name: str = "", expires_at: datetime | None = None
    ) -> tuple[Key, str]:
        """Make a key; returns it with its secret, which is nowhere kept.

        Raises:
            SettingsError: an impossible tenant, scope or time.
            StoreFullError: the file cannot be written.
        """
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise SettingsError(
                f"The key would have expired at {expires_at:%Y-%m-%d %H:%M}.", hint="Name a later time."
            )
        secret = MARK + secrets.token_urlsafe(32)
        key = Key(
            f"key_{uuid4().hex[:12]}",
            hash_of(secret),
            secret[: len(MARK) + 4],
            checked_tenant(tenant),
            checked_scopes(scopes),
            name,
            datetime.now(UTC),
            expires_at,
        )
        with self._changing() as keys:
            keys[key.hash] = key
        return key, secret

    def rotate(self, key_id: str) -> tuple[Key, str]:
        """Give a key a new secret; the old one is refused from now on."""
        secret = MARK + secrets.token_urlsafe(32)
        with self._changing() as keys:
            old = _named(keys, key_id)
            del keys[old.hash]
            new = replace(old, hash=hash_of(secret), start=secret[: len(MARK) + 4], created_at=datetime.now(UTC))
            keys[new.hash] = new
        return new, secret

    def revoke(self, key_id: str) -> Key:
        """Take a key away for good."""
        with self._changing() as keys:
            key = _named(keys, key_id)
            del keys[key.hash]
        return key

    def caller(self, secret: str) -> Caller | None:
        """Whom a secret stands for; None where it is unknown or has expired."""
        self._refresh()
        wanted = hash_of(secret)
        key = next((k for h, k in self._keys.items() if hmac.compare_digest(h, wanted)), None)
        if key is None or (key.expires_at is not None and key.expires_at <= datetime.now(UTC)):
            return None
        return Caller(key.tenant, frozenset(key.scopes), key.id)

    def _refresh(self) -> None:
        try:
            stamp = self.path.stat().st_mtime_ns
        except FileNotFoundError:
            self._keys, self._stamp = {}, -1
            return
        if stamp != self._stamp:
            self._keys = {key.hash: key for key in _read(self.path)}
            self._stamp = stamp

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        part = self.path.with_name(f".{FILE}.{uuid4().hex[:8]}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{FILE}.lock"), timeout=10):
                self._stamp = -1
                self._refresh()
                keys = dict(self._keys)
                yield keys
                rows = [{**asdict(k), "scopes": list(k.scopes)} for k in keys.values()]
                with part.open("w", encoding="utf-8") as file:
                    os.fchmod(file.fileno(), 0o600)
                    json.dump({"keys": rows}, file, indent=1, default=datetime.isoformat)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path)
                self._keys = keys
        except OSError as cause:
            part.unlink(missing_ok=True)
            raise StoreFullError(f"{self.path} cannot be written: {cause}.", hint="Mind rights and room.") from cause


def hash_of(secret: str) -> str:
    """The sha256 hex of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def checked_tenant(name: str) -> str:
    """The name, if a tenant can have it: it becomes the name of a folder.

    Raises:
        SettingsError: it cannot.
    """
    if not _TENANT.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot name a tenant.", hint="Use small letters, digits, '-' and '_', a letter or digit first."
        )
    return name


def checked_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes, each once, in their order.

    Raises:
        SettingsError: an unknown one, or none.
    """
    wanted = set(scopes)
    if not wanted or wanted - set(SCOPES):
        raise SettingsError(f"The scopes are {sorted(wanted)}.", hint=f"Wanted: some of {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in wanted)


def _named(keys: dict[str, Key], key_id: str) -> Key:
    found = [key for key in keys.values() if key.id == key_id]
    if not found:
        raise NotFoundError(f"There is no key {key_id!r}.", hint="`everlearn keys list` shows them.")
    return found[0]


def _read(path: Path) -> list[Key]:
    try:
        rows = json.loads(path.read_text("utf-8"))["keys"]
        return [_key(row) for row in rows]
    except (ValueError, KeyError, TypeError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause!r}.", hint="Mend it, or restore a copy.") from cause


def _key(row: dict[str, Any]) -> Key:
    times = {n: datetime.fromisoformat(row[n]) if row[n] else None for n in ("created_at", "expires_at")}
    return Key(**{**row, "scopes": tuple(cast(list[Scope], row["scopes"])), **times})
