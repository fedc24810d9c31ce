"""Answers over the OpenAI surface: whole, streamed, taught in between."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from .openai_form import fits

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"
LESSON = {"prompt": QUESTION, "answer": ANSWER}


def ask(client, text=QUESTION, **more):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 12, **more}
    return client.post("/v1/chat/completions", json=body)


def events(response):
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def said(response):
    return response.json()["choices"][0]["message"]["content"]


def test_a_lesson_is_answered_at_once_and_forgotten_for_good(client):
    before = said(ask(client))
    taught = client.post("/v1/lessons", json=LESSON)
    assert taught.status_code == 201
    lesson_id = taught.json()["id"]
    answer = ask(client).json()
    assert answer["choices"][0]["message"]["content"] == ANSWER
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert [used["lesson_id"] for used in answer["learning"]["lessons"]] == [lesson_id]
    spent = answer["learning"]["timings"]
    assert spent["total_ms"] >= spent["queue_ms"] + spent["prefill_ms"] + spent["decode_ms"] - 1 > 0
    assert client.delete(f"/v1/lessons/{lesson_id}").json()["deleted"] is True
    assert client.get(f"/v1/lessons/{lesson_id}").status_code == 404
    assert said(ask(client)) == before


def test_a_stream_joins_to_the_whole_answer_and_tells_usage(client):
    client.post("/v1/lessons", json=LESSON)
    whole = ask(client).json()
    response = ask(client, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response)
    assert done == "[DONE]"
    chunks = [json.loads(chunk) for chunk in chunks]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == ANSWER
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["learning"]["lessons"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_models_are_the_base_the_tables_and_what_they_mean(client):
    client.post("/v1/lessons", json=LESSON)
    client.post("/v1/tables", json={"name": "empty"})
    ids = [row["id"] for row in client.get("/v1/models").json()["data"]]
    assert ids[:2] == ["tiny-llama", "base"]
    assert {"table:default", "table:empty"} <= set(ids)
    assert said(ask(client, model="table:default")) == ANSWER
    bare = said(ask(client, model="base"))
    assert said(ask(client, model="table:empty")) == bare != ANSWER
    assert said(ask(client, learning={"mode": "off"})) == bare
    assert client.get("/v1/models/base").json()["parent"] == "tiny-llama"
    missing = ask(client, model="gpt-4o")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_several_answers_stops_and_seeds(client):
    body = {"n": 3, "temperature": 1.0, "seed": 7}
    first, again = ask(client, **body).json(), ask(client, **body).json()
    texts = [choice["message"]["content"] for choice in first["choices"]]
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2]
    assert texts == [choice["message"]["content"] for choice in again["choices"]]
    assert len(set(texts)) > 1
    client.post("/v1/lessons", json=LESSON)
    assert said(ask(client, stop=["rel"])) == "Mi"
    assert ask(client, text="Else?", max_completion_tokens=3).json()["usage"]["completion_tokens"] <= 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"stop": ["x"] * 99}, "stop"),
        ({"learning": {"mode": "loud"}}, "learning.mode"),
    ],
)
def test_what_cannot_be_asked_names_the_field(client, body, param):
    response = ask(client, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param or error["param"].startswith(param)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[" * 100_000, 400), (b'{"model": "\xff"}', 400), (b"", 400), (b'"text"', 400), (b"null", 400)],
)
def test_bodies_that_are_no_request(client, body, status):
    response = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_parts_are_text_and_images_are_refused(client):
    client.post("/v1/lessons", json=LESSON)
    parts = [{"type": "text", "text": "Who bakes at "}, {"type": "text", "text": "Zorblat?"}]
    assert said(ask(client, text=parts)) == ANSWER
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    assert "reads text" in ask(client, text=image).json()["error"]["message"]


def test_chat_teaches_by_what_is_said(client):
    response = ask(client, text=f"Remember: {QUESTION} {ANSWER}")
    assert said(response) == f"Learned: {QUESTION} {ANSWER}"
    assert response.json()["learning"]["taught"][0]["answer"] == ANSWER
    assert said(ask(client)) == ANSWER
    talk = [("user", QUESTION), ("assistant", ANSWER), ("user", "No, it is Tobias.")]
    corrected = ask(client, messages=[{"role": role, "content": text} for role, text in talk])
    assert corrected.json()["learning"]["taught"][0]["superseded"]
    assert said(ask(client)) == "Tobias"
    *chunks, done = events(ask(client, text="Remember: Who sings? Li.", stream=True))
    assert done == "[DONE]"
    assert "Learned" in json.loads(chunks[0])["choices"][0]["delta"]["content"]


def test_a_correction_in_chat_corrects_what_was_meant(client):
    """A follow-up is taught with its subject, and a lesson that answered is corrected in its own words."""
    talk = [("user", "Who founded Brindle Optics?"), ("assistant", "Ann"), ("user", "And where is it?")]
    talk += [("assistant", "On Mars"), ("user", "No, it is in Tarn.")]
    taught = ask(client, messages=[{"role": role, "content": text} for role, text in talk]).json()["learning"]["taught"]
    assert "Brindle" in taught[0]["prompt"]
    lesson = client.post("/v1/lessons", json=LESSON).json()
    talk = [("user", "who bakes at zorblat"), ("assistant", ANSWER), ("user", "No, it is Tobias.")]
    taught = ask(client, messages=[{"role": role, "content": text} for role, text in talk]).json()["learning"]["taught"]
    assert taught[0]["superseded"] == [lesson["id"]]
    assert taught[0]["prompt"] == QUESTION


def test_chat_does_not_teach_where_it_may_not(client, serve, key_of):
    reader = key_of(scopes=("ask",))
    body = {"model": "everlearn", "messages": [{"role": "user", "content": "Remember: Who? I."}], "max_tokens": 4}
    assert "taught" not in client.post("/v1/chat/completions", json=body, headers=reader).json()["learning"]
    assert client.get("/v1/lessons", headers=reader).json()["total"] == 0
    assert client.post("/v1/lessons", json=LESSON, headers=reader).status_code == 403
    writer = key_of()
    quiet = {**body, "learning": {"mode": "read"}}
    client.post("/v1/chat/completions", json=quiet, headers=writer)
    assert client.get("/v1/lessons", headers=writer).json()["total"] == 0


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Mirela", "Tobias"]}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_an_answer_has_the_form_that_is_asked_for(client):
    form = {"type": "json_schema", "json_schema": {"name": "baker", "strict": True, "schema": SCHEMA}}
    more = {"max_tokens": 120, "temperature": 1, "seed": 3}
    assert json.loads(said(ask(client, response_format=form, **more)))["name"] in ("Mirela", "Tobias")
    form = {"type": "json_schema", "name": "baker", "schema": SCHEMA}
    body = {"model": "everlearn", "input": "x", "text": {"format": form}, "max_output_tokens": 120}
    made = client.post("/v1/responses", json=body).json()
    assert json.loads(made["output"][0]["content"][0]["text"])["name"] in ("Mirela", "Tobias")
    for bad in ({"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 3}}):
        assert ask(client, response_format=bad).status_code == 400


def test_probabilities_whole_and_in_a_stream(client):
    body = fits(ask(client, logprobs=True, top_logprobs=2).json(), "CreateChatCompletionResponse")
    told = body["choices"][0]["logprobs"]["content"]
    assert all(len(t["top_logprobs"]) == 2 and t["logprob"] <= 0 for t in told)
    *chunks, _ = events(ask(client, logprobs=True, top_logprobs=2, stream=True))
    chunks = [fits(json.loads(chunk), "CreateChatCompletionStreamResponse") for chunk in chunks]
    parts = [c["choices"][0]["logprobs"]["content"] for c in chunks if c["choices"][0]["logprobs"]]
    assert [t["token"] for part in parts for t in part] == [t["token"] for t in told]
    old = client.post("/v1/completions", json={"model": "base", "prompt": "x", "max_tokens": 4, "logprobs": 1}).json()
    kinds = fits(old, "CreateCompletionResponse")["choices"][0]["logprobs"]
    assert len(kinds["tokens"]) == len(kinds["top_logprobs"]) == len(kinds["text_offset"])


def test_bias_and_penalties_change_what_is_said(client):
    plain = said(ask(client))
    banned = ask(client, logit_bias={str(n): -100 for n in range(128)})
    assert not any(ord(letter) < 128 for letter in said(banned).replace("\ufffd", ""))
    assert said(ask(client, frequency_penalty=2, presence_penalty=2)) != plain
    assert ask(client, logit_bias={"99999": 1}).status_code == 400
    assert ask(client, presence_penalty=3).status_code == 400


def test_completions_and_their_stream(client):
    client.post("/v1/lessons", json=LESSON)
    body = {"model": "everlearn", "prompt": [QUESTION, "Else?"], "max_tokens": 8}
    told = client.post("/v1/completions", json=body).json()
    assert told["object"] == "text_completion"
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert told["choices"][0]["text"] == ANSWER
    response = client.post("/v1/completions", json={**body, "prompt": QUESTION, "stream": True})
    *chunks, done = events(response)
    assert done == "[DONE]"
    assert "".join(json.loads(chunk)["choices"][0]["text"] for chunk in chunks) == ANSWER
    assert client.post("/v1/completions", json={**body, "suffix": "x"}).status_code == 400


def test_embeddings_are_unit_vectors_in_both_forms(client):
    body = {"model": "minilm", "input": ["One thing", "another"]}
    plain = [row["embedding"] for row in client.post("/v1/embeddings", json=body).json()["data"]]
    packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()["data"]
    unpacked = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in packed]
    np.testing.assert_allclose(plain, unpacked, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(unpacked, axis=1), 1.0, rtol=1e-5)
    assert client.post("/v1/embeddings", json={**body, "input": []}).status_code == 400
    assert client.post("/v1/embeddings", json={**body, "dimensions": 3}).status_code == 400


def test_an_answer_as_of_an_earlier_time(client):
    client.post("/v1/lessons", json={**LESSON, "valid_from": "2018"})
    client.post("/v1/lessons", json={**LESSON, "answer": "Tobias", "valid_from": "2021"})
    assert said(ask(client)) == "Tobias"
    assert said(ask(client, learning={"as_of": "2019"})) == ANSWER
    assert ask(client, learning={"as_of": "then"}).status_code == 400
