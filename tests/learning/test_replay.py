"""The replay buffer: bounded, durable, fair between domains, without near-duplicates, and it forgets."""

from __future__ import annotations

import random

import pytest
import torch

from everlearn.errors import FileFormatError, SettingsError, StoreBusyError, StoreFullError
from everlearn.learning.examples import Example, SoftTargets
from everlearn.learning.replay import ReplayBuffer

WORDS = "amber birch cedar delta ember fjord grove heath islet joust kayak lumen maple north ocean pearl".split()  # noqa: SIM905


def examples(count, domain="d", importance=0.5, start=0):
    chance = random.Random(f"{domain}{start}")
    return [
        Example(f"{domain} {n} " + " ".join(chance.choices(WORDS, k=8)), f"answer {n}", domain, importance, f"s{n}")
        for n in range(start, start + count)
    ]


def test_it_comes_back_from_disk_with_soft_targets(tmp_path):
    soft = SoftTargets(torch.tensor([[3, 4], [5, 6]], dtype=torch.int32), torch.tensor([[0.5, 0.25], [1, 0]]).half())
    with ReplayBuffer(tmp_path / "r.jsonl") as buffer:
        assert buffer.add([Example("q", "a", "x", 0.7, "l1", soft), *examples(3)]) == 4
        wanted = [e.to_row() for e in buffer.examples()]
    with ReplayBuffer(tmp_path / "r.jsonl") as again:
        assert [e.to_row() for e in again.examples()] == wanted
        back = again.examples()[0].soft
    assert torch.equal(back.tokens, soft.tokens)
    assert torch.equal(back.shares, soft.shares)


def test_near_duplicates_are_left_out():
    buffer = ReplayBuffer()
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    assert buffer.add([Example(long, "yes"), Example(long, "yes"), Example(long.upper(), "yes")]) == 1
    assert buffer.add([Example(long, "no, it is not"), Example("short", "yes")]) == 2


def test_ten_thousand_examples_take_less_than_100_megabytes(tmp_path):
    many = examples(10_000)
    with ReplayBuffer(tmp_path / "r.jsonl", most_bytes=100_000_000) as buffer:
        buffer.add(many)
        assert len(buffer) > 9_900
        assert buffer.bytes < 100_000_000
    assert (tmp_path / "r.jsonl").stat().st_size < 100_000_000


def test_what_is_kept_is_bounded_fair_and_the_more_important_the_likelier():
    buffer = ReplayBuffer(most_bytes=60_000)
    buffer.add(examples(300, "big", 0.1))
    buffer.add(examples(300, "big", 0.9, start=300))
    buffer.add(examples(20, "small"))
    assert buffer.bytes <= 60_000
    assert buffer.domains["small"] == 20
    big = [e for e in buffer.examples() if e.domain == "big"]
    assert sum(e.importance == 0.9 for e in big) > 2 * sum(e.importance == 0.1 for e in big)


def test_what_is_kept_does_not_depend_on_the_order_of_arrival():
    some = examples(200)
    kept = []
    for order in (some, some[::-1]):
        buffer = ReplayBuffer(most_bytes=30_000)
        for one in order:
            buffer.add([one])
        kept.append({e.id for e in buffer.examples()})
    assert kept[0] == kept[1]
    assert len(kept[0]) < 200


def test_drawing():
    buffer = ReplayBuffer()
    buffer.add([*examples(50, "a", 0.05), *examples(50, "b", 0.05), *examples(10, "a", 1.0, start=50)])
    drawn = buffer.draw(20, chance=random.Random(0))
    assert len({e.id for e in drawn}) == 20
    assert sum(e.domain == "a" for e in drawn) == 10
    assert sum(e.importance == 1.0 for e in drawn) >= 7
    alike = buffer.draw(20, "reservoir", chance=random.Random(0))
    assert sum(e.importance == 1.0 for e in alike) < 7
    assert [e.source for e in buffer.draw(2, "recent", chance=random.Random(0), without=["b"])] == ["s59", "s58"]
    assert len(buffer.draw(999, chance=random.Random(0))) == 110
    again = buffer.draw(20, chance=random.Random(0))
    assert [e.id for e in drawn] == [e.id for e in again]
    with pytest.raises(SettingsError, match="recent"):
        buffer.draw(1, "newest", chance=random.Random(0))


def test_forgetting_leaves_nothing_on_disk(tmp_path):
    path = tmp_path / "r.jsonl"
    with ReplayBuffer(path) as buffer:
        buffer.add([Example("the secret question", "the secret answer", source="l7"), *examples(3)])
        assert b"secret" in path.read_bytes()
        assert buffer.forget(["l7", "nobody"]) == 1
        assert b"secret" not in path.read_bytes()
        assert buffer.add([Example("the secret question", "the secret answer")]) == 1


def test_two_at_once_damage_and_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    with ReplayBuffer(path) as buffer:
        buffer.add(examples(2))
        with pytest.raises(StoreBusyError, match="Another process"):
            ReplayBuffer(path)
        before = path.read_bytes()

        def full(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(StoreFullError, match="No space left"):
            buffer.add(examples(2, "e"))
        assert path.read_bytes() == before
    path.write_text('{"prompt": 1}\n')
    with pytest.raises(FileFormatError, match="line 1 is damaged"):
        ReplayBuffer(path)
