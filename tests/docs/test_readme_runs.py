"""The README's code is run, on the real model."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from conftest import WEIGHTS_HOME
from everlearn.cli.main import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# Blocks marked "text" need files of the reader.
SHELL = re.findall(r"^(everlearn .*)$", "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)), re.MULTILINE)

pytestmark = pytest.mark.model


@pytest.fixture
def home_with_weights(real_parts, tmp_path, monkeypatch):
    """A new home that finds the weights of the shared one (which `real_parts` has fetched)."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(WEIGHTS_HOME / "models", target_is_directory=True)
    monkeypatch.setenv("EVERLEARN_HOME", str(home))
    return home


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_print_what_their_comments_say(code, home_with_weights, capsys):
    scope: dict = {}
    exec(compile(code, "README.md", "exec"), scope)
    printed = capsys.readouterr().out.splitlines()
    wanted = re.findall(r"print\(.*?\)\s+# (.*)", code)
    assert printed[0] == wanted[0]
    assert printed[1] == scope["taught"].lesson.id
    scope["learner"].close()
    scope["engine"].close()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_run(example, home_with_weights, capsys):
    runpy.run_path(str(example), run_name="__main__")
    said = dict(re.findall(r"^(before|taught|corrected|forgotten): *(.+)$", capsys.readouterr().out, re.MULTILINE))
    assert said["taught"].split()[0] == "4471"
    assert said["corrected"].strip() == "9020"
    assert said["forgotten"].split()[0] == "4471"
    assert "4471" not in said["before"]
    assert not (home_with_weights / "lessons.db").exists()


def test_shell_lines_run_one_after_another(home_with_weights, capsys):
    assert len(SHELL) >= 8
    for line in SHELL:
        with pytest.raises(SystemExit) as ended:
            run(shlex.split(line)[1:])
        assert ended.value.code == 0, (line, capsys.readouterr())
    out = capsys.readouterr().out
    assert "Mirela Quandt" in out
    assert "Olaf Brandt" in out
    assert "support" in out
