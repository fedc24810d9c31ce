"""One scenario per promise of the store's port, run against every implementation."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from everlearn.errors import LessonError, LessonNotFoundError, NotFoundError, TableNotFoundError
from everlearn.records import Lesson, Proposal, Recalled, Receipt, TableInfo, TableSettings, Turn
from everlearn.store import ImportProgress, LessonQuery, StaleError
from everlearn.store.derived import SqliteDerivedStore
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.store.port import EACH_ITS_OWN
from everlearn.store.sqlite import SqliteLessonStore

NOON = datetime(2025, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
EVERYTHING = LessonQuery(limit=10**9)  # unlike the port's own, so that it is checked as well


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    """What is asked here does not depend on when the disk has it; tests/store/test_sharing.py asks that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("everlearn.store.sqlite._SYNCHRONOUS", "OFF")
        yield


@pytest.fixture(scope="module")
def new_file(tmp_path_factory):
    """A store in which nothing happened, to copy: building one runs all migrations."""
    path = tmp_path_factory.mktemp("new") / "lessons.db"
    SqliteLessonStore(path).close()
    return path


@pytest.fixture(params=["sqlite", "in_memory"])
def store(request, tmp_path, new_file):
    path = shutil.copy(new_file, tmp_path / "lessons.db")
    opened = SqliteLessonStore(path) if request.param == "sqlite" else InMemoryLessonStore()
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "in_memory"])
def derived(request, tmp_path):
    opened = SqliteDerivedStore(tmp_path / "derived.db") if request.param == "sqlite" else InMemoryDerivedStore()
    yield opened
    opened.close()


def lesson(lesson_id, prompt="Who?", answer="She.", **fields):
    return Lesson(prompt, answer, id=lesson_id, taught_at=NOON, **{"status": "active", **fields})


def turn(turn_id, *spoken, session="s", looked_at=()):
    recalled = [Recalled(spoke, "default", 0.9, 0.8, "spoke") for spoke in spoken]
    recalled += [Recalled(other, "default", 0.5, 0.1, "below_threshold") for other in looked_at]
    receipt = Receipt(f"r{turn_id}", "model", ("default",), tuple(recalled), 3, 1.5)
    return Turn(turn_id, session, "Who?", "She. \u2603", receipt, NOON)


def kinds(store, since=0):
    return [(change.kind, change.lesson_id or change.table) for change in store.changes(since)]


def ids(lessons):
    return [each.id for each in lessons]


def teach_chain(store, *names):
    """Each lesson supersedes the one before."""
    for older, newer in zip((None, *names), names, strict=False):
        store.teach([lesson(newer)], {older: newer} if older else {})


def test_a_new_store_has_the_default_table_and_nothing_else(store):
    assert store.seq() == 0
    assert store.changes(0) == []
    assert store.tables() == [TableInfo("default", TableSettings(), 0, 0)]
    assert store.lessons(EVERYTHING) == []


def test_a_lesson_comes_back_exactly_as_taught(store):
    east = timezone(timedelta(hours=5, minutes=30))
    taught = lesson(
        "full",
        "Wer \u202eist\u202c das? e\u0301 \U0001f9d1\u200d\U0001f680\x00 end",
        "line\r\nbreak\t",
        domain="d",
        importance=0.1 + 0.2,
        source="file.jsonl:3",
        author="a",
        tenant="t",
        valid_from=datetime(1, 1, 1, tzinfo=UTC),
        valid_to=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=east),
    )
    store.teach([taught, lesson("plain")], {})
    assert store.lesson("full") == taught
    assert store.lesson("full").valid_to.utcoffset() in (timedelta(0), taught.valid_to.utcoffset())
    assert store.lesson("plain") == lesson("plain")


def test_half_a_character_is_refused_and_nothing_is_written(store):
    with pytest.raises(LessonError, match=r"answer .* position 3"):
        store.teach([lesson("fine"), lesson("half", answer="abc\ud800")], {})
    assert store.seq() == 0
    assert store.count(EVERYTHING) == 0


def test_teaching_is_logged_and_numbered(store):
    assert store.teach([lesson("one"), lesson("two")], {}) == store.seq() == 2
    assert store.teach([lesson("three")], {"one": "three"}) == 4
    assert kinds(store) == [("taught", "one"), ("taught", "two"), ("taught", "three"), ("superseded", "one")]
    assert [change.seq for change in store.changes(2)] == [3, 4]
    assert store.changes(4) == []


