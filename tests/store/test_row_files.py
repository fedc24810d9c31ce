"""Rows in a folder: what is published is read, what is not is removed, what is wiped is gone, damage is seen."""

import numpy as np
import pytest

from everlearn.store import row_folder
from everlearn.store.row_files import MovedError, RowFiles
from everlearn.store.row_folder import Column

COLUMNS = (Column("vector", "<f2", 8, lazy=True), Column("words", "<u8"))


def always():
    return True


def made(first, count):
    names = [f"lesson{n:04}" for n in range(first, first + count)]
    vectors = np.random.default_rng(first).standard_normal((count, 8)).astype("<f2")
    return {"id": np.array(names, "S26"), "vector": vectors, "words": np.arange(first, first + count, dtype="<u8")}


@pytest.fixture
def files(tmp_path):
    return RowFiles(tmp_path / "index", COLUMNS, "kind 1")


def everything(folder):
    return b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())


def test_what_was_replaced_and_appended_is_read_by_another(files):
    assert files.read() is None
    first = files.replace(made(0, 5), {"centroids": np.eye(3)}, 7, always)
    files.append(first, made(5, 3), 9, always)
    seen = RowFiles(files.folder, COLUMNS, "kind 1").read()
    assert seen.columns["id"].tolist() == [f"lesson{n:04}".encode() for n in range(8)]
    np.testing.assert_array_equal(seen.columns["vector"][5:], made(5, 3)["vector"])
    np.testing.assert_array_equal(seen.extra["centroids"], np.eye(3))
    assert seen.seq == 9
    assert files.checked(seen, np.arange(8))[1].all()
    assert RowFiles(files.folder, COLUMNS, "kind 2").read() is None


def test_a_wiped_row_leaves_no_byte_and_is_wiped_for_those_who_have_it_open(files):
    rows = files.replace(made(0, 5), {}, 1, always)
    others = RowFiles(files.folder, COLUMNS, "kind 1").read()
    vector = made(0, 5)["vector"][3].tobytes()
    assert vector in everything(files.folder)
    assert row_folder.wipe(files.folder.parent, ["lesson0003", "unknown"]) == 1
    assert vector not in everything(files.folder)
    for seen in (rows, others, files.read()):
        assert seen.live().tolist() == [True, True, True, False, True]
        assert not seen.columns["vector"][3].any()


def test_a_row_that_another_process_appended_is_wiped_as_well(files):
    rows = files.replace(made(0, 5), {}, 1, always)
    RowFiles(files.folder, COLUMNS, "kind 1").append(rows, made(5, 3), 2, always)
    row_folder.wipe(files.folder, ["lesson0006"])
    assert made(5, 3)["vector"][1].tobytes() not in everything(files.folder)


def test_who_is_not_up_to_date_writes_nothing(files):
    old = files.replace(made(0, 5), {}, 1, always)
    files.append(old, made(5, 3), 2, always)
    with pytest.raises(MovedError):
        files.append(old, made(8, 1), 3, always)
    with pytest.raises(MovedError):
        files.append(files.read(), made(8, 1), 3, lambda: False)
    assert len(files.read()) == 8


def test_what_a_crash_left_is_never_read_and_goes_with_the_next_write(files, monkeypatch):
    rows = files.replace(made(0, 5), {}, 1, always)
    with monkeypatch.context() as patch:
        patch.setattr("everlearn.store.row_files.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            files.append(rows, made(5, 3), 2, always)
        with pytest.raises(KeyboardInterrupt):
            files.replace(made(20, 3), {"centroids": np.eye(2)}, 2, always)
    assert len(files.read()) == 5
    assert made(20, 3)["vector"].tobytes() in everything(files.folder)
    row_folder.wipe(files.folder, ["lesson0005", "lesson0021"])
    left = everything(files.folder)
    assert made(20, 3)["vector"][1].tobytes() not in left
    assert made(5, 3)["vector"][0].tobytes() not in left
    assert len(files.read()) == 5


@pytest.mark.parametrize("column", ["words", "id"])
def test_a_damaged_row_makes_the_folder_unread(files, column, caplog):
    rows = files.replace(made(0, 5), {}, 1, always)
    file = files.folder / f"{rows.generation}.{column}"
    data = bytearray(file.read_bytes())
    data[9] ^= 4
    file.write_bytes(data)
    assert files.read() is None
    assert "damaged" in caplog.text


def test_a_damaged_vector_is_seen_where_it_is_used(files):
    rows = files.replace(made(0, 5), {}, 1, always)
    rows.columns["vector"][2, 3] = 7
    assert files.checked(files.read(), np.array([1, 2, 3]))[1].tolist() == [True, False, True]


def test_files_that_are_cut_off_or_missing_are_not_read_and_do_not_hinder_forgetting(files):
    rows = files.replace(made(0, 5), {}, 1, always)
    file = files.folder / f"{rows.generation}.vector"
    file.write_bytes(file.read_bytes()[:20])
    assert files.read() is None
    assert row_folder.wipe(files.folder, ["lesson0003"]) == 0
    assert not file.exists()


def test_deleted_rows_are_gone(files):
    files.replace(made(0, 5), {}, 1, always)
    row_folder.delete(files.folder)
    assert files.read() is None
    assert not list(files.folder.glob("*.vector"))
