"""Keys, rates, walls between tenants, health and figures."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn

from everlearn.errors import FileFormatError, NotFoundError, OverloadedError, SettingsError
from everlearn.records import Message
from everlearn.server import impatient
from everlearn.server.caller import Caller
from everlearn.server.intents import Intent, intent_of
from everlearn.server.keys import KeyRing
from everlearn.server.limits import RateLimits, Rates

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"
LESSON = {"prompt": QUESTION, "answer": ANSWER}
ASKED = (Message("user", "Who runs it?"),)


def ask(client, headers, text=QUESTION):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 12}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def test_without_a_key_it_is_open_and_with_one_it_is_not(client, key_of):
    assert client.get("/v1/models").status_code == 200
    headers = key_of()
    refused = client.get("/v1/models")
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/models", headers={"authorization": "Bearer sk-el-wrong"}).status_code == 401
    assert client.get("/v1/models", headers=headers).status_code == 200
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    assert client.get("/metrics").status_code == 401


def test_beyond_loopback_nobody_is_let_in_without_a_key(serve):
    assert serve(host="0.0.0.0").get("/v1/models").status_code == 401


def test_scopes_keep_apart_who_asks_teaches_and_rules(client, key_of):
    asks, teaches = key_of(scopes=("ask",)), key_of(scopes=("ask", "teach"))
    assert client.post("/v1/lessons", json=LESSON, headers=asks).status_code == 403
    assert client.post("/v1/lessons", json=LESSON, headers=teaches).status_code == 201
    assert client.post("/v1/tables", json={"name": "x"}, headers=teaches).status_code == 403
    assert client.post("/v1/sleep", json={}, headers=teaches).status_code == 403
    assert client.get("/metrics", headers=teaches).status_code == 403


def test_nothing_of_one_tenant_reaches_another(client, key_of, home):
    one, other = key_of("one"), key_of("two")
    lesson = client.post("/v1/lessons", json=LESSON, headers=one).json()
    first = ask(client, one).json()
    assert first["choices"][0]["message"]["content"] == ANSWER
    receipt = first["learning"]["receipt_id"]
    assert ask(client, other).json()["choices"][0]["message"]["content"] != ANSWER
    for path in (
        f"/v1/lessons/{lesson['id']}",
        f"/v1/lessons/{lesson['id']}/history",
        f"/v1/receipts/{receipt}",
    ):
        assert client.get(path, headers=one).status_code == 200
        assert client.get(path, headers=other).status_code == 404
    assert client.delete(f"/v1/lessons/{lesson['id']}", headers=other).status_code == 404
    assert client.get("/v1/lessons", headers=other, params={"q": "Zorblat"}).json()["total"] == 0
    for path in ("/v1/tables", "/v1/models", "/v1/lessons/conflicts", "/v1/proposals", "/v1/adapters", "/v1/jobs"):
        assert ANSWER not in client.get(path, headers=other).text
    assert (home / "tenants" / "one" / "lessons.db").exists()
    secret = ANSWER.encode()
    assert all(secret not in p.read_bytes() for p in (home / "tenants" / "two").rglob("*") if p.is_file())


def test_keys_are_kept_as_hashes_rotate_expire_and_go(tmp_path):
    ring = KeyRing(tmp_path)
    key, secret = ring.create("shop", ["teach", "ask"], name="till")
    assert secret not in ring.path.read_text()
    assert ring.caller(secret) == Caller("shop", frozenset({"ask", "teach"}), key.id)
    assert KeyRing(tmp_path).caller(secret) is not None
    _, fresh = ring.rotate(key.id)
    assert ring.caller(secret) is None
    assert ring.caller(fresh) is not None
    ring.revoke(key.id)
    assert ring.caller(fresh) is None
    with pytest.raises(NotFoundError):
        ring.revoke(key.id)
    for tenant, scopes in (("../up", ["ask"]), ("shop", ["rule"]), ("shop", [])):
        with pytest.raises(SettingsError):
            ring.create(tenant, scopes)
    with pytest.raises(SettingsError):
        ring.create("shop", ["ask"], expires_at=datetime.now(UTC) - timedelta(1))
    ring.path.write_text("{")
    with pytest.raises(FileFormatError):
        KeyRing(tmp_path).all()


def test_an_expired_key_is_refused(tmp_path, monkeypatch):
    ring = KeyRing(tmp_path)
    _, secret = ring.create("shop", ["ask"], expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert ring.caller(secret) is not None

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=2)

    monkeypatch.setattr("everlearn.server.keys.datetime", Later)
    assert ring.caller(secret) is None


def test_rates_fill_up_again_as_time_goes_by():
    now = [0.0]
    limits = RateLimits(Rates(requests=2, tokens=100, lessons=3), clock=lambda: now[0])
    caller = Caller("t", frozenset({"ask"}), "k")
    left = [limits.take_request(caller)["x-ratelimit-remaining-requests"] for _ in range(2)]
    assert left == ["1", "0"]
    with pytest.raises(OverloadedError) as raised:
        limits.take_request(caller)
    assert raised.value.retry_after == 30.0
    limits.take_request(Caller("t", frozenset({"ask"}), "another"))
    now[0] = 30.0
    limits.take_request(caller)
    limits.take_tokens(caller, 250)
    now[0] = 60.0
    with pytest.raises(OverloadedError, match="100 tokens"):
        limits.take_request(caller)
    limits.take_lessons(caller, 3)
    with pytest.raises(OverloadedError, match="3 lessons"):
        limits.take_lessons(caller, 1)


def test_too_many_requests_are_told_when_to_come_back(serve):
    client = serve(rates=Rates(requests=2))
    codes = [client.get("/v1/models").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = client.get("/v1/models")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert client.get("/health").status_code == 200


def test_a_body_that_is_too_large_is_refused_told_or_not(serve):
    client = serve(most_bytes=1000)
    big = {"prompt": "x" * 2000, "answer": "y"}
    assert client.post("/v1/lessons", json=big).status_code == 413

    def trickle():
        yield b'{"prompt": "'
        for _ in range(30):
            yield b"x" * 100
        yield b'", "answer": "y"}'

    streamed = client.post("/v1/lessons", content=trickle(), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    assert streamed.json()["error"]["code"] == "request_too_large"


def test_a_body_that_does_not_come_is_not_waited_for(serve):
    client = serve(most_seconds=0.05)
    # The test client joins a body before it sends it, so the app is called as a server would call it.
    sent, waiting = [], asyncio.Event()

    async def receive():
        await waiting.wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/lessons", "headers": [], "query_string": b""}
    client.portal.call(client.app, scope | {"app": client.app, "http_version": "1.1", "scheme": "http"}, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(impatient, "HEAD_SECONDS", 0.2)

    async def app(_scope, _receive, send):
        await asyncio.sleep(0.4)  # what takes long is the answer, not the request
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=impatient.ImpatientProtocol, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        for begin in (b"", b"GET / HTTP/1.1\r\nhost: x\r\n"):
            with socket.create_connection(listening.getsockname(), timeout=10) as slow:
                slow.sendall(begin)
                assert slow.recv(100) == b""  # closed
        with socket.create_connection(listening.getsockname(), timeout=10) as quick:
            quick.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 204 " in quick.recv(100)
    finally:
        server.should_exit = True
        thread.join()


def test_every_answer_has_an_id_and_is_counted(client):
    given = client.get("/v1/models", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = client.get("/v1/models", headers={"x-request-id": "no good\t" * 30})
    assert made.headers["x-request-id"].startswith("req_")
    client.post("/v1/lessons", json=LESSON)
    ask(client, {})
    text = client.get("/metrics").text
    for line in (
        'everlearn_requests_total{method="GET",route="/v1/models",status="200"} 2.0',
        'everlearn_recall_hits_total{how="spoke"} 1.0',
        "everlearn_lessons_taught_total 1.0",
        'everlearn_lessons{status="active",tenant="local"} 1.0',
        "everlearn_num_requests_running 0.0",
    ):
        assert line in text


def test_methods_and_urls_that_are_not_there(client):
    assert client.put("/v1/models").status_code == 405
    assert client.get("/v1/none").json()["error"]["code"] == "unknown_url"
    assert client.get("/version").json()["version"]
    assert client.get("/v1/system").json()["tenant"] == "local"
    schema = client.get("/openapi.json").json()
    assert "/v1/lessons" in schema["paths"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["Remember: Who runs it? Ann."], Intent("Ann.", "Who runs it?")),
        (["please remember that: the shop closes at noon"], Intent("the shop closes at noon")),
        (["Who runs it?", "Bob", "No, it is Ann."], Intent("Ann", "Who runs it?", ASKED)),
        (["Who runs it?", "Bob", "That's wrong. The answer is Ann"], Intent("Ann", "Who runs it?", ASKED)),
        (["No, it is Ann."], None),
        (["Do you remember: who runs it?"], None),
        (["Who runs it?", "Bob", "No, I do not think so."], None),
        (["I remember her."], None),
    ],
)
def test_what_a_message_wants_to_be_learned(said, meant):
    roles = ["user", "assistant"] * len(said)
    assert intent_of([Message(role, text) for role, text in zip(roles, said, strict=False)]) == meant
