"""`everlearn serve`, `keys`, `audit` and `top` on the command line; no model is loaded."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from everlearn import wiring
from everlearn.cli.main import run
from everlearn.store.audit_log import AuditLog


def said(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        run(list(words))
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_a_key_is_made_listed_rotated_and_revoked(capsys):
    code, out, _ = said(capsys, "keys", "create", "--scopes", "ask", "--name", "ann", "--json")
    made = json.loads(out)
    assert (code, made["secret"][:6], made["scopes"]) == (0, "sk-el-", ["ask"])
    _, out, _ = said(capsys, "keys", "list")
    assert "ann" in out
    assert made["secret"] not in out
    _, out, _ = said(capsys, "keys", "rotate", made["id"], "--json")
    assert json.loads(out)["secret"] != made["secret"]
    assert said(capsys, "keys", "revoke", made["id"])[0] == 0
    assert json.loads(said(capsys, "keys", "list", "--json")[1]) == {"keys": []}
    assert said(capsys, "keys", "create", "--scopes", "all")[0] == 2


def test_a_port_that_is_taken_is_told_before_weights_are_read(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = said(capsys, "serve", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "Nobody can listen" in err


def test_the_audit_log_is_shown_and_verified(capsys):
    assert said(capsys, "audit", "--tenant", "nobody")[0] == 2
    settings = wiring.load_settings()
    store = wiring.open_store(settings)
    AuditLog(store.database).add("key_1", "DELETE /v1/lessons/{lesson_id}", "01abc", 200, "req_1")
    store.close()
    code, out, _ = said(capsys, "audit")
    assert code == 0
    assert "key_1" in out
    assert "whole" in out
    with sqlite3.connect(settings.state_folder / "lessons.db") as connection:
        connection.execute("UPDATE audit SET key_id = 'key_2'")
    code, out, _ = said(capsys, "audit", "--json")
    assert code == 1
    assert json.loads(out)["flaws"] == ["entry 1 was changed, or what was before it."]


@pytest.fixture
def address():
    """A server that tells some figures, more at each look."""
    looks = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            looks.append(self.path)
            body = (
                "# TYPE everlearn_generation_tokens counter\n"
                f"everlearn_generation_tokens_total {100 * len(looks)}\n"
                "# TYPE everlearn_lessons gauge\n"
                'everlearn_lessons{tenant="local",status="active"} 7\n'
            ).encode()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_top_shows_what_happened_between_two_looks(capsys, address):
    code, out, _ = said(capsys, "top", "--url", address, "--every", "0.2", "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows["tokens_written_a_second"] > 0
    assert rows["lessons"] == {"active": 7}
    assert rows["first_token_ms"] is None
    assert "7 active" in said(capsys, "top", "--url", address, "--every", "0.2", "--once")[1]


def test_top_says_where_no_server_is(capsys):
    code, _, err = said(capsys, "top", "--url", "http://127.0.0.1:9", "--once")
    assert code == 2
    assert "everlearn serve" in err
