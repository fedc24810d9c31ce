"""Layers: who finds which table, who speaks on a conflict; and how a lesson is promoted."""

import pytest

from everlearn.errors import LessonError, NotFoundError, SettingsError, TableNotFoundError
from everlearn.records import Lesson, TableSettings

WHO = "Who bakes at Zorblat?"


@pytest.fixture
def layered(learner):
    learner.put_table("company", TableSettings(layer="organisation"))
    learner.put_table("support", TableSettings(layer="team", owner="support"))
    learner.put_table("ann", TableSettings(layer="personal", owner="ann"))
    learner.put_table("bob", TableSettings(layer="personal", owner="bob"))
    for table, answer in [("company", "Corp"), ("support", "Team"), ("ann", "Ann"), ("bob", "Bob")]:
        learner.teach(Lesson(WHO, answer, table))
    return learner


def ask(learner, *names, question=WHO):
    receipt = learner.engine.recall(question, tables=names or None)
    spoke = receipt.spoke
    return (learner.engine.memory.store.lesson(spoke.lesson_id).answer, spoke.layer) if spoke else None


@pytest.mark.parametrize(
    ("user", "teams", "said"),
    [
        ("", (), ("Corp", "organisation")),
        ("ann", (), ("Ann", "personal")),
        ("bob", ("support",), ("Bob", "personal")),
        ("eve", ("support",), ("Team", "team")),
        ("support", (), ("Corp", "organisation")),  # a person is no team
    ],
)
def test_personal_beats_team_beats_organisation(layered, user, teams, said):
    assert ask(layered, *layered.engine.tables_for(user, teams)) == said


def test_without_a_name_nobodys_memory_is_asked(layered):
    assert ask(layered) == ("Corp", "organisation")
    assert layered.engine.recall(WHO).tables == ("company", "default")
    assert layered.engine.tables_for("ann", ["support", "sales"]) == ("ann", "company", "default", "support")


def test_precedence_holds_only_where_both_answer_the_question(layered):
    layered.teach(Lesson("When opens the Quux mill at Frumious?", "at 7", "company"))
    layered.teach(Lesson("When closes the Quux mill?", "at 9", "ann"))
    names = layered.engine.tables_for("ann")
    assert ask(layered, *names, question="When opens the Quux mill at Frumious?") == ("at 7", "organisation")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (TableSettings(layer="world"), "layer is 'world'"),
        (TableSettings(layer="team"), "team table has no owner"),
        (TableSettings(owner="ann"), "not personal or a team's"),
        (TableSettings(layer="organisation", owner="x"), "not personal or a team's"),
    ],
)
def test_impossible_layers_are_refused(learner, settings, says):
    with pytest.raises(SettingsError, match=says):
        learner.put_table("x", settings)


def test_a_proposal_waits_and_its_acceptance_copies_with_lineage(layered):
    store = layered.engine.memory.store
    lesson = layered.teach(Lesson("Where do penguins sleep?", "in the shed", "ann", author="ann")).lesson
    proposal = layered.sharing.propose(lesson.id, "support", author="ann", reason="customers ask it daily")
    assert store.proposals("pending") == [proposal]
    assert store.proposal(proposal.id[:12]) == proposal
    assert ask(layered, "support", question=lesson.prompt) is None
    accepted = layered.sharing.accept(proposal.id, by="tom", decision="true")
    copy = store.lesson(accepted.promoted_id)
    assert (copy.table, copy.answer, copy.author) == ("support", "in the shed", "ann")
    assert copy.source == f"promoted from lesson {lesson.id} of table ann, proposal {proposal.id}"
    assert store.lesson(lesson.id) == lesson
    assert (accepted.status, accepted.decided_by, accepted.decision) == ("accepted", "tom", "true")
    assert store.proposals() == [accepted]
    with pytest.raises(LessonError, match="was accepted by tom already"):
        layered.sharing.reject(proposal.id, by="tim")


def test_a_rejected_proposal_changes_nothing(layered):
    lesson = layered.teach(Lesson("Where do penguins sleep?", "in the shed", "ann")).lesson
    proposal = layered.sharing.propose(lesson.id, "company", author="ann", reason="nice")
    rejected = layered.sharing.reject(proposal.id, by="tom", decision="private")
    assert (rejected.status, rejected.decision, rejected.promoted_id) == ("rejected", "private", "")
    with pytest.raises(LessonError, match="was rejected"):
        layered.sharing.accept(proposal.id, by="tom")
    assert ask(layered, "company", question=lesson.prompt) is None


def test_a_proposal_goes_with_its_lesson_and_a_replaced_one_is_not_promoted(layered):
    store = layered.engine.memory.store
    lesson = layered.teach(Lesson("Where do penguins sleep?", "in the shed", "ann")).lesson
    proposal = layered.sharing.propose(lesson.id, "support", author="ann", reason="nice")
    newer = layered.teach(Lesson("Where do penguins sleep?", "in the barn", "ann"))
    with pytest.raises(LessonError, match="is superseded; only an active one"):
        layered.sharing.accept(proposal.id, by="tom")
    layered.forget(lesson.id)
    assert store.proposals() == []
    second = layered.sharing.accept(
        layered.sharing.propose(newer.lesson.id, "support", author="a", reason="b").id, by="tom"
    )
    layered.forget(second.promoted_id)
    assert store.proposals() == []


def test_what_cannot_be_proposed(layered):
    lesson = layered.teach(Lesson("Where do penguins sleep?", "in the shed", "support")).lesson
    with pytest.raises(SettingsError, match=r"'ann' \(personal\) is not above 'support' \(team\)"):
        layered.sharing.propose(lesson.id, "ann", author="a", reason="b")
    with pytest.raises(TableNotFoundError):
        layered.sharing.propose(lesson.id, "none", author="a", reason="b")
    with pytest.raises(LessonError, match="author of the proposal is empty"):
        layered.sharing.propose(lesson.id, "company", author=" ", reason="b")
    with pytest.raises(NotFoundError, match="No one proposal"):
        layered.sharing.accept("nothing", by="tom")
