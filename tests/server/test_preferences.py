"""What people liked better is kept, exported for training, and forgotten with what it quotes."""

from __future__ import annotations

import json

import pytest

QUESTION, ANSWER = "Who runs the Zorblat bakery?", "Mirela Quandt"


def asked(client, question=QUESTION, model="everlearn", **more):
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 24}
    told = client.post("/v1/chat/completions", json=body, **more).json()
    return told["learning"]["receipt_id"], told["choices"][0]["message"]["content"]


def lines(client, form, **more):
    response = client.get("/v1/preferences/export", params={"form": form}, **more)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_vote_is_kept_listed_exported_and_taken_back(client):
    client.post("/v1/lessons", json={"prompt": QUESTION, "answer": ANSWER})
    (best, right), (other, wrong) = asked(client), asked(client, model="base")
    made = client.post("/v1/preferences", json={"chosen": best, "rejected": [other], "blind": True})
    assert made.status_code == 201
    (row,) = client.get("/v1/preferences").json()["data"]
    assert (row["prompt"], row["chosen"], row["rejected"]) == (QUESTION, right, [wrong])
    assert (row["id"], row["blind"]) == (made.json()["id"], True)
    assert right == ANSWER
    assert lines(client, "pairs") == [{"prompt": QUESTION, "chosen": right, "rejected": wrong}]
    assert lines(client, "labels") == [
        {"prompt": QUESTION, "completion": right, "label": True},
        {"prompt": QUESTION, "completion": wrong, "label": False},
    ]
    client.delete(f"/v1/preferences/{row['id']}")
    assert client.get("/v1/preferences").json()["data"] == []
    assert client.delete(f"/v1/preferences/{row['id']}").status_code == 404


def test_feedback_is_kept_and_a_correction_is_the_better_answer(client):
    receipt, wrong = asked(client)
    said = {"verdict": "wrong", "correction": ANSWER, "receipt_id": receipt}
    told = client.post("/v1/feedback", json=said).json()
    assert told["preference"]
    assert lines(client, "pairs") == [{"prompt": QUESTION, "chosen": ANSWER, "rejected": wrong}]
    other, said_then = asked(client)
    client.post("/v1/feedback", json={"verdict": "right", "receipt_id": other})
    assert len(lines(client, "pairs")) == 1
    assert {"prompt": QUESTION, "completion": said_then, "label": True} in lines(client, "labels")
    no_receipt = client.post("/v1/feedback", json={"verdict": "right", "prompt": QUESTION}).json()
    assert no_receipt["preference"] is None


def test_what_is_forgotten_is_gone_from_the_preferences_and_from_every_file(client, home):
    receipt, _ = asked(client)
    client.post("/v1/feedback", json={"verdict": "wrong", "correction": ANSWER, "receipt_id": receipt})
    (best, _), (other, _) = asked(client), asked(client, model="base")
    client.post("/v1/preferences", json={"chosen": other, "rejected": [best]})
    assert len(lines(client, "labels")) == 4
    client.post("/v1/lessons/forget", json={"text": "Zorblat"})
    assert lines(client, "labels") == []
    assert client.get("/v1/preferences").json()["data"] == []
    found = [path for path in home.rglob("*") if path.is_file() and ANSWER.encode() in path.read_bytes()]
    assert found == []


@pytest.mark.parametrize("what", ["same", "other question", "unknown", "none"])
def test_what_is_no_preference_is_refused(client, what):
    (one, _), (two, _) = asked(client), asked(client, "How tall is it?")
    sides = {
        "same": (one, [one], 400),
        "other question": (one, [two], 400),
        "unknown": (one, ["01m00000000000000000000000"], 404),
        "none": (one, [], 400),
    }
    chosen, rejected, status = sides[what]
    response = client.post("/v1/preferences", json={"chosen": chosen, "rejected": rejected})
    assert response.status_code == status
    assert client.get("/v1/preferences").json()["data"] == []


def test_a_server_that_keeps_no_turns_says_so(serve):
    client = serve(keep_turns=False)
    (one, _), (two, _) = asked(client), asked(client, model="base")
    response = client.post("/v1/preferences", json={"chosen": one, "rejected": [two]})
    assert response.status_code == 404
    assert "keep-turns" in response.json()["error"]["message"] + str(response.json())


def test_they_belong_to_their_tenant_and_export_is_for_admins(client, key_of):
    mine, other = key_of("one"), key_of("two")
    (one, _), (two, _) = asked(client, headers=mine), asked(client, model="base", headers=mine)
    body = {"chosen": one, "rejected": [two]}
    assert client.post("/v1/preferences", json=body, headers=other).status_code == 404
    assert client.post("/v1/preferences", json=body, headers=mine).status_code == 201
    assert client.get("/v1/preferences", headers=other).json()["data"] == []
    asks = key_of("one", scopes=("ask",))
    assert client.post("/v1/preferences", json=body, headers=asks).status_code == 403
    teaches = key_of("one", scopes=("ask", "teach"))
    assert client.get("/v1/preferences/export", headers=teaches).status_code == 403