def test_a_batch_may_supersede_within_itself(store):
    store.teach([lesson("old", status="superseded", superseded_by="new"), lesson("new")], {})
    assert kinds(store) == [("taught", "old"), ("taught", "new"), ("superseded", "old")]
    assert ids(store.history("new")) == ["old", "new"]


def test_a_stale_decision_writes_nothing(store):
    seen = store.seq()
    store.teach([lesson("theirs")], {})
    with pytest.raises(StaleError):
        store.teach([lesson("ours")], {}, expected_seq=seen)
    assert ids(store.lessons(EVERYTHING)) == ["theirs"]
    store.teach([lesson("ours")], {}, expected_seq=store.seq())


def test_a_lesson_is_superseded_only_once(store):
    teach_chain(store, "a", "b")
    with pytest.raises(StaleError):
        store.teach([lesson("c")], {"a": "c"})
    with pytest.raises(LessonNotFoundError):
        store.teach([lesson("c")], {"unknown": "c"})
    assert ids(store.lessons(EVERYTHING)) == ["a", "b"]


def test_teaching_into_an_unknown_table_names_the_nearest(store):
    store.put_table("support", TableSettings())
    with pytest.raises(TableNotFoundError, match=r"supprt.*Did you mean 'support'"):
        store.teach([lesson("one"), lesson("two", table="supprt")], {})
    assert store.count(EVERYTHING) == 0


@pytest.mark.parametrize(
    ("gone", "restored", "left"),
    [
        (["c"], ["b"], {"a": "b", "b": ""}),
        (["b"], [], {"a": "c", "c": ""}),
        (["a"], [], {"b": "c", "c": ""}),
        (["b", "c"], ["a"], {"a": ""}),
        (["c", "b"], ["a"], {"a": ""}),
        (["a", "c"], ["b"], {"b": ""}),
        (["a", "b", "c"], [], {}),
    ],
)
def test_forgetting_closes_the_gap_in_a_chain(store, gone, restored, left):
    teach_chain(store, "a", "b", "c")
    before = store.seq()
    assert store.forget(gone) == restored
    assert {each.id: each.superseded_by for each in store.lessons(EVERYTHING)} == left
    assert all((each.status == "active") == (not each.superseded_by) for each in store.lessons(EVERYTHING))
    happened = kinds(store, before)
    assert happened[: len(gone)] == [("forgotten", each) for each in gone]
    assert [name for kind, name in happened if kind == "restored"] == restored


def test_a_lesson_that_gets_another_successor_is_logged(store):
    teach_chain(store, "a", "b", "c")
    before = store.seq()
    store.forget(["b"])
    assert kinds(store, before) == [("forgotten", "b"), ("superseded", "a")]


def test_forgetting_restores_all_that_was_superseded(store):
    store.teach([lesson("a"), lesson("b")], {})
    store.teach([lesson("c")], {"a": "c", "b": "c"})
    assert store.forget(["c", "c"]) == ["a", "b"]
    assert store.count(LessonQuery(status="active")) == 2


def test_forgetting_something_unknown_removes_nothing(store):
    store.teach([lesson("a")], {})
    before = store.seq()
    with pytest.raises(LessonNotFoundError):
        store.forget(["a", "unknown"])
    assert ids(store.lessons(EVERYTHING)) == ["a"]
    assert store.seq() == before
    assert store.forget([]) == []


