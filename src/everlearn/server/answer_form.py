"""The form that an answer is asked to have: text, any JSON object, or JSON of a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from everlearn.errors import SettingsError
from everlearn.records import Grammar


def grammar_of(form: Mapping[str, Any] | None) -> Grammar | None:
    """The grammar of a `response_format` of chat completions, or of a `text.format` of responses; None = any text.

    Raises:
        SettingsError: a form that this server does not know, or a schema that is none.
    """
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return json_of({"type": "object"})
    if kind != "json_schema":
        raise SettingsError(f"The format is {kind!r}.", hint="Use text, json_object or json_schema.")
    inner = form.get("json_schema", form)
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise SettingsError("The format json_schema has no schema.", hint='Send it as {"schema": {...}}.')
    return json_of(schema)


def json_of(schema: Mapping[str, Any]) -> Grammar:
    """The grammar of JSON that a schema describes, without blanks: small models write them without end."""
    return Grammar("json_schema", json.dumps({**schema, "x-guidance": {"whitespace_flexible": False}}))
