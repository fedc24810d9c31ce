"""The first form: lessons, look-up tables, the change log, turns, imports.

A migration is history: it spells its tables out and imports nothing that may change later.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_tables_and_lessons()
    _create_changes()
    _create_turns()
    _create_imports()


def _create_tables_and_lessons() -> None:
    tables = op.create_table(
        "lookup_tables",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("threshold", sa.Float, nullable=False),
        sa.Column("residual", sa.Float, nullable=False),
        sa.Column("blocks", sa.Text, nullable=False),
        sa.Column("sparsity", sa.Float, nullable=False),
    )
    op.bulk_insert(tables, [{"name": "default", "threshold": 0.5, "residual": 1.0, "blocks": "[]", "sparsity": 1.0}])
    op.create_table(
        "lessons",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, sa.ForeignKey("lookup_tables.name"), nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("importance", sa.Float, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("taught_at", sa.Integer, nullable=False),
        sa.Column("valid_from", sa.Integer),
        sa.Column("valid_to", sa.Integer),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("superseded_by", sa.Text, sa.ForeignKey("lessons.id", deferrable=True, initially="DEFERRED")),
        sqlite_autoincrement=True,
    )
    op.create_index("lessons_table_status", "lessons", ["table_name", "status"])
    op.create_index("lessons_superseded_by", "lessons", ["superseded_by"])


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("lesson_id", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_lesson", "changes", ["lesson_id"])


def _create_turns() -> None:
    op.create_table(
        "turns",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("turns_session", "turns", ["session"])
    op.create_table(
        "turn_lessons",
        sa.Column("turn_id", sa.Text, sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("lesson_id", sa.Text, sa.ForeignKey("lessons.id"), primary_key=True),
    )
    op.create_index("turn_lessons_lesson", "turn_lessons", ["lesson_id"])


def _create_imports() -> None:
    op.create_table(
        "imports",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("table_name", sa.Text, sa.ForeignKey("lookup_tables.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("lines", sa.Integer, nullable=False),
    )
    op.create_table("upkeep", sa.Column("task", sa.Text, primary_key=True))
