from __future__ import annotations

import json

import pytest

from everlearn.corpus.task_streams import read_stream
from everlearn.errors import FileFormatError, InputError


def write(folder, part, name, rows):
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")


@pytest.fixture
def stream(tmp_path):
    rows = [{"instruction": "Which? ", "input": f"{n}", "output": "yes "} for n in range(20)]
    write(tmp_path, "train", "b", rows)
    write(tmp_path, "test", "b", [*rows[:2], {"prompt": "p", "answer": "a"}])
    write(tmp_path, "train", "a", [{"prompt": "q", "target": "z"}])
    write(tmp_path, "test", "a", [{"prompt": "r", "target": "z"}])
    return tmp_path


def test_tasks_in_the_order_asked_for_without_what_is_tested(stream):
    tasks = read_stream(f"{stream}, b, a", train=0, test=0, seed=0)
    assert [t.name for t in tasks] == ["b", "a"]
    assert len(tasks[0].train) == 18
    assert not {c.prompt for c in tasks[0].train} & {c.prompt for c in tasks[0].test}
    assert tasks[0].train[0].answer == "yes"
    assert tasks[0].train[0].source == "b.jsonl:3"
    assert [t.name for t in read_stream(str(stream), train=0, test=0, seed=0)] == ["a", "b"]


def test_samples_are_drawn_by_the_seed_and_tests_are_the_same_for_all(stream):
    one, two, again = (read_stream(f"{stream},b", train=5, test=2, seed=s)[0] for s in (1, 2, 1))
    assert one == again
    assert one.train != two.train
    assert one.test == two.test


def test_what_cannot_be_read(stream, tmp_path):
    with pytest.raises(InputError, match="no task 'c'"):
        read_stream(f"{stream},c", train=0, test=0, seed=0)
    with pytest.raises(InputError, match="no tasks"):
        read_stream(str(tmp_path / "nowhere"), train=0, test=0, seed=0)
    write(stream, "train", "a", [{"prompt": "r", "target": "z"}])
    with pytest.raises(InputError, match="0 cases to train"):
        read_stream(f"{stream},a", train=0, test=0, seed=0)
    for bad, message in (("{", "a.jsonl:1"), ('{"prompt": "x"}', "no answer"), ("[1]", "a.jsonl:1")):
        (stream / "train" / "a.jsonl").write_text(bad + "\n")
        with pytest.raises(FileFormatError, match=message):
            read_stream(f"{stream},a", train=0, test=0, seed=0)
    (stream / "train" / "a.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(FileFormatError, match="UTF-8"):
        read_stream(f"{stream},a", train=0, test=0, seed=0)
