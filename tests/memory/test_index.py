"""The exact index against the obvious way, over random additions and removals."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.memory.index import ExactIndex

WIDTH = 8


def unit(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return row / np.linalg.norm(row)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=80), st.integers(0, 1000))
def test_search_equals_sorting_all_rows(steps, query):
    index, truth = ExactIndex(WIDTH), {}
    for add, n in steps:
        name = f"row{n:02}"
        if add and name not in truth:
            truth[name] = unit(n)
            index.add([name], truth[name][None])
        elif not add and name in truth:
            index.remove(name)
            del truth[name]
    found = index.search(unit(query), 5)
    wanted = sorted(((i, float(v @ unit(query))) for i, v in truth.items()), key=lambda p: -p[1])[:5]
    assert len(index) == len(truth)
    assert [i for i, _ in found] == [i for i, _ in wanted]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=1e-5)


def test_rows_grow_beyond_the_first_room_and_removed_ones_are_wiped():
    index = ExactIndex(WIDTH)
    vectors = np.stack([unit(n) for n in range(1000)])
    index.add([str(n) for n in range(1000)], vectors)
    assert index.search(unit(777), 1)[0][0] == "777"
    assert index.nbytes == 1000 * WIDTH * 4
    index.remove("777")
    assert "777" not in index
    assert not (index._rows[:1000] == vectors[777]).all(1).any()
