"""The few lessons of a rare kind are found among a million of the common one."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("lessons_kind", "lessons", ["kind", "table_name", "status"])
