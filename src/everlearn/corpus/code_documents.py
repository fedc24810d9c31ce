"""Reader of source code: each function, method and class with its name, in any language that Pygments knows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, Keyword, Literal, Name, _TokenType
from pygments.util import ClassNotFound

from everlearn.corpus.document import Block, Document
from everlearn.corpus.text_lines import text_lines
from everlearn.errors import FileFormatError

_DEFINES = frozenset(
    [
        "def",
        "class",
        "function",
        "func",
        "fn",
        "fun",
        "interface",
        "struct",
        "enum",
        "trait",
        "impl",
        "module",
        "namespace",
        "type",
        "object",
        "record",
        "sub",
        "protocol",
        "extension",
        "defmodule",
        "defp",
        "union",
        "package",
    ]
)
_FUNCTIONS = frozenset("def func function fn fun sub defp".split())  # noqa: SIM905
_NOT_CODE = frozenset({"Text only", "Text output", "reStructuredText", "Markdown", "HTML"})


def is_code(path: Path) -> bool:
    """Whether a file's name is that of source code (or of a configuration file)."""
    return _lexer(path) is not None


def read_code(path: Path) -> Document:
    """Read a source file.

    Raises:
        FileFormatError: it cannot be read, is no text, or of no known language.
    """
    lexer = _lexer(path)
    if lexer is None:
        raise FileFormatError(f"{path} is of no known language.", hint="Rename it to .txt to have it read as text.")
    return code_document("".join(text_lines(path)), lexer, title=path.name)


def code_document(text: str, lexer: Lexer, *, title: str) -> Document:
    """A source as a document; what stands before the first definition, or between them, is under the file alone."""
    lines = text.splitlines()
    starts = {_with_lead(lines, number): (number, name) for number, name in _outer(lines, _definitions(text, lexer))}
    blocks: list[Block] = []
    path: list[tuple[int, str]] = []
    bounds = sorted({1, *starts, len(lines) + 1})
    for begin, end in pairwise(bounds):
        if begin in starts:
            number, name = starts[begin]
            indent = _indent(lines[number - 1])
            path = [each for each in path if each[0] < indent]
            path.append((indent, name))
        blocks += _block(lines, begin, end, tuple(name for _, name in path))
    return Document(title, "line", tuple(blocks))


def _lexer(path: Path) -> Lexer | None:
    try:
        lexer = get_lexer_for_filename(path.name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return None if lexer.name in _NOT_CODE else lexer


def _outer(lines: list[str], definitions: Iterator[tuple[int, str, bool]]) -> Iterator[tuple[int, str]]:
    """(line, name) of each definition that stands in no function: what is inside one is part of it."""
    around: list[tuple[int, bool]] = []
    for number, name, is_function in definitions:
        indent = _indent(lines[number - 1])
        around = [each for each in around if each[0] < indent]
        if not any(inside for _, inside in around):
            yield number, name
        around.append((indent, is_function))


def _definitions(text: str, lexer: Lexer) -> Iterator[tuple[int, str, bool]]:
    """(line, name, whether it is a function) of each definition, the first of its line."""
    number, last, before = 1, 0, ""
    for kind, value in lexer.get_tokens(text):
        word = value.strip()
        if word and kind not in Comment and kind not in Literal:
            if number != last and _is_definition(kind, before):
                last = number
                yield number, word, before in _FUNCTIONS or kind in Name.Function
            before = word.lower() if kind in Keyword or kind in Name else ""
        if "\n" in value:
            number += value.count("\n")
            before = ""


def _is_definition(kind: _TokenType, before: str) -> bool:
    """Whether a name is defined here: the lexer says so, or a word such as `class` stands before it."""
    return kind in Name.Class or kind in Name.Function or (kind in Name and before in _DEFINES)


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _with_lead(lines: list[str], number: int) -> int:
    """The line at which what belongs to a definition begins: comments and decorators right above it."""
    begin = number
    while begin > 1 and lines[begin - 2].strip().startswith(("#", "//", "/*", "*", "@", "--", "///")):
        begin -= 1
    return begin


def _block(lines: list[str], begin: int, end: int, titles: tuple[str, ...]) -> list[Block]:
    while begin < end and not lines[begin - 1].strip():
        begin += 1
    while end > begin and not lines[end - 2].strip():
        end -= 1
    if begin >= end:
        return []
    return [Block("\n".join(lines[begin - 1 : end - 1]), begin, end - 1, titles, by_lines=True)]
