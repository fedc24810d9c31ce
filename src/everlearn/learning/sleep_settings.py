"""How a sleep goes, and what a candidate has to reach."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, final

from everlearn.errors import SettingsError
from everlearn.evaluation.acceptance import AcceptanceLimits
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.training_settings import TrainingSettings
from everlearn.specialists.settings import AdapterSettings


def _training() -> TrainingSettings:
    return TrainingSettings(epochs=6, rate=4e-3, strength=1.0)


def _shape() -> AdapterSettings:
    return AdapterSettings(rank=8, alpha=16.0, frozen_blocks=0.5)


@final
@dataclass(frozen=True, slots=True)
class SleepSettings:
    """Settings of a sleep. The defaults are those that passed on 20 facts on SmolLM2-135M (docs/log.md, 2026-11-25).

    Attributes:
        training: of the candidate; its seed also draws the adapter's first weights.
        adapter: shape of the candidate.
        limits: what it has to reach.
        wordings: of each lesson, to train on.
        general: unrelated prompts; every second one is trained on with the base model's own answers, the others probe.
        general_share: examples of the former for each example of a lesson, at least 200 as far as they go, since few
            lessons lead away from the base as well; 0 = none.
        hold: how much an example of the former counts, where one of a lesson counts 1.
        null_space: share of the directions of each layer's inputs that a candidate may read, those that the unrelated
            prompts use least; 1 = all of them.
        shrink: whether a candidate is scaled to the least strength that still answers what it was trained on.
        fisher_examples: examples that the Fisher information is taken from.
        kept_wordings: examples of each lesson that replay keeps.
        fresh: train from nothing on all lessons, instead of going on from the version in use on the new ones.
    """

    training: TrainingSettings = field(default_factory=_training)
    adapter: AdapterSettings = field(default_factory=_shape)
    limits: AcceptanceLimits = field(default_factory=AcceptanceLimits)
    wordings: int = 4
    general: int = 400
    general_share: float = 1.0
    hold: float = 4.0
    null_space: float = 0.5
    shrink: bool = True
    fisher_examples: int = 64
    kept_wordings: int = 2
    fresh: bool = False

    def changed(self, *, rank: int | None = None, **values: Any) -> SleepSettings:  # noqa: ANN401
        """The same settings with some others, checked; None = as they are.

        Args:
            rank: of the adapter; its alpha is twice that.
            **values: fields of these settings, or of `training`.

        Raises:
            SettingsError: one is out of its range.
        """
        given = {name: value for name, value in values.items() if value is not None}
        mine = {name: given.pop(name) for name in {f.name for f in fields(self)} & set(given)}
        shape = self.adapter if rank is None else replace(self.adapter, rank=rank, alpha=2.0 * rank)
        return replace(self, adapter=shape, training=replace(self.training, **given), **mine).checked()

    def checked(self) -> SleepSettings:
        """These settings.

        Raises:
            SettingsError: one is out of its range.
        """
        self.training.checked()
        most = len(general_prompts())
        if not 4 <= self.general <= most:
            raise SettingsError(f"general is {self.general}.", hint=f"Wanted: 4 to {most} unrelated prompts.")
        if self.wordings < 1 or self.kept_wordings < 1 or self.general_share < 0 or self.fisher_examples < 1:
            raise SettingsError(
                f"wordings is {self.wordings}, kept_wordings {self.kept_wordings}, general_share "
                f"{self.general_share:g}, fisher_examples {self.fisher_examples}.",
                hint="Wanted: 1 or more, 1 or more, 0 or more, 1 or more.",
            )
        if not 0 < self.null_space <= 1 or self.hold <= 0:
            raise SettingsError(
                f"null_space is {self.null_space:g}, hold {self.hold:g}.", hint="Wanted: above 0, at most 1; above 0."
            )
        return self
