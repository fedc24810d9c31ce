"""Names of models: the base, what it knows with its tables, one table, one adapter; each is a model to a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from everlearn.errors import AdapterNotFoundError, ModelNotFoundError
from everlearn.server.tenants import Tenant

BASE, TABLE, ADAPTER = "base", "table:", "adapter:"
ALIASES = frozenset({"everlearn", "default"})


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """What a name means.

    Attributes:
        id: the name as it is told back.
        tables: to ask; None = all that are open; () = none.
        adapter: as for `Engine.answer`.
    """

    id: str
    tables: Sequence[str] | None = None
    adapter: str | None = None


def chosen(tenant: Tenant, name: str) -> Chosen:
    """What a model name means for a tenant.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    engine = tenant.engine
    if name == engine.name or name in ALIASES:
        return Chosen(name)
    if name in (BASE, f"{engine.name}:{BASE}"):
        return Chosen(name, (), "" if engine.specialists is not None else None)
    if name.startswith(TABLE):
        engine.memory.table(name.removeprefix(TABLE))
        return Chosen(name, (name.removeprefix(TABLE),))
    if engine.specialists is not None:
        try:
            return Chosen(name, None, engine.specialists.shelf.find(name.removeprefix(ADAPTER)).id)
        except (AdapterNotFoundError, ValueError) as cause:
            raise _unknown(tenant, name) from cause
    raise _unknown(tenant, name)


def models(tenant: Tenant) -> list[dict[str, Any]]:
    """All models of a tenant, as the API lists them."""
    engine = tenant.engine
    rows = [_model(engine.name, None), _model(BASE, engine.name)]
    rows += [_model(f"{TABLE}{info.name}", engine.name) for info in engine.memory.tables()]
    if engine.specialists is not None:
        for adapter in engine.specialists.shelf.all():
            made = int(adapter.created_at.timestamp()) if adapter.created_at else 0
            rows.append({**_model(adapter.id, adapter.parent or engine.name), "created": made})
    return rows


def _model(name: str, parent: str | None) -> dict[str, Any]:
    row = {"id": name, "object": "model", "created": 0, "owned_by": "everlearn", "root": name}
    return {**row, "parent": parent}


def _unknown(tenant: Tenant, name: str) -> ModelNotFoundError:
    known = ", ".join(row["id"] for row in models(tenant)[:12])
    return ModelNotFoundError(f"There is no model {name!r}.", hint=f"There are: {known}.")
