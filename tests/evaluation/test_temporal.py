from __future__ import annotations

import json
from collections import Counter

import pytest

from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.chains import read_chains
from everlearn.evaluation.temporal import TemporalOptions, run_temporal


def row(query, year, *names):
    return {"query": query, "date": year, "answer": [{"name": name} for name in names], "id": "x"}


@pytest.fixture
def data(tmp_path):
    chains = [
        [row(f"word{n} thing{n} is _X_.", "2012", f"a{n}"), row(f"word{n} thing{n} is _X_.", "2015", f"b{n}", f"c{n}")]
        for n in range(3)
    ]
    path = tmp_path / "chains.jsonl"
    path.write_text("\n".join(map(json.dumps, chains)))
    return path


@pytest.mark.parametrize("order", ["years", "shuffled"])
def test_today_and_each_year_are_right_whatever_the_order(engine, learner, data, order):
    report = run_temporal(engine, learner.teach_many, TemporalOptions(data, order=order, seed=2))
    assert (report.latest, report.as_of) == (1.0, 1.0)
    assert report.questions == {"latest": 3, "as_of": 6}
    assert report.silent == {"latest": 0, "as_of": 0}
    assert report.failures == []
    assert json.dumps(report.to_dict())


def test_a_memory_without_time_fails(engine, learner, data):
    """The measurement sees what it is for: with the dates left out, every year gets the newest answer, or none."""
    from dataclasses import replace

    def undated(lessons):
        return learner.teach_many([replace(lesson, valid_from=None) for lesson in lessons])

    report = run_temporal(engine, undated, TemporalOptions(data))
    assert (report.latest, report.as_of) == (1.0, 0.0)
    assert report.silent == {"latest": 0, "as_of": 6}
    assert {failure["year"] for failure in report.failures} == {"2012", "2015"}


def test_a_killed_measurement_goes_on(engine, learner, data, tmp_path):
    taught = Counter()

    def counted(lessons):
        taught.update(lesson.answer for lesson in lessons)
        if sum(taught.values()) == 3:
            raise KeyboardInterrupt
        return learner.teach_many(lessons)

    options = TemporalOptions(data, state=tmp_path / "state", sample=2)
    with pytest.raises(KeyboardInterrupt):
        run_temporal(engine, counted, options)
    report = run_temporal(engine, counted, options)
    assert (report.latest, report.questions["latest"]) == (1.0, 2)
    assert max(taught.values()) == 2  # only the one that was not acknowledged
    assert sum(taught.values()) == 7


def test_bad_data_is_named(tmp_path, data, engine, learner):
    for text, what in (("{", "line 1 is not a chain"), ("[]", "several queries"), ("", "holds no chains")):
        path = tmp_path / "bad.jsonl"
        path.write_text(text)
        with pytest.raises(FileFormatError, match=what):
            read_chains(path)
    with pytest.raises(InputError, match="holds 3 chains"):
        run_temporal(engine, learner.teach_many, TemporalOptions(data, chains=4))
