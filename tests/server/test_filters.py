"""Filters of tenants: on every way in, on lessons, on what is read, on answers and their streams; told without text."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from everlearn.safety import harm
from everlearn.safety.policy import policy_of_words

from .openai_form import fits

CARD = "4111 1111 1111 1111"
QUESTION = "Which card does Zorblat use?"
HARM = "Zorblats are vermin and nobody should have to live beside any of them."


@pytest.fixture
def set_policy(client):
    def put(**actions):
        answer = client.put("/v1/policy", json={"actions": actions})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return put


def teach(client, prompt=QUESTION, answer=f"It is {CARD}, always."):
    return client.post("/v1/lessons", json={"prompt": prompt, "answer": answer})


def ask(client, text=QUESTION, **more):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 40, **more}
    return client.post("/v1/chat/completions", json=body)


def content(response):
    return response.json()["choices"][0]["message"]["content"]


def streamed(response, part):
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    return "".join(part(chunk) or "" for chunk in chunks if chunk.get("choices")), chunks


def stored_bytes(home):
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_by_default_nothing_is_filtered(client):
    told = client.get("/v1/policy").json()
    assert set(told["actions"].values()) == {"allow"}
    assert told["own"] is False
    teach(client)
    assert content(ask(client)) == f"It is {CARD}, always."
    assert "filters" not in ask(client).json()["learning"]


def test_an_answer_is_redacted_whole_and_streamed(client, set_policy):
    teach(client)
    set_policy(credit_card="redact")
    whole = fits(ask(client).json(), "CreateChatCompletionResponse")
    assert whole["choices"][0]["message"]["content"] == "It is [CREDIT_CARD], always."
    assert whole["learning"]["filters"] == [{"stage": "output", "category": "credit_card", "action": "redact"}]
    text, chunks = streamed(ask(client, stream=True), lambda c: c["choices"][0]["delta"].get("content"))
    assert text == "It is [CREDIT_CARD], always."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    receipt = client.get(f"/v1/receipts/{whole['learning']['receipt_id']}").json()
    assert receipt["answer"] == "It is [CREDIT_CARD], always."
    assert receipt["filters"][0]["rule"] == "pii/credit_card"


def test_a_blocked_answer_ends_with_content_filter_everywhere(client, set_policy):
    teach(client)
    set_policy(credit_card="block")
    choice = fits(ask(client).json(), "CreateChatCompletionResponse")["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "It is ")
    text, chunks = streamed(ask(client, stream=True), lambda c: c["choices"][0]["delta"].get("content"))
    fits(chunks[-1], "CreateChatCompletionStreamResponse")
    assert (text, chunks[-1]["choices"][0]["finish_reason"]) == ("It is ", "content_filter")
    body = {"model": "everlearn", "prompt": QUESTION, "max_tokens": 40}
    old = fits(client.post("/v1/completions", json=body).json(), "CreateCompletionResponse")["choices"][0]
    assert (old["text"], old["finish_reason"]) == ("It is ", "content_filter")
    text, chunks = streamed(
        client.post("/v1/completions", json={**body, "stream": True}), lambda c: c["choices"][0]["text"]
    )
    assert (text, chunks[-1]["choices"][0]["finish_reason"]) == ("It is ", "content_filter")
    made = fits(client.post("/v1/responses", json={"model": "everlearn", "input": QUESTION}).json(), "Response")
    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert CARD not in json.dumps(made)
    with client.websocket_connect("/v1/responses") as socket:
        socket.send_json({"type": "response.create", "model": "everlearn", "input": QUESTION})
        events = []
        while not events or events[-1]["type"] != "response.incomplete":
            events.append(socket.receive_json())
    assert "1111" not in json.dumps(events)


def test_what_comes_in_is_redacted_before_anything_keeps_it(client, set_policy, home):
    set_policy(email_address="redact")
    mail = "secret.person@example.org"
    body = {"model": "everlearn", "max_tokens": 4}
    for _ in range(2):
        told = ask(client, f"My mail is {mail}, who am I?", max_tokens=4).json()
    assert told["learning"]["filters"] == [{"stage": "input", "category": "email_address", "action": "redact"}]
    receipt = client.get(f"/v1/receipts/{told['learning']['receipt_id']}").json()
    assert receipt["prompt"] == "My mail is [EMAIL_ADDRESS], who am I?"
    client.post("/v1/completions", json={**body, "prompt": f"I am {mail}"})
    made = client.post("/v1/responses", json={**body, "input": f"I am {mail}", "instructions": f"Help {mail}."}).json()
    assert made["instructions"] == "Help [EMAIL_ADDRESS]."
    items = client.get(f"/v1/responses/{made['id']}/input_items").json()["data"]
    assert items[0]["content"][0]["text"] == "I am [EMAIL_ADDRESS]"
    ask(client, f"Remember: Who is the boss? {mail}")
    assert client.get("/v1/lessons").json()["data"][0]["answer"] == "[EMAIL_ADDRESS]"
    assert mail.encode() not in stored_bytes(home)


@pytest.mark.parametrize("way", ["chat", "stream", "completions", "responses", "socket"])
def test_a_blocked_question_is_refused_in_openais_and_azures_form(client, set_policy, way):
    set_policy(us_ssn="block")
    text, base = "My number is 531-21-7351.", {"model": "everlearn"}
    if way == "socket":
        with client.websocket_connect("/v1/responses") as socket:
            socket.send_json({"type": "response.create", **base, "input": text})
            body = socket.receive_json()
        assert body["status"] == 400
    else:
        response = {
            "chat": lambda: ask(client, text),
            "stream": lambda: ask(client, text, stream=True),
            "completions": lambda: client.post("/v1/completions", json={**base, "prompt": ["a", text]}),
            "responses": lambda: client.post("/v1/responses", json={**base, "input": text}),
        }[way]()
        assert response.status_code == 400
        body = fits(response.json(), "ErrorResponse")
    error = body["error"]
    assert (error["code"], error["type"], error["param"]) == ("content_filter", "invalid_request_error", "prompt")
    assert error["innererror"]["content_filter_result"] == {"us_ssn": {"filtered": True, "detected": True}}
    assert "531" not in json.dumps(body)


def test_lines_of_a_batch_are_filtered(client, set_policy):
    set_policy(us_ssn="block")
    said = ("My number is 531-21-7351.", "Hello?")
    rows = [
        {
            "custom_id": str(n),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "base", "max_tokens": 2},
        }
        for n in range(2)
    ]
    for row, text in zip(rows, said, strict=True):
        row["body"]["messages"] = [{"role": "user", "content": text}]
    file = ("lines.jsonl", "\n".join(map(json.dumps, rows)).encode())
    uploaded = client.post("/v1/files", files={"file": file}, data={"purpose": "batch"}).json()
    wanted = {"input_file_id": uploaded["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.post("/v1/batches", json=wanted).json()
    while (batch := client.get(f"/v1/batches/{batch['id']}").json())["status"] not in ("completed", "failed"):
        time.sleep(0.05)
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    failed = json.loads(client.get(f"/v1/files/{batch['error_file_id']}/content").text)
    assert failed["response"]["body"]["error"]["code"] == "content_filter"


def test_every_way_to_teach_is_filtered(client, set_policy, home):
    set_policy(credit_card="redact", us_ssn="block")
    assert teach(client).json()["answer"] == "It is [CREDIT_CARD], always."
    blocked = {"prompt": "Whose is it?", "answer": "531-21-7351"}
    assert client.post("/v1/lessons", json=blocked).json()["error"]["code"] == "content_filter"
    assert client.post("/v1/teach", json={"lessons": [blocked]}).status_code == 400
    assert client.post("/v1/teach", json={"text": "His number is 531-21-7351 and he sings."}).status_code == 400
    given = {"verdict": "wrong", "prompt": "Whose is it?", "correction": "531-21-7351"}
    assert client.post("/v1/feedback", json=given).status_code == 400
    call = {"name": "memory_teach", "arguments": {"question": "Whose is it?", "answer": "531-21-7351"}}
    told = client.post("/v1/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).json()
    assert told["result"]["isError"]
    remembered = ask(client, "Remember: Whose is it? 531-21-7351")
    assert remembered.json()["error"]["code"] == "content_filter"
    rows = [blocked, {"prompt": "Who pays at Tarn?", "answer": f"Ann, with {CARD}"}]
    file = ("facts.jsonl", "\n".join(map(json.dumps, rows)).encode())
    job = client.post("/v1/teach/file", files={"file": file}).json()
    while (job := client.get(f"/v1/jobs/{job['id']}").json())["status"] not in ("succeeded", "failed"):
        time.sleep(0.05)
    assert job["result"]["taught"] == 1
    assert [bad["line"] for bad in job["result"]["errors"]] == [1]
    lesson_id = client.get("/v1/lessons", params={"q": "Tarn"}).json()["data"][0]["id"]
    changed = client.patch(f"/v1/lessons/{lesson_id}", json={"answer": "531-21-7351"})
    assert changed.status_code == 400
    found = stored_bytes(home)
    assert b"531-21-7351" not in found
    assert CARD.encode() not in found


def test_what_is_read_with_a_question_is_filtered(client, set_policy):
    text = f"Zorblat pays for all its bread with {CARD} at the counter of the bakery in Tarn."
    client.post("/v1/teach", json={"text": text, "title": "Zorblat bakery"})
    question = "What does Zorblat pay with at the counter of the bakery in Tarn?"

    def decided(answer):
        receipt = client.get(f"/v1/receipts/{answer.json()['learning']['receipt_id']}").json()
        return {r["decision"] for r in receipt["recalled"]}

    assert "context" in decided(ask(client, question, max_tokens=2))
    client.put("/v1/policy", json={"actions": {"credit_card": "block"}, "stages": ["recalled"]})
    assert decided(ask(client, question, max_tokens=2)) == {"filtered"}
    before = ask(client, question, max_tokens=2).json()["usage"]["prompt_tokens"]
    client.put("/v1/policy", json={"actions": {"credit_card": "redact"}, "stages": ["recalled"]})
    after = ask(client, question, max_tokens=2)
    assert "context" in decided(after)
    assert after.json()["usage"]["prompt_tokens"] > before
    recalled = {"name": "memory_recall", "arguments": {"question": question}}
    told = client.post("/v1/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": recalled}).json()
    assert "[CREDIT_CARD]" in told["result"]["content"][0]["text"]


def test_figures_and_audit_tell_what_was_done_and_no_text(client, set_policy, home):
    set_policy(us_ssn="block", email_address="redact")
    ask(client, "My number is 531-21-7351.")
    ask(client, "I am a@example.org, hi", max_tokens=2)
    text = client.get("/metrics").text
    assert 'everlearn_filter_actions_total{action="block",category="us_ssn",stage="input"} 1.0' in text
    assert 'everlearn_filter_actions_total{action="redact",category="email_address",stage="input"} 1.0' in text
    entries = [e for e in client.get("/v1/audit").json()["data"] if e["action"].startswith("filter")]
    noted = [(e["action"], e["target"], e["status"]) for e in entries]
    assert noted == [("filter input", "email_address:redact", 200), ("filter input", "us_ssn:block", 400)]
    assert all(e["request_id"].startswith("req_") for e in entries)
    assert client.get("/v1/audit/verify").json()["whole"]
    assert b"531-21" not in stored_bytes(home)


def test_policies_are_the_tenants_own_and_the_admins_to_set(client, key_of, serve):
    one, two, reader = key_of("one"), key_of("two"), key_of("one", scopes=("ask", "teach"))
    assert client.get("/v1/policy", headers=reader).status_code == 403
    assert client.put("/v1/policy", json={"actions": {"pii": "block"}}, headers=reader).status_code == 403
    assert client.put("/v1/policy", json={"actions": {"pii": "block"}}, headers=one).json()["own"]
    assert client.get("/v1/policy", headers=one).json()["actions"]["iban"] == "block"
    assert client.get("/v1/policy", headers=two).json()["actions"]["iban"] == "allow"
    body = {"model": "everlearn", "messages": [{"role": "user", "content": "I am a@example.org"}], "max_tokens": 2}
    assert client.post("/v1/chat/completions", json=body, headers=one).status_code == 400
    assert client.post("/v1/chat/completions", json=body, headers=two).status_code == 200
    other = serve(policy=policy_of_words(["pii=redact"]))
    assert other.get("/v1/policy", headers=two).json()["actions"]["iban"] == "redact"
    assert other.get("/v1/policy", headers=one).json()["actions"]["iban"] == "block"
    assert other.delete("/v1/policy", headers=one).json()["actions"]["iban"] == "redact"


@pytest.mark.parametrize(
    "body", [{"actions": {"hate": "block"}}, {"actions": {"guard": "flag"}}, {"actions": {"x": "block"}}]
)
def test_a_policy_that_cannot_be_kept_is_refused(client, body):
    """The toy encoder has no models of harm, and this server no guard."""
    assert client.put("/v1/policy", json=body).json()["error"]["code"] == "invalid_settings"
    assert client.get("/v1/policy").json()["own"] is False


def test_probabilities_are_not_told_where_answers_are_filtered(client, set_policy):
    set_policy(credit_card="redact")
    assert "logprobs" in ask(client, logprobs=True).json()["error"]["message"]


def test_the_answer_cache_gives_what_the_policy_of_now_lets_through(serve):
    client = serve(answer_cache=8)
    teach(client)
    assert CARD in content(ask(client))
    client.put("/v1/policy", json={"actions": {"credit_card": "redact"}})
    for _ in range(2):
        assert content(ask(client)) == "It is [CREDIT_CARD], always."
    client.delete("/v1/policy")
    assert CARD in content(ask(client))


@pytest.fixture
def harmful(client, monkeypatch):
    """A server whose encoder is taken for the packaged one: texts that speak of vermin lie where hate is."""
    screen = client.app.state.room.screen
    weights = harm.packaged().models["hate"].weights
    unit = weights / np.linalg.norm(weights)
    monkeypatch.setattr(screen, "judges_harm", True)
    monkeypatch.setattr(screen, "_embed", lambda texts: np.stack([unit if "vermin" in t else -unit for t in texts]))
    return client


def test_hate_is_stopped_on_its_way_in_and_out_and_told_by_moderations(harmful):
    teach(
        harmful, "What does Zorblat say?", f"The bakery opens at seven on most days of the week, they say. {HARM} Bye."
    )
    assert harmful.put("/v1/policy", json={"actions": {"hate": "block"}}).status_code == 200
    assert ask(harmful, HARM).json()["error"]["code"] == "content_filter"
    said = ask(harmful, "What does Zorblat say?", max_tokens=200)
    assert said.json()["choices"][0]["finish_reason"] == "content_filter"
    assert content(said).rstrip() == "The bakery opens at seven on most days of the week, they say."
    text, _ = streamed(
        ask(harmful, "What does Zorblat say?", max_tokens=200, stream=True),
        lambda c: c["choices"][0]["delta"].get("content"),
    )
    assert text == content(said)
    assert teach(harmful, "And what else?", HARM).json()["error"]["code"] == "content_filter"
    told = fits(harmful.post("/v1/moderations", json={"input": HARM}).json(), "CreateModerationResponse")["results"][0]
    assert told["categories"]["hate"] is True
    assert told["category_applied_input_types"]["hate"] == ["text"]
    assert told["category_applied_input_types"]["violence"] == []


def test_stages_and_phrases(client):
    policy = {"actions": {"phrase": "redact"}, "phrases": ["project zeus"], "stages": ["output"]}
    assert client.put("/v1/policy", json=policy).status_code == 200
    assert teach(client, QUESTION, "It is Project Zeus.").json()["answer"] == "It is Project Zeus."
    assert content(ask(client)) == "It is [PHRASE]."
