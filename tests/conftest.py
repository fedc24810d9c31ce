"""What all tests share: no network, few threads, a home of their own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from everlearn import Learner, wiring
from everlearn.engine.engine import Engine
from toys import toy_engine, toy_learner, toy_parts

WEIGHTS_HOME = Path(
    os.environ.get("EVERLEARN_TEST_HOME") or os.environ.get("EVERLEARN_HOME") or Path.home() / ".everlearn"
)


SLOW_TESTS = Path(__file__).parent / "slow_tests.txt"
SLOW = 0.1  # seconds of a test function, over all its parameters


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--note-slow`: measure which tests `make check` leaves to `make test`."""
    parser.addoption("--note-slow", action="store_true", help=f"write the tests slower than {SLOW} s to {SLOW_TESTS}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that were measured to be slow are marked so: no list of marks has to be kept by hand."""
    slow = set(SLOW_TESTS.read_text(encoding="utf-8").split())
    for item in items:
        if _function(item.nodeid) in slow:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write what was measured, where that is asked for."""
    if not config.getoption("--note-slow"):
        return
    taken: Counter[str] = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if isinstance(report, pytest.TestReport):
            taken[_function(report.nodeid)] += report.duration
    unmeasured = set(SLOW_TESTS.read_text(encoding="utf-8").split()) - taken.keys()
    slow = sorted(unmeasured | {name for name, seconds in taken.items() if seconds > SLOW})
    SLOW_TESTS.write_text("".join(f"{name}\n" for name in slow), encoding="utf-8")
    terminalreporter.write_line(f"{len(slow)} of {len(taken)} test functions take more than {SLOW} s: {SLOW_TESTS}")


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's state and settings."""
    for name in [n for n in os.environ if n.startswith("EVERLEARN_") and not n.startswith("EVERLEARN_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVERLEARN_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def parts() -> wiring.Parts:
    """A tiny Llama with byte tokenizer and toy encoder."""
    return toy_parts()


@pytest.fixture
def engine(parts: wiring.Parts) -> Iterator[Engine]:
    """A toy engine that was never taught."""
    made = toy_engine(parts=parts)
    yield made
    made.close()


@pytest.fixture
def learner(engine: Engine) -> Iterator[Learner]:
    """The learner of `engine`."""
    made = toy_learner(engine)
    yield made
    made.close()


@pytest.fixture(scope="session")
def real_parts() -> wiring.Parts:
    """The real default model; fetched where it is missing (tests marked `model`)."""
    return wiring.load_parts(wiring.load_settings(home=WEIGHTS_HOME))


@pytest.fixture
def real_engine(real_parts: wiring.Parts) -> Iterator[Engine]:
    """A never-taught engine over the real default model."""
    made = toy_engine(parts=real_parts)
    yield made
    made.close()
