"""The shelf: versions are whole or not there, steps are never used twice, the pointer moves atomically."""

from __future__ import annotations

import pytest

from everlearn.errors import AdapterNotFoundError, ConflictError, CorruptWeightsError, SettingsError, StoreReadOnlyError
from everlearn.specialists.adapter import Adapter, parsed
from everlearn.specialists.shelf import POINTER, AdapterShelf

DRAFT = Adapter("math", "toy", "a" * 64, lessons=("l1",))


def write(folder):
    (folder / "w").write_bytes(b"weights")
    return "d" * 64


@pytest.fixture
def shelf(tmp_path):
    return AdapterShelf(tmp_path / "adapters")


def test_an_empty_shelf(shelf):
    assert shelf.names() == shelf.all() == []
    with pytest.raises(AdapterNotFoundError, match="none yet"):
        shelf.find("math")


def test_versions_are_listed_with_their_lineage(shelf):
    first, second = shelf.put(DRAFT, write), shelf.put(DRAFT, write)
    assert [v.id for v in shelf.versions("math")] == ["math@1", "math@2"]
    assert shelf.find("math@2") == second
    assert shelf.trained_on("l1") == [first, second]
    assert shelf.trained_on("l2") == []
    assert first.created_at.tzinfo is not None


def test_a_version_that_fails_half_way_is_not_there(shelf):
    def breaks(folder):
        (folder / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        shelf.put(DRAFT, breaks)
    assert shelf.names() == []
    assert not [p for p in (shelf.folder / "math").iterdir() if p.suffix == ".part"]
    assert shelf.put(DRAFT, write).step == 2


def test_a_step_is_never_used_twice(shelf):
    for _ in range(2):
        shelf.put(DRAFT, write)
    shelf.remove("math@2")
    assert shelf.put(DRAFT, write).id == "math@3"
    assert [v.step for v in shelf.versions("math")] == [1, 3]


def test_what_is_in_use_is_not_removed(shelf):
    shelf.put(DRAFT, write)
    shelf.point("math", 1)
    with pytest.raises(ConflictError, match="in use"):
        shelf.remove("math@1")
    shelf.point("math", None)
    shelf.remove("math@1")
    assert shelf.names() == []


def test_the_pointer(shelf):
    shelf.put(DRAFT, write)
    assert shelf.current("math") is None
    with pytest.raises(AdapterNotFoundError):
        shelf.point("math", 7)
    shelf.point("math", 1)
    assert shelf.find("math").step == shelf.current("math") == 1
    (shelf.folder / "math" / POINTER).write_text("x")
    with pytest.raises(CorruptWeightsError, match="pointer"):
        shelf.find("math")


def test_wrong_names_and_near_ones(shelf):
    shelf.put(DRAFT, write)
    with pytest.raises(AdapterNotFoundError, match="Did you mean 'math'"):
        shelf.find("maths")
    with pytest.raises(AdapterNotFoundError, match="steps 1"):
        shelf.find("math@9")
    for wrong in ("", "../up", "a.b", "math@", "math@0", "math@-1", "math@1@2"):
        with pytest.raises(SettingsError):
            parsed(wrong)


def test_no_right_to_write_changes_nothing(shelf, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    with pytest.raises(StoreReadOnlyError, match="rights"):
        shelf.put(DRAFT, write)
    assert shelf.names() == []
