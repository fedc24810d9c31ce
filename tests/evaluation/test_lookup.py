"""The measurement of the index: facts are read, vectors are like encodings, figures are those of the index."""

import io
import json
import tarfile
from contextlib import closing, contextmanager

import numpy as np
import pytest

from everlearn.errors import FileFormatError
from everlearn.evaluation import lookup
from everlearn.evaluation.lookup import measure_lookup, nearest, report_of
from everlearn.evaluation.pararel import Asked, composed, in_words, read_prompts
from everlearn.evaluation.table_scale import Material, fill, floats, measure_table
from everlearn.memory import filing
from everlearn.memory.phrase import spans
from toys import engine_on_disk, toy_learner, toy_parts

WIDTH = 32
NAMES = [f"{first}{last}" for first in ("Al", "Bo", "Cy", "Di", "Ed") for last in "abcdefghi"]


@pytest.fixture
def archive(tmp_path):
    """Two relations as ParaRel keeps them; one phrasing does not end in the answer."""
    files = {
        "data/pattern_data/graphs_json/P19.jsonl": [{"pattern": "[X] was born in [Y]."}, {"pattern": "[Y] bore [X]."}],
        "data/pattern_data/graphs_json/P27.jsonl": [{"pattern": "[X] is a citizen of [Y]."}],
        "data/trex_lms_vocab/P19.jsonl": [{"sub_label": "Ada", "obj_label": "London"}],
        "data/trex_lms_vocab/P27.jsonl": [{"sub_label": "Ada", "obj_label": "Britain"}],
    }
    path = tmp_path / "facts.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, rows in files.items():
            data = "\n".join(json.dumps(row) for row in rows).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def unit(count, seed=0):
    draw, subjects = np.random.default_rng(seed), np.random.default_rng(99).standard_normal((40, WIDTH))
    rows = subjects[draw.integers(0, 40, count)] + 0.6 * draw.standard_normal((count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_prompts_are_phrasings_up_to_the_answer(archive):
    asked = {(each.prompt, each.answer) for each in read_prompts(archive)}
    assert asked == {("Ada was born in", "London"), ("Ada is a citizen of", "Britain")}


@pytest.mark.parametrize("data", [b"", b"not an archive"])
def test_another_file_is_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FileFormatError, match="ParaRel"):
        read_prompts(tmp_path / "x")


def test_composed_vectors_are_new_and_of_unit_length(archive):
    asked, real = read_prompts(archive), unit(2)
    found = composed(real, asked, 50)
    made = found.vectors.astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=2e-3)
    assert (made @ real.T).max() < 0.9999
    prompts = {in_words(asked[s], asked[p]) for s, p in zip(found.subjects, found.phrasings, strict=True)}
    assert prompts <= {"Ada was born in", "Ada is a citizen of"}


def test_brute_force_finds_what_sorting_finds():
    vectors, queries = unit(500).astype(np.float16), unit(7, seed=1)
    scores = queries @ vectors.astype(np.float32).T
    assert nearest(vectors, queries).tolist() == np.argsort(-scores, axis=1)[:, :8].tolist()


def test_both_kinds_of_index_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "_LARGE", 500)
    costs = measure_lookup(unit(2000).astype(np.float16), unit(30, seed=1), [200, 2000], tmp_path, lambda _: None)
    assert [(c.entries, c.index) for c in costs] == [(200, "exact"), (2000, "clusters")]
    assert costs[0].recall_at_8 >= 0.99  # halves against whole numbers may swap neighbours
    assert costs[1].recall_at_8 >= 0.95
    assert costs[1].disk_bytes > 2000 * WIDTH * 2
    report = report_of(100, 30, costs).to_dict()
    assert report["sizes"][1]["entries"] == 2000
    assert report["where"]["machine"]["cores"]


def test_a_table_is_measured_through_the_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(filing, "LARGE", 100)
    parts = toy_parts()
    asked = [Asked(f"{who} was born in", who, "[X] was born in", f"town {n}") for n, who in enumerate(NAMES[:40])]
    asked += [Asked(f"{who} is a citizen of", who, "[X] is a citizen of", "land") for who in NAMES[:40]]
    read = parts.keys.read([each.prompt for each in asked])
    material = Material(asked, read, composed(floats(read), asked, 80))
    for n in (0, 100):
        lesson, encoded = material.lesson(n)
        assert len(encoded.states) == len(spans(lesson.prompt))

    @contextmanager
    def opened():
        with closing(engine_on_disk(tmp_path, parts)) as engine:
            yield engine, toy_learner(engine)

    with closing(engine_on_disk(tmp_path, parts)) as engine:
        fill(engine.memory.store, engine.memory.derived, parts.keys, material, range(150), lambda _: None)
    fresh = [Asked(f"{who} lives in", who, "[X] lives in", "town") for who in NAMES[40:]]
    cost = measure_table(opened, [each.prompt for each in asked[:14]], fresh, large=True)
    assert cost.entries == 150
    assert min(cost.build_s, cost.open_s, cost.recall_ms_p50, cost.teach_ms_p50, cost.forget_ms_p50) > 0
    with closing(engine_on_disk(tmp_path, parts)) as engine:
        assert len(engine.memory.table("default")) == 150 + len(fresh) - 12
