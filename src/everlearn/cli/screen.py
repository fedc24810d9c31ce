"""What the terminal shows: consoles, tables, JSON. Plain text where it is no terminal, no colour under NO_COLOR."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Rows = Iterable[Sequence[str | Text]]

PIPE_WIDTH = 120
_LEFT_TO_RIGHT = Text("\u200e")  # a mark without width
# Control characters of taught or generated text must not steer the terminal; they are shown as their pictures.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def out() -> Console:
    """The console of results."""
    return _console(stderr=False)


def err() -> Console:
    """The console of everything that is no result: errors, warnings, progress."""
    return _console(stderr=True)


def is_terminal(stream: object) -> bool:
    """Whether a person looks at this stream."""
    return bool(getattr(stream, "isatty", lambda: False)())


def visible(text: str) -> str:
    """Text with control characters made visible; line feeds and tabs stay."""
    return text.translate(_PICTURES)


def one_line(text: str) -> str:
    """Visible text on one line."""
    return " ".join(visible(text).split())


def text(content: str, style: str = "") -> Text:
    """Text of a user or a model: shown as it is, never read as markup."""
    return Text(visible(content), style=style)


def warn(message: str) -> None:
    """Say on stderr what a user should know although the command goes on."""
    err().print(Text.assemble(("warning: ", "yellow"), visible(message)))


def note(message: str, style: str = "dim") -> None:
    """Say something on stderr that is no result."""
    err().print(text(message, style))


def grid(*columns: str, title: str = "", caption: str = "") -> Table:
    """An empty table in the house style.

    A column whose name begins with ">" is aligned to the right, one that begins with "=" to the left; both stay whole.
    One that begins with "~" is cut to one line. It is the text of the others that wraps.
    """
    table = Table(
        box=box.SIMPLE_HEAD, title=title or None, caption=caption or None, title_justify="left", caption_justify="left"
    )
    table.title_style, table.caption_style, table.header_style = "bold", "dim", "dim"
    for name in columns:
        line = name[:1] in (">", "=", "~")
        table.add_column(
            name.lstrip(">=~"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=line,
            overflow="ellipsis" if line else "fold",
        )
    return table


def add_texts(table: Table, *cells: Text) -> None:
    """Add a row; right-to-left text does not change the order of its cells where a terminal reorders text."""
    mixed = any(unicodedata.bidirectional(character) in ("R", "AL") for cell in cells for character in cell.plain)
    table.add_row(*(_LEFT_TO_RIGHT + cell if mixed else cell for cell in cells))


def stretched(table: Table, *ratios: int) -> Table:
    """Let columns share the whole width by ratio; 0 = as wide as needed."""
    table.expand = True
    for column, ratio in zip(table.columns, ratios, strict=True):
        column.ratio = ratio or None
    return table


def show(renderable: RenderableType, *, widest: int = 0) -> None:
    """Print a result, at most `widest` columns wide; 0 = as wide as the terminal."""
    console = out()
    console.print(renderable, width=min(console.width, widest) if widest else None)


def show_rows(columns: Sequence[str], rows: Rows, usual: Mapping[str, str] | None = None) -> None:
    """Print a list: a table for a person, one line with tabs per row for a pipe.

    Args:
        columns: their names.
        rows: a cell for each column.
        usual: name of a column -> value that tells a person nothing; a column of nothing else is left out.
    """
    cells = [[cell if isinstance(cell, Text) else text(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        show(table_of(columns, cells, usual or {}))
        return
    for row in cells:
        sys.stdout.write("\t".join(one_line(cell.plain) for cell in row) + "\n")


def table_of(columns: Sequence[str], rows: Sequence[Sequence[Text]], usual: Mapping[str, str]) -> Table:
    """A filled table without the columns that hold nothing but their usual value; see `show_rows`."""
    kept = [n for n, name in enumerate(columns) if any(row[n].plain != usual.get(name) for row in rows)]
    table = grid(*(columns[n] for n in kept))
    for row in rows:
        add_texts(table, *(row[n] for n in kept))
    return table


def document(record: DataclassInstance) -> dict[str, object]:
    """A record as JSON can hold it, nested ones included."""
    return asdict(record)


def show_json(value: object) -> None:
    """Print the one JSON document of a command."""
    # A terminal or pipe of another encoding gets escapes, which mean the same.
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=ascii_only, indent=2, default=_json_value) + "\n")
    sys.stdout.flush()


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if is_terminal(stream) or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False, soft_wrap=False)
