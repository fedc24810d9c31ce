"""The replay buffer: examples of earlier lessons that are learned again together with new ones, so that they stay."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, final, get_args
from uuid import uuid4

from filelock import FileLock, Timeout

from everlearn.corpus.near_duplicates import NearDuplicates
from everlearn.errors import FileFormatError, SettingsError, StoreBusyError, StoreFullError
from everlearn.learning.examples import Example

Draw = Literal["importance", "reservoir", "recent"]
_OVERHEAD = 200  # bytes of an example beside its text, on disk and in memory


@final
class ReplayBuffer:
    """Examples under a limit of bytes, by domain, without near-duplicates, durable where a file is given.

    When it is full, the domain that takes most room gives up the example with the lowest key u^(1/w), w being its
    importance and u a number drawn from the example's own digest: a weighted reservoir (each example of a domain stays
    with a chance that grows with its importance) whose outcome does not depend on the order of arrival.

    Source: Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir (A-Res).

    Args:
        path: JSON Lines file, one process at a time; None = in memory only.
        most_bytes: limit of all examples together.
        seed: draws u.

    Raises:
        StoreBusyError: another process has it open.
        FileFormatError: the file is damaged.
    """

    def __init__(self, path: Path | None = None, *, most_bytes: int = 64_000_000, seed: int = 0) -> None:
        if most_bytes < 1:
            raise SettingsError(f"most_bytes is {most_bytes}, wanted 1 or more.", hint="64,000,000 is usual.")
        self._path, self._most, self._seed = path, most_bytes, seed
        self._kept: dict[str, Example] = {}  # in the order of arrival
        self._sizes: dict[str, int] = {}
        self._room: dict[str, int] = {}  # bytes by domain
        self._keys: dict[str, list[tuple[float, str]]] = {}  # heap of each domain, the next to go first
        self._near = NearDuplicates()
        self._lock: FileLock | None = None
        if path is not None:
            self._lock = _locked(path)
            for example in _read(path):
                self._take(example)

    def __len__(self) -> int:
        return len(self._kept)

    def __enter__(self) -> ReplayBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bytes(self) -> int:
        """What all examples take together."""
        return sum(self._room.values())

    @property
    def domains(self) -> dict[str, int]:
        """Number of examples by domain."""
        counts: dict[str, int] = {}
        for example in self._kept.values():
            counts[example.domain] = counts.get(example.domain, 0) + 1
        return counts

    def examples(self) -> list[Example]:
        """All of them, oldest first."""
        return list(self._kept.values())

    def add(self, examples: Iterable[Example]) -> int:
        """Keep examples; near-duplicates of kept ones are left out. Durable when this returns.

        Returns:
            How many were new and are kept.

        Raises:
            StoreFullError: the file cannot be written; the buffer is as it was on disk.
        """
        before = set(self._kept)
        for example in examples:
            if example.id not in self._kept and not self._near.find(_text(example)):
                self._take(example)
        self._shrink()
        added = [i for i in self._kept if i not in before]
        if added or len(self._kept) != len(before):
            self._write()
        return len(added)

    def forget(self, sources: Iterable[str]) -> int:
        """Drop all examples that come from these sources, also from disk; returns how many."""
        gone = set(sources)
        ids = [i for i, e in self._kept.items() if e.source in gone]
        for example_id in ids:
            self._leave(example_id)
        if ids:
            self._write()
        return len(ids)

    def draw(
        self, count: int, how: Draw = "importance", *, chance: random.Random, without: Sequence[str] = ()
    ) -> list[Example]:
        """Draw different examples, each domain about as often.

        Args:
            count: how many; fewer where there are not as many.
            how: "importance" = the more important the likelier, "reservoir" = all alike, "recent" = the newest ones.
            chance: draws.
            without: domains that are left out, for example the one being learned.

        Raises:
            SettingsError: another way to draw.
        """
        if how not in get_args(Draw):
            raise SettingsError(f"Replay is to be drawn by {how!r}.", hint=f"Wanted: {', '.join(get_args(Draw))}.")
        queues: list[list[Example]] = []
        for domain in sorted(set(self.domains) - set(without)):
            mine = [e for e in self._kept.values() if e.domain == domain]
            queues.append(_ordered(mine, how, chance))
        drawn: list[Example] = []
        while len(drawn) < count and any(queues):
            for queue in queues:
                if queue and len(drawn) < count:
                    drawn.append(queue.pop())
        return drawn

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.release()

    def _take(self, example: Example) -> None:
        self._kept[example.id] = example
        self._sizes[example.id] = len(json.dumps(example.to_row())) + _OVERHEAD
        self._room[example.domain] = self._room.get(example.domain, 0) + self._sizes[example.id]
        heapq.heappush(self._keys.setdefault(example.domain, []), (self._key(example), example.id))
        self._near.add(example.id, _text(example))

    def _leave(self, example_id: str) -> None:
        domain = self._kept.pop(example_id).domain
        self._room[domain] -= self._sizes.pop(example_id)
        self._near.remove(example_id)

    def _shrink(self) -> None:
        """Give up examples until the rest fits; the last one stays however big it is."""
        while self.bytes > self._most and len(self._kept) > 1:
            biggest = max(sorted(self._room), key=lambda domain: self._room[domain])
            _, lowest = heapq.heappop(self._keys[biggest])
            if lowest in self._kept:  # else it was forgotten meanwhile
                self._leave(lowest)

    def _key(self, example: Example) -> float:
        digest = hashlib.sha256(f"{self._seed}/{example.id}".encode()).digest()
        uniform = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
        return float(uniform ** (1.0 / max(example.importance, 1e-3)))

    def _write(self) -> None:
        if self._path is None:
            return
        part = self._path.with_name(f".{self._path.name}.{uuid4().hex[:8]}.part")
        try:
            with part.open("w", encoding="ascii") as file:
                for example in self._kept.values():
                    file.write(json.dumps(example.to_row()) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as cause:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise StoreFullError(f"{self._path} cannot be written: {cause}.", hint="Free some room.") from cause


def _ordered(examples: list[Example], how: Draw, chance: random.Random) -> list[Example]:
    """The examples of a domain, the first to be drawn last."""
    if how == "recent":
        return examples
    keys = {
        e.id: chance.random() ** (1.0 / max(e.importance, 1e-3)) if how == "importance" else chance.random()
        for e in examples
    }
    return sorted(examples, key=lambda e: keys[e.id])


def _text(example: Example) -> str:
    return f"{example.prompt}\n{example.answer}"


def _locked(path: Path) -> FileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=1.0)
        lock.acquire()
    except Timeout as cause:
        raise StoreBusyError(f"Another process learns from {path}.", hint="Wait until it has ended.") from cause
    except OSError as cause:
        raise StoreFullError(f"{path} cannot be used: {cause}.", hint="Mind rights and room.") from cause
    return lock


def _read(path: Path) -> list[Example]:
    if not path.exists():
        return []
    found: list[Example] = []
    for number, line in enumerate(path.read_text("ascii").splitlines(), start=1):
        try:
            found.append(Example.from_row(json.loads(line)))
        except (ValueError, FileFormatError) as cause:
            raise FileFormatError(
                f"{path}, line {number} is damaged: {cause}.", hint="Delete the file: replay begins anew."
            ) from cause
    return found
