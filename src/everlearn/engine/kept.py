"""Attention caches of answered prompts, kept so that the next turn of a conversation reads only what is new.

A kept cache is what the bare model, or a version of an adapter, computes for its tokens, and nothing else: corrected
positions and lessons that were read with a question are cut off before (docs/decisions/0004). So no lesson that is
taught or forgotten makes it wrong, and none leaves a trace in it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from everlearn.models.cache import KeyValueCache

BLOCK = 16  # tokens; a cache is found by whole blocks, and then used to the last equal token


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    owner: str
    ids: tuple[int, ...]
    cache: KeyValueCache
    digests: tuple[bytes, ...]


@final
class KeptCaches:
    """The caches of several tenants, those used longest ago given up first.

    They are found by a keyed digest of tenant, adapter and first tokens; the key is drawn anew at every start. A tenant
    can neither hit another's cache nor learn from its speed what others asked.

    Args:
        most_bytes: of all keys and values together; 0 = keep nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # by id()
        self._found: defaultdict[bytes, list[_Entry]] = defaultdict(list)
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all kept keys and values."""
        return self._bytes

    @property
    def tokens(self) -> int:
        """Tokens of all kept caches."""
        with self._lock:
            return sum(len(entry.ids) for entry in self._entries.values())

    def find(self, tenant: str, adapter: str, ids: Sequence[int]) -> tuple[KeyValueCache | None, int]:
        """A cache of the longest known begin of prompt tokens [T], for the caller to go on from, and its length.

        The last token of the prompt is never part of it, since its logits are wanted.
        """
        with self._lock:
            for digest in reversed(self._digests(tenant, adapter, ids[:-1])):
                if digest in self._found:
                    entry = max(self._found[digest], key=lambda each: _common(each.ids, ids))
                    self._entries.move_to_end(id(entry))
                    break
            else:
                return None, 0
        length = min(_common(entry.ids, ids), len(ids) - 1)
        cache = entry.cache.copy()
        cache.crop(length)
        return cache, cache.lengths[0]

    def keep(self, tenant: str, adapter: str, ids: Sequence[int], cache: KeyValueCache) -> None:
        """Keep a cache of one row that holds tokens [T] and nothing else; shorter ones of their begin are given up."""
        digests = tuple(self._digests(tenant, adapter, ids))
        if not digests or cache.nbytes > self._most:
            return
        entry = _Entry(tenant, tuple(ids), cache, digests)
        with self._lock:
            known = {id(each): each for digest in digests for each in self._found.get(digest, ())}
            for old in known.values():
                if entry.ids[: len(old.ids)] == old.ids:
                    self._remove(old)
            self._entries[id(entry)] = entry
            for digest in digests:
                self._found[digest].append(entry)
            self._bytes += cache.nbytes
            while self._bytes > self._most:
                self._remove(next(iter(self._entries.values())))

    def drop(self, tenant: str | None = None) -> None:
        """Give up all caches of a tenant; None = of all."""
        with self._lock:
            for entry in [each for each in self._entries.values() if tenant in (None, each.owner)]:
                self._remove(entry)

    def _remove(self, entry: _Entry) -> None:
        del self._entries[id(entry)]
        self._bytes -= entry.cache.nbytes
        for digest in entry.digests:
            self._found[digest].remove(entry)
            if not self._found[digest]:
                del self._found[digest]

    def _digests(self, tenant: str, adapter: str, ids: Sequence[int]) -> list[bytes]:
        """Digests of the first 1, 2, ... whole blocks of tokens."""
        running = hashlib.blake2b(key=self._secret, digest_size=16)
        running.update(repr((tenant, adapter)).encode())
        made: list[bytes] = []
        for first in range(0, len(ids) - BLOCK + 1, BLOCK):
            running.update(array("q", ids[first : first + BLOCK]).tobytes())
            made.append(running.copy().digest())
        return made


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    most = min(len(one), len(other))
    return next((n for n in range(most) if one[n] != other[n]), most)
