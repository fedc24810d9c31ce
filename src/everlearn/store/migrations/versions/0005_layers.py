"""Tables have a layer and an owner; lessons are proposed for tables of a higher layer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lookup_tables", sa.Column("layer", sa.Text, nullable=False, server_default=""))
    op.add_column("lookup_tables", sa.Column("owner", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "proposals",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("lesson_id", sa.Text, sa.ForeignKey("lessons.id"), nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.Integer),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("promoted_id", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("proposals_lesson", "proposals", ["lesson_id"])
