"""The whole program, called as from a shell, on the toy model: only the weights are replaced."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from everlearn import wiring
from everlearn.cli.main import run


@dataclass(frozen=True)
class Result:
    """What a command left: exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class TerminalText(io.StringIO):
    """Standard input or output of a person."""

    def isatty(self) -> bool:
        return True


Run = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: wiring.Parts) -> Run:
    """Run a command line. `stdin`: text of standard input; `typed`: the same from a person at a terminal."""
    monkeypatch.setattr(wiring, "load_parts", lambda settings, progress=None: parts)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*args: str, stdin: str = "", typed: str | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin) if typed is None else TerminalText(typed))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            run(list(args))
        caught = capsys.readouterr()
        return Result(int(left.value.code or 0), caught.out, caught.err)

    return call


@pytest.fixture
def teach(cli: Run) -> Callable[..., str]:
    """Teach a pair and get the id of its lesson."""

    def call(question: str, answer: str, *options: str) -> str:
        result = cli("teach", question, answer, "--json", *options)
        assert result.code == 0, result
        return str(result.json["id"])

    return call