def test_queries_combine_and_count_ignores_the_limit(store):
    store.put_table("docs", TableSettings())
    store.teach([lesson(f"l{n}", f"prompt {n}", table=("default", "docs")[n % 2]) for n in range(10)], {})
    store.teach([lesson("new", "prompt 0", domain="law")], {"l0": "new"})
    assert ids(store.lessons(LessonQuery(table="docs", limit=2, offset=1))) == ["l3", "l5"]
    assert store.count(LessonQuery(table="docs", limit=2, offset=1)) == 5
    assert ids(store.lessons(LessonQuery(text="PROMPT 0"))) == ["l0", "new"]
    assert ids(store.lessons(LessonQuery(text="prompt 0", status="active", domain="law"))) == ["new"]
    assert store.lessons(LessonQuery(limit=0)) == []
    assert store.prompts(LessonQuery(table="docs", limit=2, offset=1)) == [("l3", "prompt 3"), ("l5", "prompt 5")]
    assert store.prompts(LessonQuery(table="docs", status="active", kind="passage")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ÉCLAIR", True),
        ("strasse", True),
        ("ΣΊΣΥΦΟΣ", True),
        ("100%", True),
        ("1_0", False),
        ("0% of", True),
        ("%", True),
    ],
)
def test_text_is_found_ignoring_case_in_every_script(store, text, found):
    store.teach([lesson("a", "Un éclair, Straße?", "σίσυφος 100% of it"), lesson("b", "other", "100 or 110")], {})
    assert ids(store.lessons(LessonQuery(text=text))) == (["a"] if found else [])


def test_any_number_of_ids_may_be_asked_for(store):
    many = [lesson(f"n{n:05}") for n in range(2500)]
    store.teach(many, {})
    wanted = [f"n{n:05}" for n in range(0, 40_000, 5)]
    found = store.lessons_by_id([*wanted, *wanted])
    assert found == {each.id: each for each in many[::5]}
    assert store.forget(ids(many)) == []
    assert store.count(EVERYTHING) == 0


def test_history_is_the_chain_through_a_lesson(store):
    store.teach([lesson("a1"), lesson("a2"), lesson("else")], {})
    store.teach([lesson("b")], {"a1": "b", "a2": "b"})
    store.teach([lesson("c")], {"b": "c"})
    assert ids(store.history("c")) == ["a1", "a2", "b", "c"]
    assert ids(store.history("a1")) == ["a1", "b", "c"]
    assert ids(store.history("else")) == ["else"]
    with pytest.raises(LessonNotFoundError):
        store.history("unknown")


def test_an_id_is_found_by_its_start(store):
    store.teach([lesson("abcd1"), lesson("abcd2"), lesson("abcd22"), lesson("xyz")], {})
    assert store.resolve("abcd1") == "abcd1"
    assert store.resolve("abcd2") == "abcd2"
    assert store.resolve("abcd22") == "abcd22"
    assert store.resolve("xyz") == "xyz"
    for prefix, why in [
        ("abcd", "Several"),
        ("abc", "too short"),
        ("", "too short"),
        ("abc_", "No lesson"),
        ("abc%", "No"),
    ]:
        with pytest.raises(LessonNotFoundError, match=why):
            store.resolve(prefix)


def test_tables_keep_their_settings_and_count_their_lessons(store):
    settings = TableSettings(0.7, 0.9, (-5, -3), 0.25, output=False, values="learned")
    store.put_table("docs", TableSettings())
    store.put_table("docs", settings)
    store.teach([lesson("a", table="docs")], {})
    store.teach([lesson("b", table="docs")], {"a": "b"})
    assert store.table("docs") == settings
    assert store.tables() == [TableInfo("default", TableSettings(), 0, 0), TableInfo("docs", settings, 1, 1)]
    assert kinds(store)[:2] == [("table", "docs"), ("table", "docs")]
    with pytest.raises(TableNotFoundError, match="Did you mean 'docs'"):
        store.table("doc")


def test_deleting_a_table_forgets_its_lessons_and_imports(store):
    store.put_table("docs", TableSettings())
    progress = ImportProgress("digest", "docs", 2)
    store.teach([lesson("a", table="docs"), lesson("b", table="docs"), lesson("c")], {}, progress=progress)
    store.add_turn(turn("t", "a"))
    assert store.delete_table("docs") == ["a", "b"]
    assert ids(store.lessons(EVERYTHING)) == ["c"]
    assert store.turns("s") == []
    assert [info.name for info in store.tables()] == ["default"]
    assert kinds(store)[-3:] == [("forgotten", "a"), ("forgotten", "b"), ("table", "docs")]
    with pytest.raises(TableNotFoundError):
        store.delete_table("docs")
    store.put_table("docs", TableSettings())
    assert store.import_progress("digest", "docs") == 0


