"""Rows of a JSONL file (one object a line) and of a JSON file (one array of objects)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from everlearn.corpus.rows import Row


@dataclass(frozen=True, slots=True)
class _Twice:
    """Stands for an object that has two values under one name."""

    name: str


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | _Twice:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    return _Twice(next(name for name in names if names.count(name) > 1))


_BETWEEN_VALUES = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def json_line_rows(lines: Iterator[str]) -> Iterator[Row]:
    """One row for each line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _line_row(number, line)


def json_array_rows(lines: Iterator[str]) -> Iterator[Row]:
    """One row for each object of an array, however it is spread over lines; behind a flaw of form nothing is read."""
    text, at, number = _behind_bracket(lines), 0, 1
    while True:
        begin = _value_begin(text, at)
        number += text.count("\n", at, begin)
        if text.startswith("]", begin):
            return
        try:
            value, at = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError) as flaw:
            line = next(lines, None) if _is_cut_off(flaw, text) else None
            if line is None:
                yield Row(number, None, f"The array cannot be read from here on: {flaw}.")
                return
            text, at = text[begin:] + line, 0
            continue
        yield _value_row(number, value)
        number += text.count("\n", begin, at)


def _behind_bracket(lines: Iterator[str]) -> str:
    """The text after the bracket that opens the array; blank lines before it stay, so that lines are counted right."""
    before = ""
    for line in lines:
        if line.strip():
            return before + line.replace("[", " ", 1)
        before += line
    return before


def _value_begin(text: str, at: int) -> int:
    between = _BETWEEN_VALUES.match(text, at)
    assert between is not None, "the pattern matches nothing as well"
    return between.end()


def _is_cut_off(flaw: ValueError | RecursionError, text: str) -> bool:
    """Whether the text merely ends too early: the flaw lies at its end, and more lines may mend it."""
    return isinstance(flaw, json.JSONDecodeError) and flaw.pos >= len(text.rstrip()) - 1


def _line_row(number: int, line: str) -> Row:
    try:
        return _value_row(number, _DECODER.decode(line.rstrip()))
    except json.JSONDecodeError as flaw:
        return Row(number, None, f"Not JSON: {flaw.msg} at column {flaw.colno}.")
    except RecursionError:
        return Row(number, None, "Not a lesson: nested too deeply.")


def _value_row(number: int, value: object) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    if isinstance(value, _Twice):
        return Row(number, None, f"The field {value.name!r} stands there twice. Remove one of them.")
    kind = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
    return Row(number, None, f'The line holds {kind}, wanted an object like {{"prompt": "...", "answer": "..."}}.')
