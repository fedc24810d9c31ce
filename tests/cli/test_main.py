import os
import subprocess
import sys

import pytest

from everlearn import __version__
from everlearn.cli import main
from everlearn.cli.errors import usage_hint, wants_json

PROGRAM = [sys.executable, "-c", "from everlearn.cli.main import run; run()"]


def test_the_version_is_printed(cli):
    assert cli("--version").out == f"everlearn {__version__}\n"


def test_an_error_is_a_message_and_a_hint_on_stderr(cli):
    result = cli("tables", "set", "defalt", "--residual", "1")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: There is no look-up table 'defalt'.\nhint:  Did you mean 'default'?\n"


def test_for_a_script_an_error_is_one_document_on_stdout(cli):
    result = cli("tables", "set", "defalt", "--residual", "1", "--json")
    assert (result.code, result.err) == (2, "")
    assert result.json == {
        "error": {
            "code": "table_not_found",
            "message": "There is no look-up table 'defalt'.",
            "hint": "Did you mean 'default'?",
        }
    }


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["ask"], "Missing argument", "See: everlearn ask --help"),
        (["lessons", "list", "--limit", "0"], "--limit", "See: everlearn lessons list --help"),
        (["ask", "--home", "x", "y"], "No such option: --home", "--home stands before the command"),
        (
            ["teach", "a"],
            "Wanted: a QUESTION and an ANSWER, a FILE, a FOLDER, or - for standard input.",
            "See: everlearn teach --help",
        ),
        (["tech", "a"], "tech", "--help"),
    ],
)
def test_a_wrong_command_line_is_explained(cli, args, message, hint):
    result = cli(*args)
    assert result.code == 2
    assert message in result.err
    assert hint in result.err
    assert "Traceback" not in result.err


def test_a_wrong_command_line_is_a_document_too(cli):
    assert cli("ask", "--json").json["error"]["code"] == "usage"


@pytest.mark.parametrize("args", [[], ["lessons"], ["tables"], ["bench"]])
def test_without_a_command_the_help_is_shown(cli, args):
    result = cli(*args)
    assert result.code == 2
    assert "Usage: everlearn" in result.out + result.err
    assert "error" not in result.err


def test_a_wrong_setting_of_the_environment_is_an_error(cli, monkeypatch):
    monkeypatch.setenv("EVERLEARN_MODLE", "x")
    result = cli("tables", "list")
    assert result.code == 2
    assert "MODLE" in result.err


def test_the_home_is_taken_from_the_option_first(cli, tmp_path):
    assert cli("--home", str(tmp_path / "other"), "tables", "create", "t").code == 0
    assert (tmp_path / "other" / "lessons.db").exists()
    assert len(cli("tables", "list").out.splitlines()) == 1


def test_ctrl_c_ends_with_130(cli, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "program", lambda: interrupted)
    result = cli("demo")
    assert (result.code, result.out, result.err) == (130, "", "")


def test_our_own_mistakes_are_not_hidden(monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("ours")

    monkeypatch.setattr(main, "program", lambda: broken)
    with pytest.raises(RuntimeError, match="ours"):
        main.run(["demo"])


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        program = subprocess.run(
            [*PROGRAM, "tables", "list", "--json"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert program.stderr == ""
    assert program.returncode == 1


@pytest.mark.parametrize("args", [["--help"], ["lessons", "list"], ["tables", "list"], ["lessons", "search", "x"]])
def test_no_model_library_is_imported_without_need(args):
    check = (
        "import sys\nfrom everlearn.cli.main import run\n"
        f"try:\n    run({args!r})\nexcept SystemExit as left:\n    assert not left.code\n"
        "slow = {'torch', 'transformers', 'numpy', 'prompt_toolkit'} & set(sys.modules)\nassert not slow, slow"
    )
    program = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert program.returncode == 0, program.stderr


def test_no_adapter_library_is_imported_before_an_adapter_is_wanted():
    check = (
        "import sys\nimport everlearn.engine.engine, everlearn.learning.learner, everlearn.server.app\n"
        "slow = {'peft', 'bitsandbytes', 'gradio'} & set(sys.modules)\nassert not slow, slow"
    )
    program = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert program.returncode == 0, program.stderr


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["ask", "x", "--json"], True),
        (["ask", "x"], False),
        (["ask", "--", "--json"], False),
        (["bench", "editing", "--json", "out.json"], False),
        (["bench", "editing", "--json", "-"], True),
    ],
)
def test_who_reads_the_result(args, wanted):
    assert wants_json(args) is wanted


def test_a_misplaced_option_is_put_in_its_place():
    assert usage_hint("No such option: --model", "everlearn ask") == (
        "--model stands before the command: everlearn --model ... ask"
    )
