"""Settings: what a person may choose, from a file, the environment and the command line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from everlearn.errors import SettingsError
from everlearn.records import BackupPolicy, Context, Quarantine

PREFIX = "EVERLEARN_"
CONFIG = "config.toml"
_NOT_SETTINGS = ("EVERLEARN_TEST_",)


@final
class Settings(BaseSettings):
    """All settings: `config.toml` in the home < environment `EVERLEARN_*` < command line and arguments."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    home: Path = Path.home() / ".everlearn"
    """Folder of all state: lessons, derived data, weights, configuration."""
    state: Path | None = None
    """Folder of lessons and derived data, where that is not the home."""
    model: str = "smollm2-135m"
    """Base model: an alias, a local folder, a .gguf file or a hub id."""
    encoder: str = "minilm"
    """Sentence encoder of the keys: an alias, a local folder or a hub id."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16."""
    quarantine: Quarantine = "on"
    """Lessons that look like poison: on = held back until released, warn = learned, with a warning, off = no check."""
    backups: BackupPolicy = "rewrite"
    """What forgetting does to checkpoints and exports in the state folder: rewrite, remove or keep."""
    threads: int = 0
    """CPU threads of the model; 0 = torch's own choice."""
    consolidate_every: int = Field(default=0, ge=0)
    """New lessons after which a long-running program (chat, server) sleeps in the background; 0 = when it is asked."""
    hops: int = Field(default=4, ge=0, le=8)
    """How many facts one answer may be put together from; 0 or 1 = a question is answered by one lesson or by none."""
    context: Context = "full"
    """Of conversations: full = until the model's context ends, unlimited = no end, the newest tokens are held."""
    window: int = Field(default=0, ge=0)
    """Tokens that an unlimited conversation holds; 0 = what the model reads, at most 4,096."""
    guard_url: str | None = None
    """Base address of a guard model that the server's filters may ask (category guard)."""
    guard_model: str = "guard"
    """Its name there."""
    guard_form: Literal["moderation", "chat"] = "moderation"
    """How it is asked: by moderations, or as a chat model that says safe or unsafe."""
    guard_key: str | None = None
    """Sent to it as a bearer token."""
    guard_timeout: float = Field(default=5.0, gt=0)
    """Seconds that one call to it may take."""
    guard_unreachable: Literal["block", "allow"] = "block"
    """What becomes of a text that it could not judge: block (fail closed) or allow (fail open)."""

    @property
    def state_folder(self) -> Path:
        """Where lessons and derived data lie."""
        return self.state or self.home

    @property
    def adapters_folder(self) -> Path:
        """Where adapters lie."""
        return self.state_folder / "adapters"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the home's configuration file."""
        given = init_settings() | {k: v for k, v in env_settings().items() if k not in init_settings()}
        home = Path(given.get("home", cls.model_fields["home"].default)).expanduser()
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=home / CONFIG)


def load_settings(**given: Any) -> Settings:  # noqa: ANN401
    """Settings from file, environment and arguments; an argument that is None counts as not given.

    Raises:
        SettingsError: an unknown key (the nearest known one is named), or an impossible value.
    """
    _check_names((k.removeprefix(PREFIX).lower() for k in os.environ if _is_setting(k)), PREFIX)
    try:
        settings = Settings(**{k: v for k, v in given.items() if v is not None})
    except ValidationError as cause:
        first = cause.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            _check_names([name], "")
        raise SettingsError(
            f"The setting {name!r} is {first.get('input')!r}: {first['msg']}.", hint="See `everlearn --help`."
        ) from cause
    except ValueError as cause:  # the TOML file itself
        raise SettingsError(f"{CONFIG} cannot be read: {cause}.", hint="Mend it, or delete it.") from cause
    home = settings.home.expanduser().absolute()
    state = settings.state.expanduser().absolute() if settings.state else home
    return settings.model_copy(update={"home": home, "state": state})


def _is_setting(variable: str) -> bool:
    return variable.startswith(PREFIX) and not variable.startswith(_NOT_SETTINGS)


def _check_names(names: Iterable[str], prefix: str) -> None:
    def shown(name: str) -> str:
        return prefix + name.upper() if prefix else name

    for name in names:
        if name in Settings.model_fields:
            continue
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        known = ", ".join(shown(n) for n in Settings.model_fields)
        hint = f"Did you mean {shown(near[0])}?" if near else f"Known are: {known}."
        raise SettingsError(f"There is no setting {shown(name)}.", hint=hint)
