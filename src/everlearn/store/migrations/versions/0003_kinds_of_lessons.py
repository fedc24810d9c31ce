"""Lessons have a kind, a context and a position; look-up tables say what enters the prompt as context."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lookup_tables", sa.Column("context_threshold", sa.Float, nullable=False, server_default="0.5"))
    op.add_column("lookup_tables", sa.Column("context_tokens", sa.Integer, nullable=False, server_default="512"))
    op.add_column("lessons", sa.Column("kind", sa.Text, nullable=False, server_default="pair"))
    op.add_column("lessons", sa.Column("context", sa.Text, nullable=False, server_default=""))
    op.add_column("lessons", sa.Column("position", sa.Text, nullable=False, server_default=""))
    op.create_index("lessons_source", "lessons", ["source"])
