"""Which lessons answer one question otherwise and were kept beside each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conflicts",
        sa.Column("lesson_id", sa.Text, sa.ForeignKey("lessons.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("other_id", sa.Text, sa.ForeignKey("lessons.id", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("conflicts_other", "conflicts", ["other_id"])
