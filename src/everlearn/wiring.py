"""Settings -> store, Engine: the only place that names concrete classes.

The rooms that import torch are imported when a model is asked for, so that commands which only read the store start
in a fraction of a second (docs/decisions/0005).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from everlearn.errors import SettingsError
from everlearn.records import Quarantine
from everlearn.settings import Settings, load_settings
from everlearn.store.derived import SqliteDerivedStore
from everlearn.store.port import DerivedStore, LessonStore
from everlearn.store.sqlite import SqliteLessonStore

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.learning.learner import Learner
    from everlearn.memory.key import KeyMaker
    from everlearn.models.base import BaseModel
    from everlearn.server.answering import Answering
    from everlearn.server.room import Room, ServerSettings
    from everlearn.server.traces import Traces
    from everlearn.specialists.specialists import Specialists
    from everlearn.store.audit_log import AuditLog
    from everlearn.store.objects import ObjectStore
    from everlearn.text.chat import ChatText

__all__ = [
    "Parts",
    "Settings",
    "engine_over",
    "load",
    "load_parts",
    "load_settings",
    "open_derived",
    "open_store",
    "server_room",
    "specialists_of",
    "wait_passively",
    "with_studio",
]
Progress = Callable[[str, int, int], None]
App = TypeVar("App")


def open_store(settings: Settings) -> SqliteLessonStore:
    """The durable store of the state folder."""
    return SqliteLessonStore(settings.state_folder / "lessons.db")


def open_derived(settings: Settings) -> DerivedStore:
    """The derived store of the state folder."""
    return SqliteDerivedStore(settings.state_folder / "derived.db")


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for each other. To be called before torch is imported first.

    Threads that spin hold the very core that the late one needs: with two cores and two other busy processes one token
    took 1,048 ms instead of 61 (docs/log.md); on an idle machine there is no difference.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@dataclass(frozen=True, slots=True)
class Parts:
    """What engines can share: a base model with its tokenizer, the maker of keys, and the hops an answer may take."""

    model: BaseModel
    text: ChatText
    keys: KeyMaker
    hops: int = 4


def load_parts(settings: Settings, progress: Progress | None = None) -> Parts:
    """Fetch weights where they are missing, and read them.

    Raises:
        ModelNotFoundError, WeightsError: see their messages.
    """
    wait_passively()
    import torch

    from everlearn.memory.key import KeyMaker
    from everlearn.models.base import BaseModel
    from everlearn.models.encoder import SentenceEncoder
    from everlearn.models.sources import resolve
    from everlearn.text.chat import ChatText

    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    base = resolve(settings.model, settings.home, progress=progress)
    encoder = resolve(settings.encoder, settings.home, progress=progress)
    return Parts(
        BaseModel.from_folder(base, device=settings.device, dtype=settings.dtype),
        ChatText.from_folder(base.folder),
        KeyMaker(SentenceEncoder.from_folder(encoder)),
        settings.hops,
    )


def engine_over(
    parts: Parts,
    store: LessonStore,
    derived: DerivedStore,
    adapters: Path | None = None,
    *,
    quarantine: Quarantine = "on",
) -> Engine:
    """An engine over loaded parts and its own state; several engines may share the parts.

    Args:
        parts: base model, tokenizer, maker of keys.
        store: lessons.
        derived: what is made of them.
        adapters: folder of adapters; only one engine of those that share a base model may have one.
        quarantine: what learners do with lessons that look like poison.
    """
    from everlearn.engine.engine import Engine
    from everlearn.memory.base_knowledge import BaseKnowledge
    from everlearn.memory.chain_score import ChainScore
    from everlearn.memory.gate import Gate
    from everlearn.memory.hops import Hops
    from everlearn.memory.memory import Memory
    from everlearn.memory.values import Corrections

    corrections = Corrections(parts.model, parts.text, derived)
    knowledge = BaseKnowledge(parts.model, parts.text)
    hops = Hops(parts.keys.encoder, parts.keys.rarity, ChainScore.packaged(), knowledge, parts.hops)
    memory = Memory(store, derived, parts.keys, Gate.packaged(), corrections, hops=hops)
    specialists = specialists_of(parts, adapters) if adapters else None
    return Engine(parts.model, parts.text, memory, specialists, quarantine=quarantine)


def server_room(settings: Settings, parts: Parts, how: ServerSettings, traces: Traces | None = None) -> Room:
    """The parts of a server over one base model: tenants share its weights and nothing else.

    Args:
        settings: of the engines.
        parts: what the tenants share.
        how: settings of the server.
        traces: where spans go; None = to a collector, where the settings of the server want them.

    Raises:
        SettingsError: an impossible setting, or something that is not installed.
    """
    from everlearn.engine.courtesy import Courtesy
    from everlearn.learning.learner import Learner
    from everlearn.safety.guard_endpoint import GuardEndpoint, GuardSettings
    from everlearn.safety.screen import Screen
    from everlearn.server.answer_cache import AnswerCache
    from everlearn.server.answering import BatchedAnswering
    from everlearn.server.idempotency import Replies
    from everlearn.server.jobs import Jobs
    from everlearn.server.keys import KeyRing
    from everlearn.server.limits import RateLimits
    from everlearn.server.metrics import Metrics
    from everlearn.server.room import Room
    from everlearn.server.tenants import Tenants
    from everlearn.store.audit_log import AuditLog
    from everlearn.store.objects import ObjectStore

    where = GuardSettings(
        settings.guard_url or "",
        settings.guard_model,
        settings.guard_form,
        settings.guard_key or "",
        settings.guard_timeout,
        settings.guard_unreachable,
    )
    guard = GuardEndpoint(where) if where.url else None
    screen = Screen(parts.keys.vectors, parts.keys.digest, guard)
    screen.check(how.policy)

    answering: Answering = BatchedAnswering(most_waiting=how.most_waiting)
    courtesy = Courtesy(lambda: answering.load().running > 0, how.give_way)
    bare = parts.model.twin()  # over its modules nobody ever lays adapters or hooks

    def open_(folder: Path) -> tuple[Engine, Learner, ObjectStore, AuditLog]:
        own = settings.model_copy(update={"state": folder})
        # Adapters wrap the modules of a model, so each tenant has modules of its own over the same weights.
        mine = parts if folder == settings.state_folder else replace(parts, model=bare.twin())
        store = open_store(own)
        engine = engine_over(mine, store, open_derived(own), own.adapters_folder, quarantine=settings.quarantine)
        engine.give_way = courtesy
        learner = Learner(engine, backup_policy=settings.backups, consolidate_every=settings.consolidate_every)
        return engine, learner, ObjectStore(store.database), AuditLog(store.database)

    traces = traces or (_traces() if how.traces else None)
    return Room(
        settings=how,
        tenants=Tenants(settings.state_folder, open_),
        answering=answering if traces is None else traces.answering(answering),
        keys=KeyRing(settings.state_folder),
        limits=RateLimits(how.rates),
        metrics=Metrics() if traces is None else Metrics(traces.teaching),
        jobs=Jobs(),
        cache=AnswerCache(how.answer_cache),
        replies=Replies(),
        screen=screen,
        traces=traces,
    )


def _traces() -> Traces:
    try:
        from everlearn.server.traces import Traces
    except ImportError as cause:
        raise SettingsError(
            f"Traces cannot be sent: {cause.name} is missing.", hint="pip install 'everlearn[traces]'"
        ) from cause
    return Traces.to_collector()


def with_studio(app: App, address: str) -> App:
    """The server's app with the studio at /studio, which calls its public API at `address`.

    Raises:
        SettingsError: the studio is not installed.
    """
    try:
        from everlearn.studio.app import mount
    except ImportError as cause:
        raise SettingsError(
            f"The studio is not installed ({cause.name} is missing).", hint="pip install 'everlearn[studio]'"
        ) from cause
    return cast(App, mount(app, address))


def specialists_of(parts: Parts, folder: Path) -> Specialists:
    """The adapters of a folder over a base model."""
    from everlearn.specialists.shelf import AdapterShelf
    from everlearn.specialists.specialists import Specialists

    keys = parts.keys
    return Specialists(parts.model, AdapterShelf(folder), lambda texts: keys.vectors(list(texts)), keys.digest)


def load(
    name: str | None = None,
    *,
    home: str | Path | None = None,
    state: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Load a base model with everything that was taught.

    Args:
        name: an alias ("smollm2-135m"), a local folder, a .gguf file or a hub id; the configured model by default.
        home: folder of weights, settings and state; EVERLEARN_HOME or ~/.everlearn by default.
        state: folder of lessons and derived data, where that is not the home: several assistants may share weights.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, float32, bfloat16, float16, int8 or nf4.
        progress: called with (what, done bytes, all bytes) while weights are fetched.

    Raises:
        ModelNotFoundError, WeightsError, StoreError, SettingsError: see their messages.
    """
    settings = load_settings(model=name, home=home, state=state, device=device, dtype=dtype)
    parts = load_parts(settings, progress)
    stores = open_store(settings), open_derived(settings)
    engine = engine_over(parts, *stores, settings.adapters_folder, quarantine=settings.quarantine)
    engine.context, engine.window = settings.context, settings.window or None
    return engine
