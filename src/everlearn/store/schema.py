"""The tables of `lessons.db` as they are today. How a file gets here from an older form: `migrations/versions/`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

lookup_tables = Table(
    "lookup_tables",
    metadata,
    Column("name", Text, primary_key=True),
    Column("threshold", Float, nullable=False),
    Column("residual", Float, nullable=False),
    Column("blocks", Text, nullable=False),  # JSON list of integers
    Column("sparsity", Float, nullable=False),
    Column("output", Boolean, nullable=False),
    Column("values", Text, nullable=False),
    Column("context_threshold", Float, nullable=False, server_default="0.5"),
    Column("context_tokens", Integer, nullable=False, server_default="512"),
    Column("layer", Text, nullable=False, server_default=""),
    Column("owner", Text, nullable=False, server_default=""),
)

# n is the order of teaching. Times are microseconds since 1970 in UTC: exact, and compared as numbers.
lessons = Table(
    "lessons",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("prompt", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("table_name", Text, ForeignKey("lookup_tables.name"), nullable=False),
    Column("domain", Text, nullable=False),
    Column("importance", Float, nullable=False),
    Column("source", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("taught_at", Integer, nullable=False),
    Column("valid_from", Integer),
    Column("valid_to", Integer),
    Column("status", Text, nullable=False),
    Column("superseded_by", Text, ForeignKey("lessons.id", deferrable=True, initially="DEFERRED")),
    Column("kind", Text, nullable=False, server_default="pair"),
    Column("context", Text, nullable=False, server_default=""),
    Column("position", Text, nullable=False, server_default=""),
    Column("quarantine", Text, nullable=False, server_default=""),
    Column("salt", LargeBinary),  # of the lesson's digest in the chain; goes with the lesson
    Column("sealed", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
Index("lessons_table_status", lessons.c.table_name, lessons.c.status)
Index("lessons_kind", lessons.c.kind, lessons.c.table_name, lessons.c.status)
Index("lessons_superseded_by", lessons.c.superseded_by)
Index("lessons_source", lessons.c.source)

# Active lessons that answer one question otherwise and were kept on purpose.
conflicts = Table(
    "conflicts",
    metadata,
    Column("lesson_id", Text, ForeignKey("lessons.id", ondelete="CASCADE"), primary_key=True),
    Column("other_id", Text, ForeignKey("lessons.id", ondelete="CASCADE"), primary_key=True),
)
Index("conflicts_other", conflicts.c.other_id)

# Append-only, read by every process to see what the others did. It holds ids and names of tables, no text of a lesson.
changes = Table(
    "changes",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("lesson_id", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("at", Integer, nullable=False, server_default="0"),
    Column("hash", Text, nullable=False, server_default=""),  # see chain.py
    sqlite_autoincrement=True,
)
Index("changes_lesson", changes.c.lesson_id)

turns = Table(
    "turns",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("session", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("body", Text, nullable=False),  # JSON: prompt, answer, receipt
    sqlite_autoincrement=True,
)
Index("turns_session", turns.c.session)

# Which lessons a turn's answer rests on: with them it goes.
turn_lessons = Table(
    "turn_lessons",
    metadata,
    Column("turn_id", Text, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("lesson_id", Text, ForeignKey("lessons.id"), primary_key=True),
)
Index("turn_lessons_lesson", turn_lessons.c.lesson_id)

imports = Table(
    "imports",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("table_name", Text, ForeignKey("lookup_tables.name", ondelete="CASCADE"), primary_key=True),
    Column("lines", Integer, nullable=False),
)

# Work that was put off, to be done by whoever writes or closes next ("scrub": deleted bytes are still in the files).
upkeep = Table("upkeep", metadata, Column("task", Text, primary_key=True))

# Lessons that somebody wants in a table of a higher layer. They go with their lesson.
proposals = Table(
    "proposals",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("lesson_id", Text, ForeignKey("lessons.id"), nullable=False),
    Column("table_name", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", Integer),
    Column("decision", Text, nullable=False),
    Column("promoted_id", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("proposals_lesson", proposals.c.lesson_id)

# What the server keeps for its clients: responses, files, batches, jobs. A row with a turn goes when that turn goes, so
# forgetting a lesson also removes what was answered from it.
objects = Table(
    "objects",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("parent", Text, nullable=False, server_default=""),
    Column("turn_id", Text, ForeignKey("turns.id", ondelete="CASCADE")),
    Column("created_at", Integer, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)
Index("objects_kind_parent", objects.c.kind, objects.c.parent)
Index("objects_turn", objects.c.turn_id)

# Who did what over the network: append-only, chained by hashes (audit_log.py). It holds no text of anybody.
audit = Table(
    "audit",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
