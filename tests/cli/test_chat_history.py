import os
import stat

import pytest

from everlearn.cli.chat_history import ChatHistory


def test_lines_are_kept_but_lessons_are_not(tmp_path):
    path = tmp_path / "home" / "chat_history"
    history = ChatHistory(path)
    for line in ("What is it?", "/teach secret => word", "/wrong secret", "/why"):
        history.append_string(line)
    assert list(ChatHistory(path).load_history_strings()) == ["/why", "What is it?"]
    assert "secret" not in path.read_text(encoding="utf-8")
    assert history.get_strings()[1] == "/teach secret => word", "within the session the arrow keys find it"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_nobody_else_may_read_it(tmp_path):
    ChatHistory(tmp_path / "chat_history")
    assert stat.S_IMODE((tmp_path / "chat_history").stat().st_mode) == 0o600
