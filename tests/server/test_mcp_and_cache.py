"""The memory over the Model Context Protocol, the answer cache, and pages of the web."""

from __future__ import annotations

import pytest

from everlearn.server.answer_cache import KEPT_SECONDS, AnswerCache
from everlearn.server.figures import read_figures

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"


def rpc(client, method, params=None, **more):
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return client.post("/v1/mcp", json=message, **more).json()


def call(client, name, **arguments):
    return rpc(client, "tools/call", {"name": name, "arguments": arguments})["result"]


def test_the_memory_is_taught_found_changed_and_forgotten_by_tools(client):
    told = call(client, "memory_teach", question=QUESTION, answer=ANSWER)
    lesson = told["structuredContent"]
    assert (told["isError"], lesson["answer"]) == (False, ANSWER)
    (found,) = call(client, "memory_recall", question=QUESTION)["structuredContent"]["lessons"]
    assert (found["id"], found["decision"]) == (lesson["id"], "spoke")
    changed = call(client, "memory_update", id=lesson["id"], answer="Tobias")["structuredContent"]
    history = call(client, "memory_history", id=changed["id"])["structuredContent"]["lessons"]
    assert [row["answer"] for row in history] == [ANSWER, "Tobias"]
    (hit,) = call(client, "memory_search", query="zorblat")["structuredContent"]["lessons"]
    assert call(client, "memory_get", id=hit["id"])["structuredContent"]["answer"] == "Tobias"
    then = call(client, "memory_recall", question=QUESTION, as_of="2020-01-01")["structuredContent"]["lessons"]
    assert isinstance(then, list)
    for row in (changed, lesson):
        assert call(client, "memory_forget", id=row["id"])["structuredContent"]["count"] == 1
    assert call(client, "memory_recall", question=QUESTION)["structuredContent"]["lessons"] == []


def test_protocol_of_tools(client, key_of):
    begun = rpc(client, "initialize", {"protocolVersion": "2025-06-18"})["result"]
    assert (begun["protocolVersion"], begun["serverInfo"]["name"]) == ("2025-06-18", "everlearn")
    assert rpc(client, "initialize", {"protocolVersion": "1999"})["result"]["protocolVersion"] == "2025-11-25"
    assert "2026-07-28" in rpc(client, "server/discover")["result"]["supportedVersions"]
    tools = {tool["name"]: tool for tool in rpc(client, "tools/list")["result"]["tools"]}
    assert tools["memory_forget"]["annotations"]["destructiveHint"] is True
    assert tools["memory_search"]["annotations"]["readOnlyHint"] is True
    assert rpc(client, "ping")["result"] == {}
    assert rpc(client, "resources/list")["error"]["code"] == -32601
    assert rpc(client, "tools/call", {"name": "rm"})["error"]["code"] == -32602
    assert rpc(client, "tools/call", [])["error"]["code"] == -32602
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert client.post("/v1/mcp", json=note).status_code == 202
    assert client.post("/v1/mcp", content=b"{").json()["error"]["code"] == -32700
    assert client.post("/v1/mcp", json=[]).json()["error"]["code"] == -32600
    for bad in ({"question": QUESTION}, {"question": 3, "answer": "x"}, {"question": "", "answer": "x"}, {"x": "y"}):
        assert call(client, "memory_teach", **bad)["isError"] is True
    assert call(client, "memory_get", id="x")["isError"] is True
    reader = key_of(scopes=("ask",))
    arguments = {"name": "memory_teach", "arguments": {"question": QUESTION, "answer": ANSWER}}
    assert rpc(client, "tools/call", arguments, headers=reader)["result"]["isError"] is True
    assert client.post("/v1/mcp", json=note).status_code == 401


def test_without_a_key_no_page_of_the_web_may_call(serve, key_of):
    client = serve()
    lesson = {"prompt": QUESTION, "answer": ANSWER}
    page = {"origin": "https://evil.example"}
    assert client.post("/v1/lessons", json=lesson, headers=page).status_code == 403
    assert client.post("/v1/lessons", json=lesson, headers={"origin": "http://localhost:7860"}).status_code == 201
    named = serve(cors=("https://good.example",))
    assert named.post("/v1/lessons", json=lesson, headers={"origin": "https://good.example"}).status_code == 200
    keyed = {**page, **key_of()}
    assert client.get("/v1/lessons", headers=keyed).status_code == 200


def ask(client, **more):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, **more}
    return client.post("/v1/chat/completions", json=body).json()


def hits(client):
    return read_figures(client.get("/metrics").text).values["everlearn_answer_cache_hits_total"]


def test_the_same_request_is_answered_again_until_something_is_taught_or_forgotten(serve):
    client = serve(answer_cache=10)
    first, again = ask(client), ask(client)
    assert first["choices"] == again["choices"]
    assert first["learning"] == again["learning"]
    assert hits(client) == 1
    lesson = client.post("/v1/lessons", json={"prompt": QUESTION, "answer": ANSWER}).json()
    assert ask(client)["choices"][0]["message"]["content"] == ANSWER
    client.delete(f"/v1/lessons/{lesson['id']}")
    assert ask(client)["choices"] == first["choices"]
    assert hits(client) == 1
    for other in ({"max_tokens": 7}, {"seed": 1, "temperature": 1}, {"model": "base"}, {"learning": {"mode": "off"}}):
        ask(client, **other)
    assert hits(client) == 1
    ask(client, temperature=1), ask(client, temperature=1)  # drawn by chance
    assert hits(client) == 1
    ask(client, seed=1, temperature=1)
    assert hits(client) == 2


def test_one_tenant_never_hits_what_another_asked_and_off_is_off(serve, key_of):
    client = serve(answer_cache=10)
    for headers in (key_of("one"), key_of("two")):
        body = {"model": "everlearn", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 4}
        client.post("/v1/chat/completions", json=body, headers=headers)
    admin = read_figures(client.get("/metrics", headers=key_of()).text)
    assert admin.values["everlearn_answer_cache_hits_total"] == 0


def test_answers_are_kept_a_minute_and_so_many(client):
    from everlearn.records import Message
    from everlearn.server.answering import Ask

    tenant, now = client.app.state.room.tenants.get("local"), [0.0]
    cache = AnswerCache(2, lambda: now[0])
    places = [cache.place(tenant, Ask([Message("user", text)])) for text in "abc"]
    answer = tenant.engine.answer("x")
    for place in places:
        assert cache.get(place) is None
        cache.put(place, answer)
    assert [cache.get(place) is answer for place in places] == [False, True, True]
    now[0] = KEPT_SECONDS
    assert cache.get(places[2]) is None
    assert AnswerCache().place(tenant, Ask([Message("user", "a")])) is None


def test_figures_of_two_moments():
    before = read_figures('# TYPE a counter\na_total{x="1"} 2\n# TYPE h histogram\nh_count 1\nh_sum 2\n')
    now = read_figures('# TYPE a counter\na_total{x="1"} 5\na_total{x="2"} 1\n# TYPE h histogram\nh_count 3\nh_sum 8\n')
    assert now.since(before, "a_total") == 4
    assert now.mean_since(before, "h") == pytest.approx(3)
    assert now.mean_since(now, "h") is None
    assert now.by("a_total", "x") == {"1": 5, "2": 1}
