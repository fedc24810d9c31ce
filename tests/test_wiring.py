"""Settings: where they come from, and what is refused."""

from pathlib import Path

import pytest

from everlearn.errors import SettingsError
from everlearn.wiring import load_settings


def test_arguments_go_before_the_environment_before_the_file(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text('model = "from-file"\nencoder = "from-file"\ndtype = "float32"\n')
    monkeypatch.setenv("EVERLEARN_HOME", str(home))
    monkeypatch.setenv("EVERLEARN_MODEL", "from-environment")
    monkeypatch.setenv("EVERLEARN_ENCODER", "from-environment")
    found = load_settings(model="from-argument", encoder=None)
    assert (found.model, found.encoder, found.dtype) == ("from-argument", "from-environment", "float32")
    assert found.home == home


def test_the_file_of_the_home_that_is_given_counts(tmp_path):
    (tmp_path / "config.toml").write_text("threads = 3\n")
    assert load_settings(home=tmp_path).threads == 3
    assert load_settings(home=tmp_path / "elsewhere").threads == 0


def test_the_home_may_begin_with_a_tilde():
    assert load_settings(home="~/x").home == Path.home() / "x"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"argument": {"modle": "x"}}, "There is no setting modle. Did you mean model?"),
        ({"file": "devise = 'cpu'"}, "There is no setting devise. Did you mean device?"),
        ({"variable": ("EVERLEARN_MODLE", "x")}, "There is no setting EVERLEARN_MODLE. Did you mean EVERLEARN_MODEL?"),
        ({"variable": ("EVERLEARN_XYZZY", "x")}, "Known are: EVERLEARN_HOME, EVERLEARN_STATE"),
        ({"argument": {"threads": "many"}}, "The setting 'threads' is 'many'"),
        ({"file": "model = "}, "config.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_named(where, says, tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text(where.get("file", ""))
    if "variable" in where:
        monkeypatch.setenv(*where["variable"])
    with pytest.raises(SettingsError) as caught:
        load_settings(home=tmp_path, **where.get("argument", {}))
    assert says in str(caught.value)
