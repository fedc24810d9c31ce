import json
import sqlite3

import pytest

from everlearn.cli import doctor_home, doctor_machine
from everlearn.cli.findings import GIGABYTE, size
from everlearn.models.folders import Origin, make
from everlearn.store.upgrade import NEWEST_VERSION


def found(result):
    return {check["name"]: check for check in result.json["checks"]}


def test_a_fresh_machine_is_fine_and_nothing_is_made(cli, tmp_path):
    result = cli("doctor", "--json")
    checks = found(result)
    assert result.json["ok"] is (result.code == 0)
    for name in ("python", "torch", "device", "home", "base model", "encoder", "lessons", "derived"):
        assert checks[name]["level"] == "ok", checks[name]
    assert "fetched at first use" in checks["base model"]["found"]
    assert not (tmp_path / "home").exists()


def test_what_is_there_is_counted(cli, teach):
    teach("q", "a")
    checks = found(cli("doctor", "--json"))
    assert checks["lessons"]["found"].startswith(f"1 active, 0 replaced, in 1 table, layout {NEWEST_VERSION}")
    assert "vectors" in checks["derived"]["found"]
    assert "files" in checks["home"]["found"]


def test_a_person_gets_a_table_with_ways_to_mend(cli, monkeypatch):
    monkeypatch.setenv("EVERLEARN_DEVICE", "quantum")
    result = cli("doctor")
    assert result.code == 1
    assert "fail" in result.out
    assert "→ Use auto, cpu" in result.out


def test_wrong_settings_are_a_finding(cli, monkeypatch):
    monkeypatch.setenv("EVERLEARN_DEVIZE", "cpu")
    result = cli("doctor", "--json")
    assert (result.code, result.json["checks"][0]["name"]) == (1, "settings")


def test_damaged_lessons_fail_and_damaged_derived_data_warn(cli, teach, tmp_path):
    teach("q", "a")
    for name in ("lessons.db", "derived.db"):
        for path in (tmp_path / "home").glob(f"{name}-*"):
            path.unlink()
        (tmp_path / "home" / name).write_bytes(b"no database at all, but long enough to be one" * 100)
    checks = found(cli("doctor", "--json"))
    assert checks["lessons"]["level"] == "fail"
    assert checks["derived"]["level"] == "warn"
    assert "Delete it" in checks["derived"]["mend"]


def test_lessons_of_a_newer_program_fail(cli, teach, tmp_path):
    teach("q", "a")
    connection = sqlite3.connect(tmp_path / "home" / "lessons.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    lessons = found(cli("doctor", "--json"))["lessons"]
    assert lessons["level"] == "fail"
    assert "newer" in lessons["found"]


def test_weights_are_compared_with_their_manifest(tmp_path):
    folder = tmp_path / "models" / "minilm"
    make(
        folder,
        Origin("minilm", "test", "abc"),
        lambda new: (new / "model.safetensors").write_bytes(b"weights") and None,
    )
    assert doctor_home.weights("encoder", "minilm", tmp_path, verify=False).level == "ok"
    assert "every byte as expected" in doctor_home.weights("encoder", "minilm", tmp_path, verify=True).found

    (folder / "model.safetensors").write_bytes(b"w3ights")
    assert doctor_home.weights("encoder", "minilm", tmp_path, verify=False).level == "ok"
    verified = doctor_home.weights("encoder", "minilm", tmp_path, verify=True)
    assert verified.level == "fail"
    assert "corrupt" in verified.found

    (folder / "model.safetensors").write_bytes(b"cut")
    assert doctor_home.weights("encoder", "minilm", tmp_path, verify=False).level == "warn"


def test_a_model_by_path_or_hub_id(tmp_path):
    assert doctor_home.weights("base model", str(tmp_path), tmp_path, verify=False).level == "ok"
    assert doctor_home.weights("base model", "someone/model", tmp_path, verify=False).level == "warn"


def test_a_home_that_is_a_file_fails(tmp_path):
    (tmp_path / "file").write_text("x")
    assert doctor_home.home(tmp_path / "file").level == "fail"


@pytest.mark.parametrize(("free", "level"), [(None, "ok"), (GIGABYTE, "warn"), (8 * GIGABYTE, "ok")])
def test_little_memory_is_a_warning(free, level):
    assert doctor_machine.memory(free).level == level


def test_more_threads_than_cores_are_a_warning(cli, monkeypatch):
    monkeypatch.setenv("EVERLEARN_THREADS", "4096")
    threads = found(cli("doctor", "--json"))["threads"]
    assert threads["level"] == "warn"
    assert "EVERLEARN_THREADS=" in threads["mend"]


@pytest.mark.parametrize(
    ("nbytes", "written"), [(0, "0 bytes"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (3 * GIGABYTE, "3.0 GB")]
)
def test_sizes_are_written_as_people_do(nbytes, written):
    assert size(nbytes) == written


def test_free_memory_is_told_where_the_system_does():
    free = doctor_machine.free_memory()
    assert free is None or free > 0
    assert json.dumps(free)