def test_turns_come_back_exactly_and_in_order(store):
    store.teach([lesson("a")], {})
    kept = [turn("t2", "a", looked_at=["x"]), turn("t1"), turn("t3", session="other")]
    for each in kept:
        store.add_turn(each)
    assert store.turns("s") == kept[:2]
    assert store.turn("t3") == kept[2]
    assert store.turns_resting_on("a") == 2, "t1 came after t2 and may quote it"
    assert store.turns("none") == []
    with pytest.raises(NotFoundError):
        store.turn("none")


def test_a_forgotten_lesson_takes_the_turns_that_rest_on_it_and_those_after_them(store):
    store.teach([lesson("a"), lesson("b")], {})
    store.add_turn(turn("before", "b", looked_at=["a"]))
    store.add_turn(turn("on a", "a", looked_at=["b"]))
    store.add_turn(turn("after", "b"))
    store.add_turn(turn("elsewhere", "b", session="other"))
    assert (store.turns_resting_on("a"), store.turns_resting_on("b")) == (2, 4)
    store.forget(["a"])
    assert [each.id for each in store.turns("s")] == ["before"]
    assert [each.id for each in store.turns("other")] == ["elsewhere"]
    assert store.turns_resting_on("a") == 0


def test_a_turn_that_comes_after_its_lesson_was_forgotten_is_left_out(store):
    store.teach([lesson("a")], {})
    store.forget(["a"])
    store.add_turn(turn("late", "a"))
    assert store.turns("s") == []
    with pytest.raises(LessonNotFoundError):
        store.add_turn(turn("wrong", "never taught"))


def test_imports_are_recorded_with_their_lessons(store):
    assert store.import_progress("digest", "default") == 0
    store.teach([lesson("a")], {}, progress=ImportProgress("digest", "default", 256))
    assert store.import_progress("digest", "default") == 256
    before = store.seq()
    store.teach([], {}, progress=ImportProgress("digest", "default", 300))
    assert (store.import_progress("digest", "default"), store.seq()) == (300, before)
    with pytest.raises(TableNotFoundError):
        store.teach([lesson("b")], {}, progress=ImportProgress("digest", "unknown", 1))
    assert store.count(EVERYTHING) == 1


def test_forgetting_clears_the_imports_that_may_have_brought_the_lesson(store):
    for name in ("docs", "other", "empty"):
        store.put_table(name, TableSettings())
        store.teach([], {}, progress=ImportProgress("digest", name, 3))
    store.teach([lesson("a", table="docs"), lesson("b", table="other"), lesson("c", table="docs")], {})
    own = ImportProgress(f"digest{EACH_ITS_OWN}", "other", 3)

    def progress(*names):
        return [store.import_progress("digest", name) for name in names]

    store.teach([], {}, progress=own)
    with pytest.raises(LessonNotFoundError):
        store.forget(["a", "unknown"])
    store.forget([])
    store.delete_table("empty")
    assert progress("docs", "other") == [3, 3]
    assert store.import_progress(own.digest, own.table) == 3
    store.forget(["a"])
    assert progress("docs", "other") == [0, 3]
    assert store.import_progress(own.digest, own.table) == 0, "the file may have brought a lesson of any table"
    store.teach([], {}, progress=own)
    store.delete_table("docs")
    assert progress("other") == [3]
    assert store.import_progress(own.digest, own.table) == 0


def test_a_snapshot_holds_all_lessons_and_tables(store):
    store.put_table("docs", TableSettings(0.7))
    teach_chain(store, "a", "b")
    store.teach([lesson(f"n{n}", table="docs") for n in range(150)], {})
    lessons, tables = store.snapshot()
    assert lessons == store.lessons(EVERYTHING)
    assert len(lessons) == 152
    assert tables == store.tables()


def test_replacing_all_is_exact(store):
    store.teach([lesson("a")], {}, progress=ImportProgress("digest", "default", 1))
    store.add_turn(turn("t", "a"))
    before = store.seq()
    tables = {"docs": TableSettings(0.9)}
    new = [lesson("z", table="docs", status="superseded", superseded_by="y"), lesson("y", table="docs")]
    store.replace_all(new, tables)
    assert store.lessons(EVERYTHING) == new
    assert store.tables() == [TableInfo("docs", TableSettings(0.9), 1, 1)]
    assert store.turns("s") == []
    assert store.import_progress("digest", "default") == 0
    happened = kinds(store, before)
    assert happened[:3] == [("forgotten", "a"), ("table", "default"), ("table", "docs")]
    assert happened[3:] == [("taught", "z"), ("taught", "y"), ("superseded", "z")]


