"""Checks bodies against OpenAI's own schemas."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_SPEC = json.loads(Path(__file__).with_name("openai_schemas.json").read_text("utf-8"))
_REGISTRY = Registry().with_resource("spec:", Resource.from_contents(_SPEC, DRAFT202012))


def fits(body, name):
    """The body, if it is a `name` of OpenAI's specification."""
    validator = Draft202012Validator({"$ref": f"spec:#/components/schemas/{name}"}, registry=_REGISTRY)
    errors = sorted(validator.iter_errors(body), key=lambda e: list(map(str, e.path)))
    assert not errors, [(list(e.path), e.message[:300], [c.message[:200] for c in e.context or ()][:6]) for e in errors]
    return body
