"""The store: what must survive (lessons, tables, turns, imports) and what may be derived again.

The ports are `LessonStore` and `DerivedStore`; behind them are `sqlite.SqliteLessonStore`, `derived.SqliteDerivedStore`
and, without files, `in_memory`. Importing this face does not import SQLAlchemy.
"""

from everlearn.store.ids import new_id
from everlearn.store.port import Change, DerivedStore, ImportProgress, LessonQuery, LessonStore, StaleError

__all__ = ["Change", "DerivedStore", "ImportProgress", "LessonQuery", "LessonStore", "StaleError", "new_id"]
