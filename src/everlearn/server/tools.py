"""Function calling: tools are shown to the model in a system message, and calls are read out of what it writes.

The form is the one that small instruction models are trained on: a JSON list of {"name", "arguments"} between
<tool_call> and </tool_call>. A single object is read, too: Qwen and Hermes write one pair of marks for each call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final
from uuid import uuid4

from everlearn.errors import SettingsError
from everlearn.records import Grammar, Message
from everlearn.server.answer_form import json_of

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST_TOOLS, _MOST_CALLS = 128, 8
_ASK = (
    "You have access to the following tools. To call some of them, answer with nothing but a JSON list of calls "
    f'between marks: {OPEN}[{{"name": "tool_name", "arguments": {{"argument": "value"}}}}]{CLOSE}\n'
    "Where no tool fits, answer in words.\nTools: "
)
_MUST = (
    "Call some of the following tools. Answer with nothing but a JSON list of calls: "
    '[{"name": "tool_name", "arguments": {"argument": "value"}}]\nTools: '
)


@final
@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: of the function.
        description: what it is for.
        parameters: JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Call:
    """A call that the model wrote.

    Attributes:
        name: of the function.
        arguments: JSON text, as clients expect it.
        id: of this call.
    """

    name: str
    arguments: str
    id: str

    @property
    def values(self) -> dict[str, Any]:
        """The arguments read; none where they are no object."""
        found = json.loads(self.arguments)
        return found if isinstance(found, dict) else {}


@final
@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of a request.

    Attributes:
        tools: that may be called.
        must: the answer has to be calls and nothing else.
        most: calls of one answer, where it must.
    """

    tools: tuple[Tool, ...] = ()
    must: bool = False
    most: int = 1

    @property
    def names(self) -> frozenset[str]:
        """Of the tools."""
        return frozenset(tool.name for tool in self.tools)

    @property
    def grammar(self) -> Grammar | None:
        """The form of an answer that must be calls.

        Raises:
            SettingsError: two tools define one name otherwise.
        """
        if not self.must:
            return None
        shared: dict[str, Any] = {}
        rows = [_call_schema(tool, shared) for tool in self.tools]
        whole = {"type": "array", "minItems": 1, "maxItems": self.most, "items": {"anyOf": rows}}
        return json_of({**whole, "$defs": shared} if shared else whole)

    def and_(self, more: Sequence[Tool]) -> Toolbox:
        """These and others; a client's tool goes before one of the same name."""
        return replace(self, tools=(*self.tools, *(tool for tool in more if tool.name not in self.names)))


def tools_of(given: Sequence[dict[str, Any]] | None, choice: object = None, *, parallel: bool = True) -> Toolbox:
    """The tools of a request, in the form of chat completions or in that of responses.

    Args:
        given: the tools.
        choice: "auto", "none", "required", or the one function that has to be called.
        parallel: whether an answer may hold several calls.

    Raises:
        SettingsError: a tool that is no function, or a choice that is none of them.
    """
    if choice == "none" or not given:
        return Toolbox()
    if len(given) > _MOST_TOOLS:
        raise SettingsError(f"{len(given)} tools are more than {_MOST_TOOLS}.", hint="Send those that fit.")
    tools = tuple(_tool(one) for one in given)
    if choice in (None, "auto"):
        return Toolbox(tools)
    if choice == "required":
        return Toolbox(tools, must=True, most=_MOST_CALLS if parallel else 1)
    name = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    chosen = tuple(tool for tool in tools if tool.name == name)
    if not chosen:
        raise SettingsError(
            f"tool_choice is {choice if isinstance(choice, str) else json.dumps(choice)}, which is none of the tools.",
            hint="Use auto, none, required, or the name of a function.",
        )
    return Toolbox(chosen, must=True)


def with_tools(messages: Sequence[Message], box: Toolbox) -> list[Message]:
    """A conversation whose system message also tells of tools."""
    if not box.tools:
        return list(messages)
    shown = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in box.tools]
    text = (_MUST if box.must else _ASK) + json.dumps(shown, ensure_ascii=False)
    if messages and messages[0].role == "system":
        return [Message("system", f"{messages[0].content}\n\n{text}"), *messages[1:]]
    return [Message("system", text), *messages]


