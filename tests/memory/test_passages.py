"""Passages in memory: windows, candidates from both sides, and what the gate is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from everlearn.memory.key import KeyMaker
from everlearn.memory.passage_gate import FEATURES, Evidence, PassageGate, features, stems
from everlearn.memory.passages import Passages, packed, unpacked, window_vectors, windows
from everlearn.records import Lesson
from toys import ToyEncoder

NOW = datetime.now(UTC)


@pytest.fixture
def keys():
    return KeyMaker(ToyEncoder())


def passage(name, text, **more):
    return Lesson("Handbook > Part", text, kind="passage", id=name, **more)


def shelf(keys, *lessons, gate=None):
    made = Passages(keys, gate or PassageGate.packaged())
    for lesson, vectors in zip(lessons, window_vectors(keys, lessons), strict=True):
        made.add(lesson, vectors)
    return made


def test_windows_are_sentences_with_their_title():
    long = "The Zorblat bakery opens at nine in the morning on every weekday."
    assert windows(passage("a", f"Short. {long} {long}")) == [f"Part: Short. {long}", f"Part: {long}"]
    assert windows(passage("a", "Tiny.")) == ["Part: Tiny."]


def test_candidates_come_from_meaning_and_from_rare_words(keys):
    lessons = [passage(f"{n:02}", f"Common words about the harbour stand here as number {n}.") for n in range(40)]
    lessons.append(passage("zz", "Something else entirely, then at its end the word quandtium."))
    made = shelf(keys, *lessons)
    assert "zz" in made.candidates(keys.key("common words about the harbour quandtium"), most=2)
    assert len(made.judged(keys.key("common words about the harbour"), NOW, most=3)) == 3


def test_vectors_and_words_go_with_a_passage(keys):
    made = shelf(keys, passage("a", "The harbour is closed."), passage("b", "The bakery is open."))
    made.remove("a")
    assert (len(made), made.candidates(keys.key("harbour"))) == (1, ["b"])
    made.remove("b")
    assert (made.nbytes, dict(made._holding), made.judged(keys.key("harbour"), NOW)) == (0, {}, [])


def test_only_what_is_true_now_is_judged(keys):
    day = timedelta(days=1)
    made = shelf(
        keys,
        passage("old", "The harbour is closed.", valid_to=NOW - day),
        passage("new", "The harbour is closed.", valid_from=NOW + day),
        passage("now", "The harbour is closed.", valid_from=NOW - day, valid_to=NOW + day),
    )
    assert [lesson.id for lesson, *_ in made.judged(keys.key("harbour"), NOW)] == ["now"]


def test_features_say_what_is_covered_and_what_is_missing(keys):
    query = keys.key("When did the 12 Zorblat bakeries open?")
    words = stems(["when", "did", "the", "zorblat", "bakery", "open"])
    found = dict(zip(FEATURES, features(query, Evidence([0.5], words, [words])), strict=True))
    assert (found["cosine"], found["second_cosine"], found["number_missing"]) == (0.5, 0.5, 1.0)
    assert 0.5 < found["covered"] == found["covered_in_window"] < 1.0
    everything = Evidence([0.5], words | {"12"}, [words])
    assert dict(zip(FEATURES, features(query, everything), strict=True))["covered"] == 1.0


def test_the_packaged_gate_wants_nearness_and_coverage(keys):
    gate = PassageGate.packaged()
    query = keys.key("Who runs the Zorblat bakery?")
    near = Evidence([0.8, 0.3], stems(query.signature), [stems(query.signature)])
    far = Evidence([0.2, 0.1], frozenset(), [frozenset()])
    assert gate.probability(query, near) > 0.9
    assert gate.probability(query, far) < 0.01


def test_kept_vectors_are_read_again_and_damaged_ones_are_not(keys):
    lessons = [passage("a", "The harbour is closed."), passage("b", "The bakery is open.")]
    made = window_vectors(keys, lessons)
    kept = {"a": packed(made[0]), "b": b"short"}
    found = unpacked(kept, lessons, keys.width)
    assert list(found) == ["a"]
    assert np.allclose(found["a"], made[0], atol=1e-3)
