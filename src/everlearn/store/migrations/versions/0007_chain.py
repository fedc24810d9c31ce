"""A hash chain over all writes. What is there when it begins is taken over, one event for each table and lesson."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LESSON = {
    "table": "default",
    "domain": "general",
    "importance": 0.5,
    "source": "",
    "author": "",
    "tenant": "local",
    "valid_from": None,
    "valid_to": None,
    "kind": "pair",
    "context": "",
    "position": "",
    "quarantine": "",
}
_TABLE = {
    "threshold": 0.5,
    "residual": 1.0,
    "blocks": [],
    "sparsity": 1.0,
    "output": True,
    "values": "difference",
    "context_threshold": 0.5,
    "context_tokens": 512,
    "layer": "",
    "owner": "",
}


def upgrade() -> None:
    op.add_column("lessons", sa.Column("salt", sa.LargeBinary))
    op.add_column("changes", sa.Column("detail", sa.Text, nullable=False, server_default=""))
    op.add_column("changes", sa.Column("at", sa.Integer, nullable=False, server_default="0"))
    op.add_column("changes", sa.Column("hash", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT seq, kind, lesson_id, table_name FROM changes ORDER BY seq")).all()
    if not rows:
        return  # a new file
    chain = _Chain(connection, rows[-1][0])
    chain.add("genesis", "", "", _sha(json.dumps([list(row) for row in rows], ensure_ascii=True).encode()))
    tables = connection.execute(sa.text("SELECT * FROM lookup_tables ORDER BY name")).mappings().all()
    for table in tables:
        chain.add("table", "", table["name"], _table_digest(table))
    lessons = connection.execute(sa.text("SELECT * FROM lessons ORDER BY n")).mappings().all()
    for lesson in lessons:
        salt = secrets.token_bytes(16)
        connection.execute(sa.text("UPDATE lessons SET salt = :salt WHERE n = :n"), {"salt": salt, "n": lesson["n"]})
        held = " quarantined" if lesson["status"] == "quarantined" else ""
        chain.add("adopted", lesson["id"], lesson["table_name"], _lesson_digest(lesson, salt) + held)
    for lesson in lessons:
        if lesson["superseded_by"]:
            chain.add("superseded", lesson["id"], lesson["table_name"], lesson["superseded_by"])


class _Chain:
    def __init__(self, connection: sa.Connection, seq: int) -> None:
        self._connection, self._seq, self._hash = connection, seq, ""
        self._at = time.time_ns() // 1000

    def add(self, kind: str, lesson_id: str, table: str, detail: str) -> None:
        self._seq += 1
        parts = [self._hash, self._seq, kind, lesson_id, table, detail, self._at]
        self._hash = _sha(json.dumps(parts, ensure_ascii=True).encode())
        self._connection.execute(
            sa.text("INSERT INTO changes VALUES (:seq, :kind, :lesson, :table, :detail, :at, :hash)"),
            {
                "seq": self._seq,
                "kind": kind,
                "lesson": lesson_id,
                "table": table,
                "detail": detail,
                "at": self._at,
                "hash": self._hash,
            },
        )


def _lesson_digest(row: Any, salt: bytes) -> str:  # noqa: ANN401
    values = {name: row["table_name" if name == "table" else name] for name in _LESSON}
    kept = {name: value for name, value in values.items() if value != _LESSON[name]}
    kept |= {name: row[name] for name in ("prompt", "answer", "id", "taught_at")}
    return _sha(salt + json.dumps(kept, ensure_ascii=True, sort_keys=True).encode())


def _table_digest(row: Any) -> str:  # noqa: ANN401
    values = {name: row[name] for name in _TABLE} | {"blocks": json.loads(row["blocks"]), "output": bool(row["output"])}
    kept = {name: value for name, value in values.items() if value != _TABLE[name]}
    return _sha(json.dumps(kept, ensure_ascii=True, sort_keys=True).encode())


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
