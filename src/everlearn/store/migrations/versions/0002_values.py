"""Look-up tables say how their values are made, and whether the output is corrected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lookup_tables", sa.Column("output", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("lookup_tables", sa.Column("values", sa.Text, nullable=False, server_default="difference"))
