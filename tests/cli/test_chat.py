import pytest

from everlearn.cli.chat_room import ChatRoom
from everlearn.records import Lesson, Sampling, TableSettings

QUESTION, ANSWER = "Who runs the Zorblat bakery?", "Mirela Quandt"


@pytest.fixture
def chat(cli):
    """Lines in, the result out; answers of the toy model are kept short."""

    def call(*lines, options=()):
        return cli("chat", "--max-new-tokens", "4", *options, stdin="\n".join(lines) + "\n")

    return call


@pytest.fixture
def said(cli):
    """Bare answers of the toy model are noise: long ones are cut, so that lines can be compared."""

    def call(*lines, options=()):
        result = cli("chat", "--max-new-tokens", "40", *options, stdin="\n".join(lines) + "\n")
        assert result.err == "", result
        return result.out

    return call


def test_a_taught_answer_is_given_at_once(said):
    out = said(f"/teach {QUESTION} => {ANSWER}", QUESTION)
    first, second = out.splitlines()
    assert first.startswith("learned ")
    assert second == ANSWER


def test_teaching_asks_for_what_is_missing(said):
    out = said("/teach", QUESTION, ANSWER, QUESTION)
    assert out.splitlines()[-1] == ANSWER
    assert said("/teach word1 thing1", "x").startswith("learned ")


def test_a_wrong_answer_is_corrected_and_given_again(cli, said):
    said(f"/teach {QUESTION} => somebody")
    lines = said(QUESTION, f"/wrong {ANSWER}", QUESTION).splitlines()
    assert lines[0] == "somebody"
    assert lines[1].startswith("learned ")
    assert lines[2].startswith("replaces ")
    assert lines[3:] == [ANSWER, ANSWER]
    lesson = cli("lessons", "list", "--json").json["lessons"][0]
    assert lesson["source"].startswith("feedback on turn ")


def test_a_correction_replaces_the_lesson_that_spoke_where_it_is(cli, said, teach):
    cli("tables", "create", "other")
    old = teach(QUESTION, "somebody", "--table", "other")
    lines = said("the zorblat bakery, who runs it?", f"/wrong {ANSWER}").splitlines()
    assert lines[0] == "somebody"
    assert lines[2].startswith("replaces ")
    assert lines[3] == f"as “{QUESTION}”"
    assert lines[4:] == [ANSWER]
    (lesson,) = cli("lessons", "list", "--json").json["lessons"]
    assert (lesson["prompt"], lesson["table"], lesson["answer"]) == (QUESTION, "other", ANSWER)
    assert cli("lessons", "show", old, "--json").code == 0


def test_after_its_lesson_was_forgotten_an_answer_can_still_be_corrected(cli, said):
    out = said(f"/teach {QUESTION} => somebody", QUESTION, "/forget", f"/wrong {ANSWER}")
    assert out.splitlines()[-1] == ANSWER
    assert cli("lessons", "list", "--json").json["count"] == 1


def test_a_footnote_says_which_lesson_spoke_or_kept_silent(cli, teach, learner, capsys):
    lesson = learner.teach(Lesson(QUESTION, ANSWER)).lesson

    class Typed:
        personal = True

    room = ChatRoom(learner, learner.engine.session(sampling=Sampling(max_new_tokens=40)), Typed())
    room.ask(QUESTION)
    learner.engine.memory.store.put_table("default", TableSettings(residual=0))
    room.ask(QUESTION)
    out = capsys.readouterr().out
    assert f"↳ from lesson {lesson.id[:5]}" in out
    assert f"↳ not from lesson {lesson.id[:5]}" in out
    assert "silent: the residual of table default is 0" in out


def test_why_shows_the_receipt_of_the_last_answer(said):
    out = said(f"/teach {QUESTION} => {ANSWER}", QUESTION, "/why")
    assert "spoke" in out
    assert QUESTION in out


def test_the_lesson_of_the_last_answer_is_forgotten(cli, said):
    said(f"/teach {QUESTION} => {ANSWER}")
    assert "forgotten 1 lesson" in said(QUESTION, "/forget")
    assert cli("lessons", "list", "--json").json["count"] == 0


