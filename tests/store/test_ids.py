"""Ids rise within a process and are safe anywhere."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

from everlearn.store import new_id


def test_an_id_is_26_lower_case_characters_without_lookalikes():
    assert re.fullmatch(r"[0-7][0-9a-hjkmnp-tv-z]{25}", new_id())


def test_ids_rise_even_when_the_clock_steps_back(monkeypatch):
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    later = [new_id() for _ in range(1000)]
    assert [first, *later] == sorted({first, *later})


def test_threads_never_get_the_same_id():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id(), range(4000)))
    assert len(set(made)) == len(made)


def test_an_id_tells_its_millisecond(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: (1 << 47) * 1_000_000)
    assert new_id().startswith("400000000")
