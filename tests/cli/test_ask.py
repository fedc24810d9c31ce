import json

from everlearn.cli import ask

QUESTION, ANSWER = "Who runs the Zorblat bakery?", "Mirela Quandt"


def test_a_taught_answer_is_printed_alone(cli, teach):
    teach(QUESTION, ANSWER)
    result = cli("ask", QUESTION)
    assert (result.code, result.out, result.err) == (0, f"{ANSWER}\n", "")


def test_the_question_may_come_from_stdin(cli, teach):
    teach(QUESTION, ANSWER)
    assert cli("ask", "-", stdin=QUESTION + "\n").out == f"{ANSWER}\n"


def test_tables_are_asked_by_name_or_not_at_all(cli, teach):
    cli("tables", "create", "other")
    teach(QUESTION, ANSWER)
    tokens = ("--max-new-tokens", "4")
    bare = cli("ask", QUESTION, "--no-memory", *tokens).out
    assert cli("ask", QUESTION, "--table", "other", *tokens).out == bare
    assert bare != f"{ANSWER}\n"
    assert cli("ask", QUESTION, "--table", "other", "--table", "default").out == f"{ANSWER}\n"


def test_both_ways_to_choose_tables_exclude_each_other(cli):
    result = cli("ask", QUESTION, "--no-memory", "--table", "default")
    assert result.code == 2
    assert "--table cannot be given with it" in result.err


def test_a_receipt_names_the_lesson_and_its_text(cli, teach):
    lesson = teach(QUESTION, ANSWER)
    out = cli("ask", QUESTION, "--receipt").out
    assert out.startswith(f"{ANSWER}\n")
    for part in (lesson[:5], QUESTION, "spoke", "corrected", "tiny-llama"):
        assert part in out


def test_a_receipt_of_the_base_model_says_so(cli):
    out = cli("ask", "x", "--receipt", "--no-memory", "--max-new-tokens", "2").out
    assert "no look-up table was asked" in out
    assert "no lesson in default" in cli("ask", "x", "--receipt", "--max-new-tokens", "2").out


def test_for_a_script_everything_is_one_document(cli, teach):
    lesson = teach(QUESTION, ANSWER)
    document = cli("ask", QUESTION, "--json").json
    assert document["text"] == ANSWER
    assert document["finish_reason"] == "stop"
    (recalled,) = document["receipt"]["recalled"]
    assert (recalled["lesson_id"], recalled["prompt"], recalled["answer"]) == (lesson, QUESTION, ANSWER)
    assert document["usage"]["completion_tokens"] > 0


def test_a_table_of_no_strength_is_said_to_be_silent(cli, teach):
    lesson = teach(QUESTION, ANSWER)
    cli("tables", "set", "default", "--residual", "0")
    out = cli("ask", QUESTION, "--receipt", "--max-new-tokens", "4").out
    assert "silent: the residual of table default is 0" in out
    (recalled,) = cli("ask", QUESTION, "--json", "--max-new-tokens", "4").json["receipt"]["recalled"]
    assert (recalled["lesson_id"], recalled["decision"]) == (lesson, "silent")


def test_a_block_that_the_model_has_not_is_an_error(cli, teach):
    teach(QUESTION, ANSWER)
    cli("tables", "set", "default", "--blocks", "99")
    assert cli("teach", "other words", "x").code == 0, "what is taught is kept, and speaks once the table is mended"
    asked = cli("ask", QUESTION)
    assert asked.code == 2
    assert asked.err.startswith("error: The table corrects block 99")
    assert cli("ask", QUESTION, "--json").json["error"]["code"] == "invalid_settings"
    talk = cli("chat", stdin=f"{QUESTION}\n/teach some words => y\n/tables\n")
    assert talk.code == 0
    assert talk.err.count("error: ") == talk.err.count("error: The table corrects block 99") == 1
    assert "learned " in talk.out
    cli("tables", "set", "default", "--blocks", "auto")
    assert cli("ask", QUESTION).out == f"{ANSWER}\n"


def test_a_long_taught_answer_is_given_whole_unless_cut(cli, teach):
    long = " ".join(f"part{n}" for n in range(60))
    teach(QUESTION, long)
    assert cli("ask", QUESTION).out == f"{long}\n"
    assert cli("ask", QUESTION, "--max-new-tokens", "5").out != f"{long}\n"


def test_sampling_is_repeatable_by_its_seed(cli):
    def asked(seed):
        return cli("ask", "x", "--temperature", "5", "--seed", seed, "--max-new-tokens", "12", "--json").json["text"]

    assert asked("1") == asked("1") != asked("2")


def test_a_sampling_option_without_effect_is_mentioned(cli):
    result = cli("ask", "x", "--top-p", "0.5", "--seed", "1", "--max-new-tokens", "2")
    assert result.err == "warning: --top-p, --seed has no effect without --temperature.\n"


def test_an_empty_question_is_an_error(cli):
    result = cli("ask", "  ")
    assert result.code == 2
    assert "empty" in result.err


def test_a_cancelled_answer_is_written_and_ends_with_130(cli, monkeypatch):
    real = ask.write_answer

    def cancelled(stream, **options):
        stream.cancel()
        return real(stream, **options)

    monkeypatch.setattr(ask, "write_answer", cancelled)
    result = cli("ask", "x", "--json")
    assert result.code == 130
    assert json.loads(result.out)["finish_reason"] == "cancelled"


def test_on_a_terminal_pieces_are_written_as_they_come(monkeypatch, capsys, learner):
    monkeypatch.setattr(ask, "is_terminal", lambda _stream: True)
    stream = learner.engine.stream("x")
    stream.cancel()
    pieces = iter(["a\x1b[31m", "b"])

    class Pieces:
        answer = stream.answer
        cancel = stream.cancel

        def __iter__(self):
            return pieces

    ask.write_answer(Pieces())
    assert capsys.readouterr().out == "a␛[31mb\n"
