"""Ways to learn a stream of tasks one after another, over the same base and with the same number of updates."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.corpus.task_streams import Case, Task
from everlearn.learning.examples import Encoded, Example, encoded
from everlearn.learning.fisher import Anchor, first_anchor, fisher
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.scoring import exact_answers
from everlearn.learning.tensor_files import load_tensors, save_tensors
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.weights import AdapterWeights, FullWeights, TrainableWeights, copied, put_back
from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters
from everlearn.specialists.router import SpecialistRouter
from everlearn.specialists.settings import AdapterSettings
from everlearn.specialists.shelf import AdapterShelf
from everlearn.text.chat import ChatText

Features = Callable[[Sequence[str]], NDArray[np.float32]]
Progress = Callable[[int, int], None]
METHODS = ("sequential_lora", "sequential_full", "replay", "ewc", "replay_ewc", "adapters_router", "joint")
_ONE = "stream"


@final
@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How every method learns.

    Attributes:
        training: of each task; replay and pull are set by the method. What is learned is scored in its precision, too.
        adapter: shape of adapters.
        full_rate: learning rate where all weights are trained.
        strength: of EWC, in the methods that have it.
        decay: of old Fisher information.
        kept: examples of each task that replay keeps.
        fisher_examples: examples of a task that its Fisher information is taken from.
        most_tokens: longer prompts lose their middle.
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    full_rate: float = 2e-5
    strength: float = 1.0
    decay: float = 0.9
    kept: int = 50
    fisher_examples: int = 64
    most_tokens: int = 512


@final
@dataclass(frozen=True, slots=True)
class Bench:
    """What methods work on.

    Attributes:
        model: the base model; adapters of earlier methods are off.
        text: its tokenizer.
        features: sentence embeddings [N, K] of prompts, for the router.
        fresh: loads the base model once more in float32, for training all its weights.
    """

    model: BaseModel
    text: ChatText
    features: Features
    fresh: Callable[[], BaseModel]


class StreamMethod(Protocol):
    """A way to learn a stream."""

    def learn(self, task: Task, earlier: Sequence[Task], folder: Path, progress: Progress | None) -> None:
        """Learn the next task; `folder` keeps its training while it runs."""
        ...

    def score(self, task: Task) -> float:
        """Share of the task's test cases that are answered exactly, in per cent."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned."""
        ...

    def load(self, folder: Path) -> None:
        """Go back to what `save` wrote."""
        ...

    def close(self) -> None:
        """Take everything off the model again."""
        ...


def method_of(name: str, bench: Bench, settings: StreamSettings, seed: int, folder: Path) -> StreamMethod:
    """A method by its name, before it has learned anything."""
    assert name in METHODS, name
    if name == "adapters_router":
        return AdapterPerTask(bench, settings, seed, folder)
    replay, ewc = name in {"replay", "replay_ewc"}, name in {"ewc", "replay_ewc"}
    return OneSetOfWeights(bench, settings, seed, folder, full=name == "sequential_full", replay=replay, ewc=ewc)


@final
class OneSetOfWeights:
    """One adapter, or all weights, trained on task after task; with or without replay and EWC."""

    def __init__(
        self, bench: Bench, settings: StreamSettings, seed: int, folder: Path, *, full: bool, replay: bool, ewc: bool
    ) -> None:
        self._bench, self._settings, self._seed = bench, settings, seed
        self._full, self._replay, self._ewc = full, replay, ewc
        self._anchor: Anchor | None = None
        self._adapters: Adapters | None = None
        self._weights: TrainableWeights
        if full:
            self._weights = FullWeights(bench.fresh())
        else:
            self._adapters = Adapters(bench.model, AdapterShelf(folder / "adapters"))
            self._adapters.create(_ONE, settings.adapter, seed=seed)
            self._weights = AdapterWeights(self._adapters, _ONE)

    def learn(self, task: Task, earlier: Sequence[Task], folder: Path, progress: Progress | None) -> None:
        """Train on the task, with a part of the earlier ones where there is replay."""
        buffer = ReplayBuffer(None, seed=self._seed)
        if self._replay:
            for old in earlier:
                buffer.add(kept_of(old, self._settings.kept, self._seed))
        training = training_of(
            self._settings,
            seed=self._seed,
            rate=self._settings.full_rate if self._full else self._settings.training.rate,
            strength=self._settings.strength if self._ewc else 0.0,
        )
        trainer = Trainer(self._weights, self._bench.text, training, replay=buffer, anchor=self._anchor, folder=folder)
        trainer.train([example_of(c, task.name) for c in task.train], progress=progress)
        if self._ewc:
            rows = rows_of(task.train[: self._settings.fisher_examples], self._bench.text, self._settings)
            found = fisher(self._weights, rows)
            old_anchor, decay = self._anchor, self._settings.decay
            self._anchor = (
                old_anchor.then(self._weights, found, decay=decay) if old_anchor else first_anchor(self._weights, found)
            )

    def score(self, task: Task) -> float:
        """Ask all test cases."""
        rows = rows_of(task.test, self._bench.text, self._settings)
        worn = [_ONE] * len(rows) if self._adapters is not None else []
        with self._settings.training.computing(self._weights.model.device):
            right = exact_answers(self._weights.model, rows, adapters=self._adapters, worn=worn)
        return 100.0 * sum(right) / len(right)

    def save(self, folder: Path) -> None:
        """Weights and anchor."""
        weights = {n: t.cpu().contiguous() for n, t in copied(self._weights.parameters()).items()}
        save_tensors(folder / "weights.safetensors", weights)
        if self._anchor is not None:
            self._anchor.save(folder / "anchor.safetensors")

    def load(self, folder: Path) -> None:
        """Weights and anchor."""
        put_back(self._weights.parameters(), load_tensors(folder / "weights.safetensors")[0])
        if self._ewc:
            self._anchor = Anchor.load(folder / "anchor.safetensors")

    def close(self) -> None:
        """Take the adapter off."""
        if self._adapters is not None:
            self._adapters.unload(_ONE)