def test_replacing_all_may_bring_the_same_lessons_back(store):
    teach_chain(store, "a", "b")
    kept = store.lessons(EVERYTHING)
    store.replace_all(kept, {"default": TableSettings()})
    assert store.lessons(EVERYTHING) == kept
    with pytest.raises(TableNotFoundError):
        store.replace_all([replace(kept[1], table="gone")], {"default": TableSettings()})
    assert store.lessons(EVERYTHING) == kept


def test_derived_values_come_back_by_kind(derived):
    values = {f"id{n}": bytes([n % 256]) * n for n in range(0, 5000, 7)}
    derived.put("vector", values)
    derived.put("correction", {"id7": b"x" * 100_000, "empty": b""})
    assert derived.get("vector", [f"id{n}" for n in range(5000)]) == values
    assert derived.get("correction", ["id7", "id14", "empty"]) == {"id7": b"x" * 100_000, "empty": b""}
    assert derived.get("other", ["id7"]) == {}


def test_derived_values_are_replaced_and_deleted_in_every_kind(derived):
    derived.put("vector", {"a": b"old", "b": b"stays"})
    derived.put("vector", {"a": b"new and longer" * 500})
    derived.put("correction", {"a": b"more"})
    assert derived.get("vector", ["a", "a"]) == {"a": b"new and longer" * 500}
    assert derived.delete(["a", "a", "unknown"]) == 2
    assert derived.get("vector", ["a", "b"]) == {"b": b"stays"}
    assert derived.get("correction", ["a"]) == {}
    assert derived.delete(["a"]) == 0
    derived.put("vector", {})


def test_a_quarantined_lesson_is_released_once_and_replaces(store):
    store.teach([lesson("old1")], {})
    store.teach([lesson("held", status="quarantined", quarantine="hub: near all.")], {})
    assert store.tables()[0].quarantined == 1
    assert store.lesson("held").quarantine == "hub: near all."
    with pytest.raises(LessonError, match="not quarantined"):
        store.release("old1", [])
    with pytest.raises(LessonNotFoundError):
        store.release("none", [])
    with pytest.raises(StaleError):
        store.release("held", ["old1"], expected_seq=store.seq() - 1)
    before = store.seq()
    assert store.release("held", ["old1"], expected_seq=before) == store.seq()
    assert [(c.kind, c.lesson_id) for c in store.changes(before)] == [("released", "held"), ("superseded", "old1")]
    assert store.lesson("held").status == "active"
    assert store.lesson("old1").superseded_by == "held"
    assert store.forget(["held"]) == ["old1"]


def test_a_release_that_cannot_replace_changes_nothing(store):
    store.teach([lesson("old1", status="superseded", superseded_by="new1"), lesson("new1")], {})
    store.teach([lesson("held", status="quarantined", quarantine="hub: near all.")], {})
    with pytest.raises(StaleError):
        store.release("held", ["old1"])
    assert store.lesson("held").status == "quarantined"


def test_proposals_are_kept_changed_and_go_with_their_lesson(store):
    store.teach([lesson("own1"), lesson("copy")], {})
    first = Proposal("p1", "own1", "default", "ann", "why not", NOON)
    store.put_proposal(first)
    store.put_proposal(replace(first, id="p2"))
    assert store.proposals() == [first, replace(first, id="p2")]
    done = replace(first, status="accepted", decided_by="tom", decided_at=NOON, decision="ok", promoted_id="copy")
    store.put_proposal(done)
    assert store.proposals("pending") == [replace(first, id="p2")]
    assert store.proposal("p1") == done
    for unknown in ("p", "p9", "%"):
        with pytest.raises(NotFoundError):
            store.proposal(unknown)
    with pytest.raises(LessonNotFoundError):
        store.put_proposal(replace(first, lesson_id="none"))
    store.forget(["copy"])
    assert store.proposals() == [replace(first, id="p2")]
    store.replace_all([], {"default": TableSettings()})
    assert store.proposals() == []


def test_a_table_keeps_its_layer(store):
    settings = TableSettings(layer="team", owner="support")
    store.put_table("team", settings)
    assert store.table("team") == settings
