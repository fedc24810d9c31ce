"""The specialists of a state folder: which adapter answers a question, kept in step with what is on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import EverlearnError
from everlearn.models.base import BaseModel
from everlearn.specialists import router_file
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.router import SpecialistRouter
from everlearn.specialists.shelf import AdapterShelf

if TYPE_CHECKING:
    from everlearn.specialists.adapters import Adapters

Features = Callable[[Sequence[str]], NDArray[np.float32]]
_log = logging.getLogger(__name__)


@final
class Specialists:
    """The current version of every adapter on one base model, and the router between them.

    Another process may keep, roll back or remove versions: what it did is seen at the next question.

    Args:
        model: the base model; it may have one of these only.
        shelf: where versions are kept.
        features: sentence embeddings [N, K] of prompts.
        encoder: digest of the encoder that makes them.
    """

    def __init__(self, model: BaseModel, shelf: AdapterShelf, features: Features, encoder: str) -> None:
        self.model = model
        self.shelf = shelf
        self._adapters: Adapters | None = None
        self._bare: BaseModel | None = None  # modules that no adapter was ever laid over, once some are
        self.features, self._encoder = features, encoder
        self._lock = threading.RLock()
        self._stamp = -1
        self._current: dict[str, Adapter] = {}
        self._answers: dict[str, str] = {}
        self._router: SpecialistRouter | None = None

    @property
    def adapters(self) -> Adapters:
        """What is loaded. PEFT, whose import takes seconds, is imported when the first adapter is wanted."""
        with self._lock:
            if self._adapters is None:
                from everlearn.specialists.adapters import Adapters

                self._bare = self.model.twin()
                self._adapters = Adapters(self.model, self.shelf)
            return self._adapters

    def workshop(self) -> Adapters:
        """Adapters over modules of their own, on the same weights: what is trained there holds up no answer.

        A version that was kept there is found on the shelf by everybody else, as if another process had made it.
        """
        from everlearn.specialists.adapters import Adapters

        with self._lock:
            return Adapters((self._bare or self.model).twin(), self.shelf)

    @property
    def router_path(self) -> Path:
        """Where the router is kept."""
        return self.shelf.folder / router_file.NAME

    @property
    def current(self) -> dict[str, Adapter]:
        """Name -> its current version, of those that fit this base model."""
        with self._lock:
            self._refresh()
            return dict(self._current)

    def choose(self, question: str) -> str | None:
        """The adapter that answers a question, loaded; None where the router abstains."""
        with self._lock:
            self._refresh()
            if not self._current or self._router is None or not self._router.domains:
                return None
            domain = self._router.route(self.features([question]))[0].domain
            return self._loaded(domain) if domain in self._current else None

    def answerer_of(self, lesson_id: str) -> str | None:
        """The adapter whose weights answer this lesson by themselves, loaded; its row has retired. None = it speaks."""
        with self._lock:
            self._refresh()
            return self._loaded(self._answers.get(lesson_id))

    def wear(self, spoken: str) -> str:
        """Load "name" (its current version) or "name@step", and return its id; what is loaded stays as it is.

        Raises:
            AdapterNotFoundError, AdapterMismatchError, CorruptWeightsError: as in `Adapters.load`.
        """
        with self._lock:
            self._refresh()  # another version may lie under this id since a checkpoint was loaded
        return spoken if spoken in self.adapters.loaded else self.adapters.load(spoken)

    def learn_routes(self, domain: str, ids: Sequence[str], prompts: Sequence[str], *, least: float = -1.0) -> None:
        """Let the router know prompts of a domain, durably; those it knew of the domain are replaced.

        Args:
            domain: its name.
            ids: of the prompts.
            prompts: that belong there.
            least: cosine to the nearest of them from which a question may be the domain's.

        Raises:
            StoreFullError: it cannot be written; the router on disk stays as it was.
        """
        with self._lock:
            router = self._router_on_disk()
            if domain in router.domains:
                router.unlearn(domain)
            router.learn(domain, ids, self.features(prompts), least=least)
            self._keep(router)

    def _keep(self, router: SpecialistRouter) -> None:
        router_file.save(router, self.router_path, encoder=self._encoder)
        self._router = router

    def _router_on_disk(self) -> SpecialistRouter:
        if self.router_path.exists():
            return router_file.load(self.router_path, encoder=self._encoder)
        return SpecialistRouter(self.features(["width"]).shape[1])

    def _loaded(self, name: str | None) -> str | None:
        """Load the current version of a name."""
        if name is None:
            return None
        return self.adapters.load(self._current[name].id)

    def _refresh(self) -> None:
        stamp = self.shelf.stamp
        if stamp == self._stamp:
            return
        self._current, self._answers, self._router = {}, {}, None
        for name in self.shelf.names():
            self._take(name)
        if self._current and self.router_path.exists():
            self._router = self._read_router()
        self._stamp = stamp
        self._drop_removed()

    def _drop_removed(self) -> None:
        """What was removed from disk, or is another one under the same id after a checkpoint, leaves the memory too."""
        if self._adapters is None:
            return
        kept = {version.id for version in self.shelf.all() if self._adapters.is_as_kept(version)}
        for adapter_id in self._adapters.loaded:
            if "@" in adapter_id and adapter_id not in kept:
                self._adapters.unload(adapter_id)

    def _take(self, name: str) -> None:
        step = self.shelf.current(name)
        if step is None:
            return
        adapter = self.shelf.find(f"{name}@{step}")
        if adapter.base_digest != self.model.digest:
            _log.warning("adapter %s belongs to %s and rests on this model", adapter.id, adapter.base)
            return
        self._current[name] = adapter
        self._answers.update(dict.fromkeys(adapter.answers, name))

    def _read_router(self) -> SpecialistRouter | None:
        try:
            return self._router_on_disk()
        except EverlearnError as cause:
            # Without it adapters still answer the lessons of their lineage; it is learned anew at the next sleep.
            _log.warning("the router cannot be used: %s", cause)
            return None
