"""What was typed in chats, for the arrow keys. Lessons are left out: what is forgotten must not live on here."""

from __future__ import annotations

from pathlib import Path
from typing import final

from prompt_toolkit.history import FileHistory

TEACHING = ("/teach", "/wrong")


@final
class ChatHistory(FileHistory):
    """A private file of lines.

    Args:
        path: the file; made, with its folder, if missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        """Keep a line for later sessions."""
        if not string.startswith(TEACHING):
            super().store_string(string)
