"""Cuts the schemas that the tests need out of OpenAI's specification.

    python extract_openai_schemas.py SPEC.json OUT.json

Alternatives that this server never sends (hosted tools, audio) are left out, which makes the check stricter.
"""

import json
import sys
from pathlib import Path

ROOTS = (
    *("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "CreateCompletionResponse"),
    *("CreateEmbeddingResponse", "ListModelsResponse", "Model", "ErrorResponse", "CreateModerationResponse"),
    *("OpenAIFile", "ListFilesResponse", "DeleteFileResponse", "Batch", "ListBatchesResponse", "FineTuningJob"),
    *("ListPaginatedFineTuningJobsResponse", "ListFineTuningJobEventsResponse"),
    *("ListFineTuningJobCheckpointsResponse", "Response", "ResponseItemList", "ResponseCreatedEvent"),
    *("ResponseInProgressEvent", "ResponseOutputItemAddedEvent", "ResponseContentPartAddedEvent"),
    *("ResponseTextDeltaEvent", "ResponseTextDoneEvent", "ResponseContentPartDoneEvent"),
    *("ResponseOutputItemDoneEvent", "ResponseCompletedEvent", "ResponseIncompleteEvent", "ResponseFailedEvent"),
    *("ResponseFunctionCallArgumentsDeltaEvent", "ResponseFunctionCallArgumentsDoneEvent"),
)
KEPT = {
    "OutputItem": {"OutputMessage", "FunctionToolCall"},
    "ItemResource": {
        *("InputMessageResource", "OutputMessage", "FunctionToolCallResource", "FunctionToolCallOutputResource"),
    },
    "Tool": {"FunctionTool"},
    "InputItem": {"EasyInputMessage"},
    "InputContent": {"InputTextContent"},
    "Annotation": set(),
}
SAID = {"description", "example", "examples", "title", "deprecated"}


def cut(value, *, names=False):
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if names or not (k in SAID or k.startswith("x-"))}
        found = {k: cut(v, names=k == "properties") for k, v in kept.items()}
        if found.get("exclusiveMinimum") is True:  # as it was written before JSON schema's draft 6
            found["exclusiveMinimum"] = found.pop("minimum")
        # A word of OpenAI's own for "or null", which JSON schema does not know.
        return {"anyOf": [found, {"type": "null"}]} if found.pop("nullable", False) is True else found
    return [cut(v) for v in value] if isinstance(value, list) else value


def narrowed(name, schema):
    for word in ("oneOf", "anyOf"):
        if name in KEPT and word in schema:
            kept = [one for one in schema[word] if one.get("$ref", "").rpartition("/")[2] in KEPT[name]]
            return {word: kept} if kept else {"type": "object"}
    return schema


def named(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def main(spec, out):
    whole = json.loads(Path(spec).read_text("utf-8"))
    found, wanted = {}, list(ROOTS)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = narrowed(name, cut(whole["components"]["schemas"][name]))
            wanted += named(found[name])
    note = {
        "source": f"OpenAI's OpenAPI specification {whole['info']['version']} (github.com/openai/openai-openapi)",
        "licence": "MIT, Copyright (c) OpenAI",
    }
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    Path(out).write_text(f'{json.dumps(note)[:-1]}, "components": {{"schemas": {{\n{rows}\n}}}}}}\n', "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
