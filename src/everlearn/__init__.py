"""everlearn: a language model that keeps learning after it is deployed.

engine = everlearn.load()
learner = everlearn.Learner(engine)
learner.teach(everlearn.Lesson("Who runs the Zorblat bakery?", "Mirela Quandt"))
engine.answer("The Zorblat bakery is run by whom?").text
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from everlearn.errors import EverlearnError
from everlearn.records import Answer, Feedback, Forgotten, Lesson, Message, Receipt, Sampling, TableSettings, Taught

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.engine.session import Session
    from everlearn.learning.learner import Learner
    from everlearn.memory.table import LookupTable
    from everlearn.wiring import load

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Engine",
    "EverlearnError",
    "Feedback",
    "Forgotten",
    "Learner",
    "Lesson",
    "LookupTable",
    "Message",
    "Receipt",
    "Sampling",
    "Session",
    "TableSettings",
    "Taught",
    "load",
]

# Names that need torch are looked up at first use, so that `import everlearn` stays quick (docs/decisions/0005).
_LATER = {
    "Engine": "everlearn.engine.engine",
    "Learner": "everlearn.learning.learner",
    "LookupTable": "everlearn.memory.table",
    "Session": "everlearn.engine.session",
    "load": "everlearn.wiring",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _LATER:
        raise AttributeError(f"module 'everlearn' has no attribute {name!r}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: see wiring.wait_passively
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