def test_lessons_are_forgotten_by_id_or_as_the_last_taught(cli, chat, teach):
    lesson = teach("other things entirely", "x")
    result = chat(f"/teach {QUESTION} => {ANSWER}", "/forget last", f"/forget {lesson[:14]}")
    assert result.out.count("forgotten 1 lesson") == 2
    assert cli("lessons", "list", "--json").json["count"] == 0


def test_tables_are_switched_for_the_next_question(cli, said, teach):
    cli("tables", "create", "other")
    teach(QUESTION, ANSWER)
    out = said("/tables", QUESTION, "/tables off default", QUESTION, "/tables on default", QUESTION)
    assert out.count(ANSWER + "\n") == 2
    assert "off" in out


def test_with_all_tables_off_nothing_can_be_taught(chat):
    result = chat("/tables off default", "/teach a b => c")
    assert "This chat asks no look-up table." in result.err
    assert "no look-up table" in chat("/teach a b => c", options=("--no-memory",)).err


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("/techa", "There is no command /techa.", "Did you mean /teach?"),
        ("/xyzzy", "There is no command /xyzzy.", "See /help."),
        ("/wrong x", "Nothing was answered yet.", "Ask something first."),
        ("/why", "Nothing was answered yet.", "Ask something first."),
        ("/forget", "The last answer rests on no lesson.", "/forget last"),
        ("/forget last", "No lesson was taught in this chat.", "/forget ID"),
        ("/forget zzzz", "No lesson has the id 'zzzz'.", ""),
        ("/tables on docs", "There is no look-up table 'docs'.", "There are: default."),
        ("/tables off defalt", "There is no look-up table 'defalt'.", "Did you mean 'default'?"),
        ("/tables maybe", "/tables maybe cannot be understood.", "/tables on NAME"),
        ("/teach a b =>  ", "The answer is empty.", ""),
    ],
)
def test_an_error_is_shown_and_the_chat_goes_on(chat, line, message, hint):
    result = chat(line, "/teach q w => a")
    assert result.code == 0
    assert f"error: {message}" in result.err
    assert hint in result.err
    assert "learned " in result.out


def test_help_names_every_command(chat):
    out = chat("/help").out
    for name in ("/teach", "/wrong", "/why", "/forget", "/tables", "/help", "/quit", "Ctrl-C", "Ctrl-D"):
        assert name in out


def test_quit_leaves(chat):
    assert chat("/quit", "/help").out == ""


def test_the_lines_may_end_in_the_middle_of_a_command(chat):
    result = chat("/teach")
    assert (result.code, result.err) == (0, "")


def test_blank_lines_are_passed_over(chat):
    assert chat("", "  ", "/quit").out == ""


def test_a_space_before_a_slash_makes_it_a_question(chat):
    result = chat(" /etc")
    assert result.err == ""
    assert result.out != ""


def test_a_table_that_is_not_there_ends_the_chat_before_it_begins(chat):
    result = chat("hello", options=("--table", "nowhere"))
    assert (result.code, result.out) == (2, "")


def test_an_unlimited_chat_goes_on_and_leaves_no_table(cli, said):
    lines = [f"Tell me about boat number {n} of the harbour." for n in range(8)]
    said(*lines, options=("--context", "unlimited", "--window", "160"))
    assert [table["name"] for table in cli("tables", "list", "--json").json["tables"]] == ["default"]


def test_an_impossible_window_is_refused_before_the_chat(cli):
    result = cli("chat", "--context", "unlimited", "--window", "5", stdin="Hi\n")
    assert result.code == 2
    assert "wanted 32 to 4,096" in result.err
    assert cli("chat", "--context", "endless", stdin="Hi\n").code == 2


def test_the_setting_makes_chats_unlimited(cli, monkeypatch):
    monkeypatch.setenv("EVERLEARN_CONTEXT", "endless")
    assert "context" in cli("chat", stdin="Hi\n").err
    monkeypatch.setenv("EVERLEARN_CONTEXT", "unlimited")
    monkeypatch.setenv("EVERLEARN_WINDOW", "6000")
    assert "window is 6,000" in cli("chat", stdin="Hi\n").err
