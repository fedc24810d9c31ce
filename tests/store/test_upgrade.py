"""Files of every older form open, and what migrations build is what the program expects."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from everlearn.records import Lesson
from everlearn.store import LessonQuery, upgrade
from everlearn.store.database import Database
from everlearn.store.schema import metadata
from everlearn.store.sqlite import SqliteLessonStore


def versions():
    config = Config()
    config.set_main_option("script_location", str(upgrade.MIGRATIONS))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def test_versions_are_numbered_and_the_program_knows_the_newest():
    assert versions() == [f"{n:04}" for n in range(1, len(versions()) + 1)]
    assert versions()[-1] == upgrade.NEWEST_VERSION


@pytest.mark.parametrize("version", versions())
def test_a_file_of_each_version_opens_and_works(tmp_path, version):
    path = tmp_path / "100% äö" / "lessons.db"
    with closing(Database(path)) as database, database.writing() as connection:
        upgrade._upgrade(connection, version)
    with closing(SqliteLessonStore(path)) as store:
        store.teach([Lesson("Who?", "She.", id="a", taught_at=datetime.now(UTC), status="active")], {})
        assert store.count(LessonQuery()) == 1
        assert [info.name for info in store.tables()] == ["default"]


def test_migrations_build_what_the_program_expects(tmp_path):
    path = tmp_path / "lessons.db"
    SqliteLessonStore(path).close()
    with closing(Database(path)) as database, database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_failed_upgrade_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "lessons.db"
    upgrade_to = upgrade._upgrade

    def fail_at_the_end(connection, version):
        upgrade_to(connection, version)
        raise RuntimeError("power cut")

    monkeypatch.setattr(upgrade, "_upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError):
        SqliteLessonStore(path)
    monkeypatch.undo()
    with closing(Database(path)) as database, database.reading() as connection:
        assert connection.exec_driver_sql("SELECT name FROM sqlite_master").all() == []
    SqliteLessonStore(path).close()


def test_opening_an_up_to_date_file_does_not_import_alembic(tmp_path):
    path = tmp_path / "lessons.db"
    SqliteLessonStore(path).close()
    program = (
        "import sys; from pathlib import Path; from everlearn import store; assert 'sqlalchemy' not in sys.modules;"
        "from everlearn.store.sqlite import SqliteLessonStore; SqliteLessonStore(Path(sys.argv[1])).close();"
        "print('alembic' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
