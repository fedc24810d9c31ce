"""Tenants: each has a state folder of its own, so nothing of one can be reached from another.

Base model, tokenizer and sentence encoder are shared, since they hold nothing of anybody; lessons, vectors,
corrections, adapters and receipts are not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from everlearn.engine.engine import Engine
from everlearn.learning.learner import Learner
from everlearn.records import DEFAULT_TENANT
from everlearn.server.keys import checked_tenant
from everlearn.store.audit_log import AuditLog
from everlearn.store.objects import ObjectStore

FOLDER = "tenants"
_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant whose state is open.

    Attributes:
        name: of the tenant.
        folder: of its state.
        engine: answers from its lessons.
        learner: changes them.
        objects: what is kept for clients: responses, files, batches, jobs.
        audit: who did what.
    """

    name: str
    folder: Path
    engine: Engine
    learner: Learner
    objects: ObjectStore
    audit: AuditLog


Open = Callable[[Path], tuple[Engine, Learner, ObjectStore, AuditLog]]


@final
class Tenants:
    """Opens the state of tenants when it is first wanted.

    Args:
        root: state folder; that of the tenant "local" itself, the others lie in folders below it.
        open_: opens engine, learner and what else lies in a state folder.
    """

    def __init__(self, root: Path, open_: Open) -> None:
        self.root = root
        self._open = open_
        self._tenants: dict[str, Tenant] = {}
        self._lock = threading.Lock()
        self.when_opened: list[Callable[[Tenant], None]] = []

    def __iter__(self) -> Iterator[Tenant]:
        return iter(list(self._tenants.values()))

    def get(self, name: str) -> Tenant:
        """A tenant, its state opened.

        Raises:
            StoreError: its state cannot be opened.
        """
        with self._lock:
            if name not in self._tenants:
                folder = self.folder(name)
                folder.mkdir(parents=True, exist_ok=True)
                self._tenants[name] = Tenant(name, folder, *self._open(folder))
                _log.info("tenant %s is open", name)
                for callback in self.when_opened:
                    callback(self._tenants[name])
            return self._tenants[name]

    def folder(self, name: str) -> Path:
        """Where a tenant's state lies."""
        return folder_of(self.root, name)

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for tenant in self._tenants.values():
                tenant.learner.close()
                tenant.engine.close()
            self._tenants.clear()


def folder_of(root: Path, name: str) -> Path:
    """Where a tenant's state lies below a state folder.

    Raises:
        SettingsError: no tenant can have this name.
    """
    return root if name == DEFAULT_TENANT else root / FOLDER / checked_tenant(name)
