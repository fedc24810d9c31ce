"""The input of a response passes the filters before anything keeps it."""

from __future__ import annotations

from everlearn.records import Filtered
from everlearn.server.filters import Filters
from everlearn.server.response_shapes import Item, ResponseRequest


def taken_in(filters: Filters, body: ResponseRequest) -> tuple[ResponseRequest, list[Item], tuple[Filtered, ...]]:
    """A request and its items as they may be asked and kept, and what was found in them.

    Raises:
        InputError: an item that this server does not know.
        ContentFilterError: one of them may not be asked.
    """
    items, found = body.items(), list[Filtered]()
    if not filters.looks("input"):
        return body, items, ()
    items = [_passed(filters, item, found) for item in items]
    if body.instructions:
        own = filters.text(body.instructions, "input", found, personal_only=True)
        body = body.model_copy(update={"instructions": own})
    return body, items, tuple(dict.fromkeys(found))


def _passed(filters: Filters, item: Item, found: list[Filtered]) -> Item:
    if item["type"] == "function_call_output":
        return {**item, "output": filters.text(item["output"], "input", found)}
    if item["type"] == "function_call":
        return {**item, "arguments": filters.text(item["arguments"], "input", found, personal_only=True)}
    own = item["role"] != "user"
    parts = [{**p, "text": filters.text(p["text"], "input", found, personal_only=own)} for p in item["content"]]
    return {**item, "content": parts}