def written(calls: Sequence[dict[str, Any]]) -> str:
    """Calls of an earlier turn as the model wrote them.

    Args:
        calls: with name and arguments, the latter as JSON text.
    """
    rows = [f'{{"name": {json.dumps(c["name"])}, "arguments": {c.get("arguments") or "{}"}}}' for c in calls]
    return f"{OPEN}[{', '.join(rows)}]{CLOSE}"


def tool_said(text: str) -> str:
    """What a tool gave, as the model reads it. The marks keep it from being taken for what the user says."""
    return f"<tool_response>\n{text}\n</tool_response>"


def found_calls(text: str, box: Toolbox) -> tuple[str, list[Call]]:
    """What an answer says in words, and the calls in it. What is no call of a known tool stays text."""
    splitter = CallSplitter(box)
    said = splitter.feed(text)
    rest, calls = splitter.end()
    return said + rest, calls


@final
class CallSplitter:
    """Parts words and calls of an answer that comes piece by piece.

    Args:
        box: what may be called; without any tool all is words, and where calls are a must nothing is.
    """

    def __init__(self, box: Toolbox) -> None:
        self._names, self._must = box.names, box.must
        self._held = ""
        self._calls: list[Call] = []

    def feed(self, piece: str) -> str:
        """Take a piece; returns the words that are certainly no part of a call."""
        if not self._names:
            return piece
        self._held += piece
        if self._must:
            return ""
        said = ""
        while True:
            begin = self._held.find(OPEN)
            if begin < 0:
                keep = _overlap(self._held)
                cut = len(self._held) - keep
                said, self._held = said + self._held[:cut], self._held[cut:]
                return said
            said, self._held = said + self._held[:begin], self._held[begin:]
            end = self._held.find(CLOSE)
            if end < 0:
                return said
            block, self._held = self._held[: end + len(CLOSE)], self._held[end + len(CLOSE) :]
            said += self._taken(block, block[len(OPEN) : -len(CLOSE)])

    def end(self) -> tuple[str, list[Call]]:
        """What is left at the end: words that were held back, and all calls. A last mark may be missing."""
        rest, self._held = self._held, ""
        if self._must:
            rest = self._taken(rest, rest)
        elif rest.startswith(OPEN):
            rest = self._taken(rest, rest[len(OPEN) :])
        return rest, self._calls

    def _taken(self, block: str, inner: str) -> str:
        """Read a block; returns it as words where it holds no call of a known tool."""
        try:
            rows = json.loads(inner)
        except ValueError:
            return block
        rows = rows if isinstance(rows, list) else [rows]
        if not rows or any(not isinstance(r, dict) or r.get("name") not in self._names for r in rows):
            return block
        for row in rows:
            arguments = row.get("arguments", row.get("parameters", {}))
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            self._calls.append(Call(row["name"], text, f"call_{uuid4().hex[:24]}"))
        return ""


def _overlap(text: str) -> int:
    """Characters at the end of a text that may begin a mark."""
    return next((n for n in range(min(len(OPEN) - 1, len(text)), 0, -1) if text.endswith(OPEN[:n])), 0)


def _call_schema(tool: Tool, shared: dict[str, Any]) -> dict[str, Any]:
    """The schema of a call; definitions move to the root, where references look for them."""
    parameters = dict(tool.parameters)
    for name, schema in parameters.pop("$defs", {}).items():
        if shared.setdefault(name, schema) != schema:
            raise SettingsError(f"Two tools define {name!r} in $defs.", hint="Give one of them another name.")
    if "properties" in parameters:  # a small model would go on with arguments of its own making
        parameters.setdefault("additionalProperties", False)
    properties = {"name": {"const": tool.name}, "arguments": parameters}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _tool(given: dict[str, Any]) -> Tool:
    kind = given.get("type")
    if kind != "function":
        raise SettingsError(f"A tool has the type {kind!r}; this server knows functions.", hint="Leave it out.")
    inner = given.get("function", given)
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            f"A function has the name {name!r}.", hint="Use letters, digits, '-' and '_', at most 64 of them."
        )
    parameters = inner.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise SettingsError(f"The parameters of {name} are no JSON schema.", hint="Send an object.")
    return Tool(name, str(inner.get("description") or ""), parameters)
