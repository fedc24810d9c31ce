"""The responses API: events, conversations, the WebSocket, and what forgetting a lesson does to responses."""

from __future__ import annotations

import json

import pytest

from .openai_form import fits

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"
NAMES = {
    "response.created": "ResponseCreatedEvent",
    "response.in_progress": "ResponseInProgressEvent",
    "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.content_part.added": "ResponseContentPartAddedEvent",
    "response.output_text.delta": "ResponseTextDeltaEvent",
    "response.output_text.done": "ResponseTextDoneEvent",
    "response.content_part.done": "ResponseContentPartDoneEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent",
    "response.completed": "ResponseCompletedEvent",
    "response.incomplete": "ResponseIncompleteEvent",
    "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDeltaEvent",
    "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDoneEvent",
}


def teach(client, prompt=QUESTION, answer=ANSWER):
    return client.post("/v1/lessons", json={"prompt": prompt, "answer": answer}).json()["id"]


def respond(client, text=QUESTION, **more):
    made = client.post("/v1/responses", json={"model": "everlearn", "input": text, "max_output_tokens": 12, **more})
    assert made.status_code == 200, made.text
    return fits(made.json(), "Response")


def said(response):
    return "".join(part["text"] for item in response["output"] for part in item.get("content", ()))


def test_a_response_is_kept_found_listed_and_deleted(client):
    teach(client)
    made = respond(client, instructions="Be brief.", metadata={"of": "test"})
    assert (said(made), made["status"], made["metadata"]) == (ANSWER, "completed", {"of": "test"})
    assert client.get(f"/v1/responses/{made['id']}").json() == made
    items = fits(client.get(f"/v1/responses/{made['id']}/input_items").json(), "ResponseItemList")
    assert [item["content"][0]["text"] for item in items["data"]] == [QUESTION]
    assert client.delete(f"/v1/responses/{made['id']}").json()["deleted"] is True
    assert client.get(f"/v1/responses/{made['id']}").status_code == 404
    assert respond(client, store=False)["store"] is False


def test_a_stream_has_all_events_in_order_and_ends_with_the_whole(client):
    teach(client)
    body = {"model": "everlearn", "input": QUESTION, "stream": True}
    text = client.post("/v1/responses", json=body).text
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name.removeprefix("event: ") for name, _ in blocks] == [event["type"] for event in events]
    for event in events:
        fits(event, NAMES[event["type"]])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == said(events[-1]["response"]) == ANSWER
    kinds = [event["type"] for event in events]
    assert kinds[:4] == list(NAMES)[:4]
    assert kinds[-1] == "response.completed"


def test_a_conversation_goes_on_and_goes_with_the_lesson(client, home):
    lesson = teach(client)
    first = respond(client)
    second = respond(client, "And what do they bake?", previous_response_id=first["id"])
    asked = client.get(f"/v1/responses/{second['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert [item["role"] for item in asked] == ["user", "assistant", "user"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    other = respond(client, "What is two and two?")
    client.delete(f"/v1/lessons/{lesson}")
    assert client.get(f"/v1/responses/{first['id']}").status_code == 404
    assert client.get(f"/v1/responses/{second['id']}").status_code == 404  # it quotes the first
    assert client.get(f"/v1/responses/{other['id']}").status_code == 200
    gone = client.post("/v1/responses", json={"model": "everlearn", "input": "x", "previous_response_id": first["id"]})
    assert gone.status_code == 404
    files = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert not any(ANSWER.encode() in body for body in files)


def test_an_answer_that_was_cut_is_incomplete(client):
    made = respond(client, "Say something long.", max_output_tokens=2)
    assert made["status"] == "incomplete"
    assert made["incomplete_details"] == {"reason": "max_output_tokens"}


def test_what_is_said_teaches_and_the_confirmation_can_be_gone_on_from(client):
    made = respond(client, f"Remember: {QUESTION} {ANSWER}.")
    assert made["learning"]["taught"][0]["answer"] == f"{ANSWER}."
    assert made["store"] is True
    respond(client, "Thank you", previous_response_id=made["id"])
    assert said(respond(client)) == f"{ANSWER}."
    client.delete(f"/v1/lessons/{made['learning']['taught'][0]['id']}")
    assert client.get(f"/v1/responses/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"background": True},
        {"conversation": "conv_1"},
        {"truncation": "auto"},
        {"text": {"format": {"type": "grammar"}}},
        {"input": [{"type": "computer_call"}]},
        {"input": [{"role": "owner", "content": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        {"input": []},
        {"tools": [{"type": "web_search"}]},
    ],
)
def test_what_is_not_done_here_is_refused(client, body):
    made = client.post("/v1/responses", json={"model": "everlearn", "input": "x", **body})
    assert made.status_code == 400
    fits(made.json(), "ErrorResponse")


def test_responses_of_one_tenant_are_not_there_for_another(client, key_of):
    one, other = key_of("one"), key_of("two")
    made = client.post("/v1/responses", json={"model": "everlearn", "input": "x"}, headers=one).json()
    assert client.get(f"/v1/responses/{made['id']}", headers=one).status_code == 200
    assert client.get(f"/v1/responses/{made['id']}", headers=other).status_code == 404
    assert client.delete(f"/v1/responses/{made['id']}", headers=other).status_code == 404


def test_a_socket_answers_streams_side_by_side(client):
    teach(client)
    with client.websocket_connect("/v1/responses") as socket:
        for lane in ("a", "b"):
            frame = {"type": "response.create", "stream_id": lane, "model": "everlearn", "input": QUESTION}
            socket.send_json(frame)
        ended = {}
        while len(ended) < 2:
            event = socket.receive_json()
            if event["type"] == "response.completed":
                ended[event["stream_id"]] = said(event["response"])
        assert ended == {"a": ANSWER, "b": ANSWER}
        for bad in ("no json", "[]", '{"type": "session.update"}', '{"type": "response.create", "stream_id": "ä"}'):
            socket.send_text(bad)
            told = socket.receive_json()
            assert (told["type"], told["status"]) == ("error", 400)
        socket.send_json({"type": "response.create", "input": "x"})
        assert socket.receive_json()["error"]["param"] == "model"
        socket.send_json({"type": "response.create", "model": "nobody", "input": "x"})
        assert socket.receive_json()["status"] == 404
