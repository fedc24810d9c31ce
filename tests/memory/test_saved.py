"""Saved entries against the exact index: what is near is found, what is removed is not, what is forgotten is gone."""

import numpy as np
import pytest

from everlearn.memory import entry_files, saved
from everlearn.memory.clusters import assign, how_many, train
from everlearn.memory.index import ExactIndex
from everlearn.memory.saved import NO_TIME, NewEntries, SavedEntries, words_digest
from everlearn.store import row_folder

WIDTH = 64


def always():
    return True


def name(n):
    return f"lesson{n:06}"


def vectors(count, seed=0):
    """Points around 40 subjects, as questions are."""
    draw = np.random.default_rng(seed)
    subjects = np.random.default_rng(99).standard_normal((40, WIDTH))
    rows = subjects[draw.integers(0, 40, count)] + 0.6 * draw.standard_normal((count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def entries(first, count, rows=None):
    spans = np.full((count, 2), NO_TIME)
    ids = [name(n) for n in range(first, first + count)]
    words = np.array([words_digest(f"question {n % 1000}") for n in range(first, first + count)], np.uint64)
    return NewEntries(ids, vectors(count, first) if rows is None else rows, words, spans)


def exact(*several):
    index = ExactIndex(WIDTH)
    for some in several:
        index.add(some.ids, some.vectors.astype(np.float16).astype(np.float32))
    return index


def recall(found, index, most=8):
    hits = sum(len({i for i, _ in found.search(q, most)} & {i for i, _ in index.search(q, most)}) for q in queries())
    return hits / (most * len(queries()))


def queries():
    return vectors(50, seed=12345)


@pytest.fixture
def files(tmp_path):
    return entry_files.open_files(tmp_path, "key/toy", WIDTH, "support")


def test_a_vector_lies_in_its_nearest_cluster_and_in_another():
    rows = vectors(2000)
    centres = train(rows, 32)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-5)
    two = assign(rows, centres)
    likeness = rows @ centres.T
    assert (likeness[np.arange(2000), two[:, 0]] > likeness.max(1) - 0.02).all()  # half precision
    assert (two[:, 0] != two[:, 1]).all()
    assert assign(rows[:5], train(rows, 1)).tolist() == [[0, 0]] * 5


@pytest.mark.parametrize(("count", "wanted"), [(1, 1), (20_000, 512), (300_000, 2048), (1_000_000, 4096)])
def test_clusters_grow_with_the_root_of_the_entries(count, wanted):
    assert how_many(count) == wanted


def test_the_nearest_are_found_with_their_cosines_after_opening_anew(files):
    some = entries(0, 3000)
    saved.build(files, some, 5, always)
    opened, truth = SavedEntries.read(files), exact(some)
    assert (len(opened), opened.seq) == (3000, 5)
    assert recall(opened, truth) >= 0.99
    query = queries()[0]
    for (lesson_id, score), (wanted, cosine) in zip(opened.search(query, 3), truth.search(query, 3), strict=True):
        assert (lesson_id, score) == (wanted, pytest.approx(cosine, abs=1e-6))


def test_more_entries_are_appended_and_removed_ones_are_found_no_more(files):
    first, more = entries(0, 2000), entries(2000, 700)
    opened = saved.build(files, first, 5, always)
    opened.remove(name(17))
    opened.append(more, 9, always)
    truth = exact(first, more)
    truth.remove(name(17))
    for seen in (opened, SavedEntries.read(files)):
        assert (len(seen), seen.seq, name(17) in seen, name(2600) in seen) == (2699, 9, False, True)
        assert recall(seen, truth) >= 0.99
    assert first.vectors[17].astype("<f2").tobytes() not in b"".join(f.read_bytes() for f in files.folder.iterdir())


def test_an_entry_that_is_replaced_by_itself_is_found_once(files):
    first = entries(0, 500)
    opened = saved.build(files, first, 5, always)
    opened.remove(name(3))
    opened.append(entries(3, 1, rows=-first.vectors[3:4]), 6, always)
    seen = SavedEntries.read(files)
    assert len(seen) == 500
    kept = seen.entries()
    np.testing.assert_allclose(kept.vectors[kept.ids.index(name(3))], -first.vectors[3], atol=1e-3)
    assert [i for i, _ in seen.search(-first.vectors[3], 8)].count(name(3)) == 1


def test_what_another_process_forgets_is_found_no_more_here(files):
    some = entries(0, 1000)
    opened = saved.build(files, some, 5, always)
    assert opened.search(some.vectors[40], 1)[0][0] == name(40)
    row_folder.wipe(files.folder.parent, [name(40)])
    assert name(40) not in [i for i, _ in opened.search(some.vectors[40], 8)]
    assert name(40) in opened, "until this process takes over what changed, which removes it"
    opened.remove(name(40))
    assert (name(40) in opened, len(opened)) == (False, 999)
    assert SavedEntries.read(files).search(some.vectors[40], 1)[0][0] != name(40)


def test_what_another_process_wiped_counts_as_removed_when_more_is_taken_up(files):
    opened = saved.build(files, entries(0, 1000), 5, always)
    row_folder.wipe(files.folder.parent, [name(n) for n in range(300)])
    opened.append(entries(1000, 10), 6, always)
    assert (len(opened), opened.outgrown, name(7) in opened) == (710, True, False)


def test_removed_entries_crowd_out_no_others(files):
    """More removed entries like the question than are scored at all, and a live one behind them."""
    asked = queries()[0]
    others = vectors(2000, seed=3)
    close = asked + 0.02 * np.random.default_rng(4).standard_normal((900, WIDTH)).astype(np.float32)
    rows = np.concatenate([close / np.linalg.norm(close, axis=1, keepdims=True), others])
    some = entries(0, len(rows), rows=rows)
    opened = saved.build(files, some, 5, always)
    for n in range(len(close)):
        opened.remove(name(n))
    truth = ExactIndex(WIDTH)
    truth.add(some.ids[len(close) :], others.astype(np.float16).astype(np.float32))
    wanted = truth.search(asked, 1)[0][0]
    assert opened.search(asked, 8)[0][0] == wanted


def test_entries_are_found_by_their_words(files):
    opened = saved.build(files, entries(0, 3000), 5, always)
    digest = words_digest("question 5")
    assert opened.with_words(digest) == [name(5), name(1005), name(2005)]
    opened.remove(name(1005))
    assert opened.with_words(digest) == [name(5), name(2005)]
    assert opened.with_words(words_digest("another")) == []


def test_spans_are_kept(files):
    some = entries(0, 600)
    some.spans[7] = (5, NO_TIME)
    some.spans[9] = (NO_TIME, -3)
    saved.build(files, some, 5, always)
    assert SavedEntries.read(files).spans() == {name(7): (5, NO_TIME), name(9): (NO_TIME, -3)}


def test_a_damaged_vector_is_not_found_but_named(files):
    some = entries(0, 1000)
    opened = saved.build(files, some, 5, always)
    opened._rows.columns["vectors"][40, 0] += np.float16(0.25)
    assert name(40) not in [i for i, _ in opened.search(some.vectors[40], 8)]
    assert opened.damaged == {name(40)}


def test_many_more_entries_or_many_removed_ones_ask_for_new_files(files):
    opened = saved.build(files, entries(0, 1000), 5, always)
    assert not opened.outgrown
    for n in range(300):
        opened.remove(name(n))
    assert opened.outgrown
    rebuilt = saved.build(files, opened.entries(), 6, always)
    assert (len(rebuilt), rebuilt.outgrown, len(rebuilt._rows)) == (700, False, 700)
    rebuilt.append(entries(5000, 8000), 7, always)
    assert rebuilt.outgrown


def test_a_deleted_table_leaves_nothing(files, tmp_path):
    saved.build(files, entries(0, 300), 5, always)
    entry_files.delete_table(tmp_path, "support")
    assert SavedEntries.read(files) is None
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) == 0


def test_other_threads_of_torch_stay_as_they_are(files):
    import torch

    before = torch.get_num_threads()
    saved.build(files, entries(0, 500), 5, always).search(queries()[0], 3)
    assert torch.get_num_threads() == before


def test_a_vector_that_is_damaged_beyond_recognition_is_named_as_well(files):
    some = entries(0, 1000)
    opened = saved.build(files, some, 5, always)
    opened._rows.columns["vectors"][40] = -opened._rows.columns["vectors"][40]
    opened.search(some.vectors[40], 1)
    assert opened.damaged == {name(40)}