@final
class AdapterPerTask:
    """One adapter a task, and the closed-form router that says which of them answers; it is told no task."""

    def __init__(self, bench: Bench, settings: StreamSettings, seed: int, folder: Path) -> None:
        self._bench, self._settings, self._seed = bench, settings, seed
        self._adapters = Adapters(bench.model, AdapterShelf(folder / "adapters"))
        self._router: SpecialistRouter | None = None

    def learn(self, task: Task, earlier: Sequence[Task], folder: Path, progress: Progress | None) -> None:
        """A new adapter for the task, and its prompts for the router."""
        del earlier  # nothing of them is touched or needed
        self._adapters.create(task.name, self._settings.adapter, seed=self._seed)
        training = training_of(self._settings, seed=self._seed, rate=self._settings.training.rate, strength=0.0)
        trainer = Trainer(AdapterWeights(self._adapters, task.name), self._bench.text, training, folder=folder)
        trainer.train([example_of(c, task.name) for c in task.train], progress=progress)
        self._learn_route(task)

    def score(self, task: Task) -> float:
        """Route each test case by itself and ask it; where the router abstains the bare base answers."""
        rows = rows_of(task.test, self._bench.text, self._settings)
        assert self._router is not None
        routes = self._router.route(self._bench.features([c.prompt for c in task.test]))
        with self._settings.training.computing(self._bench.model.device):
            right = exact_answers(self._bench.model, rows, adapters=self._adapters, worn=[r.domain for r in routes])
        return 100.0 * sum(right) / len(right)

    def save(self, folder: Path) -> None:
        """All adapters; what the router knows is made again from the tasks."""
        for name in self._adapters.loaded:
            save_tensors(folder / f"{name}.safetensors", self._adapters.state(name))

    def load(self, folder: Path) -> None:
        """All adapters."""
        for path in sorted(folder.glob("*.safetensors")):
            self._adapters.create(path.stem, self._settings.adapter, seed=self._seed)
            self._adapters.restore(path.stem, load_tensors(path)[0])

    def know(self, tasks: Sequence[Task]) -> None:
        """Learn the routes of tasks whose adapters were loaded."""
        for task in tasks:
            self._learn_route(task)

    def close(self) -> None:
        """Take all adapters off."""
        for name in self._adapters.loaded:
            self._adapters.unload(name)

    def _learn_route(self, task: Task) -> None:
        features = self._bench.features([c.prompt for c in task.train])
        if self._router is None:
            self._router = SpecialistRouter(features.shape[1])
        self._router.learn(task.name, [c.source for c in task.train], features)


def example_of(case: Case, domain: str) -> Example:
    """A case as something to train on."""
    return Example(case.prompt, case.answer, domain, source=case.source)


def kept_of(task: Task, most: int, seed: int) -> list[Example]:
    """The part of a task that replay keeps, drawn by the seed."""
    cases = random.Random(f"{seed}/kept/{task.name}").sample(list(task.train), min(most, len(task.train)))
    return [example_of(case, task.name) for case in cases]


def rows_of(cases: Sequence[Case], text: ChatText, settings: StreamSettings) -> list[Encoded]:
    """Cases as token ids."""
    return [encoded(text, example_of(case, ""), most=settings.most_tokens) for case in cases]


def training_of(settings: StreamSettings, *, seed: int, rate: float, strength: float) -> TrainingSettings:
    """The training of one task under a method."""
    return TrainingSettings(**{**settings.training.to_dict(), "seed": seed, "rate": rate, "strength": strength})
