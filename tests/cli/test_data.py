"""`everlearn data inspect`, on the toy's tokenizer."""

import pytest

from everlearn.models.sources import ModelFiles
from toys import byte_tokenizer


@pytest.fixture
def inspect(cli, tmp_path, monkeypatch):
    byte_tokenizer().save_pretrained(tmp_path / "model")
    files = ModelFiles("toy", tmp_path / "model", "0" * 64)
    monkeypatch.setattr("everlearn.models.sources.resolve", lambda *_args, **_options: files)
    return lambda *args: cli("data", "inspect", *args)


def test_a_file_is_looked_at_and_nothing_is_learned(inspect, cli, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("The harbour of Quimper had seven boats.\n")
    result = inspect(str(path))
    assert result.code == 0, result
    for part in ("passages", "1, of", "Latin 100%", "near-duplicates", "none"):
        assert part in result.out
    assert inspect(str(path), "--json").json["files"][0]["pieces"] == 1
    assert cli("lessons", "list", "--json").json["lessons"] == []
    assert inspect(str(tmp_path / "none.txt")).code == 2
