"""Would the answer be another one without this row, asked of a receipt; and statements compared with lessons."""

from __future__ import annotations

import json

import pytest

from .openai_form import fits

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"


def ask(client, text=QUESTION, **more):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 40, **more}
    return client.post("/v1/chat/completions", json=body).json()


def teach(client, answer=ANSWER, prompt=QUESTION, **more):
    return client.post("/v1/lessons", json={"prompt": prompt, "answer": answer, **more}).json()["id"]


def ablation(client, answer, ablate):
    got = client.get(f"/v1/receipts/{answer['learning']['receipt_id']}", params={"ablate": ablate})
    assert got.status_code == 200, got.text
    return got.json()["ablation"]


def test_the_row_that_spoke_makes_the_difference(client):
    spoke = teach(client)
    answer = ask(client)
    bare = ask(client, learning={"mode": "off"})["choices"][0]["message"]["content"]
    found = ablation(client, answer, spoke)
    assert (found["changed"], found["reproduced"], found["sampling_known"]) == (True, True, True)
    assert (found["answer_with"], found["answer"], found["rests_on"]) == (ANSWER, bare, [])
    assert ablation(client, answer, "all")["answer"] == bare


def test_a_row_that_did_not_speak_makes_none(client):
    teach(client)
    other = teach(client, "Tobias", "Who sings at Zorblat?")
    answer = ask(client)
    receipt = client.get(f"/v1/receipts/{answer['learning']['receipt_id']}").json()
    assert {r["lesson_id"]: r["decision"] for r in receipt["recalled"]}[other] != "spoke"
    found = ablation(client, answer, other)
    assert (found["changed"], found["answer"]) == (False, ANSWER)


def test_without_the_newest_answer_the_one_kept_beside_it_speaks(client):
    older = teach(client)
    newer = teach(client, "Tobias", on_conflict="keep_both")
    found = ablation(client, ask(client), newer)
    assert (found["answer_with"], found["answer"], found["rests_on"]) == ("Tobias", ANSWER, [older])


def test_an_answer_drawn_by_chance_is_drawn_again_as_it_was(client):
    answer = ask(client, "Else?", temperature=1.5)
    kept = client.get(f"/v1/receipts/{answer['learning']['receipt_id']}").json()
    assert kept["sampling"]["temperature"] == 1.5
    assert isinstance(kept["sampling"]["seed"], int)
    found = ablation(client, answer, "all")
    assert (found["changed"], found["reproduced"]) == (False, True)
    assert found["answer"] == answer["choices"][0]["message"]["content"]


def test_a_lesson_that_was_not_looked_at_cannot_be_asked_for(client):
    teach(client)
    answer = ask(client)
    got = client.get(f"/v1/receipts/{answer['learning']['receipt_id']}", params={"ablate": "nothing-of-this"})
    assert got.status_code == 400


def test_what_is_filtered_does_not_come_out_by_ablation(client):
    lesson = teach(client, "It is 4111 1111 1111 1111.")
    client.put("/v1/policy", json={"actions": {"credit_card": "redact"}})
    found = ablation(client, ask(client), lesson)
    assert found["answer_with"] == "It is [CREDIT_CARD]."
    assert found["reproduced"] is True
    assert "4111" not in json.dumps(found)


@pytest.fixture
def passage(client):
    text = "The Zorblat bakery in Tarn was founded in 1987 by Mirela Quandt and sells forty kinds of bread."
    client.post("/v1/teach", json={"text": text, "title": "Zorblat bakery", "source": "zorblat.md"})
    return client.get("/v1/lessons").json()["data"][0]["id"]


def test_claims_are_told_whole_streamed_and_kept(client):
    lesson = teach(client)
    told = fits(ask(client, learning={"check_claims": True}), "CreateChatCompletionResponse")
    (claim,) = told["learning"]["claims"]
    assert (claim["supported"], claim["reasons"], claim["lesson_id"]) == (True, [], lesson)
    assert (claim["start"], claim["end"]) == (0, len(ANSWER))
    receipt = client.get(f"/v1/receipts/{told['learning']['receipt_id']}").json()
    assert receipt["claims"] == told["learning"]["claims"]
    body = {"model": "everlearn", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    lines = client.post("/v1/chat/completions", json={**body, "learning": {"check_claims": True}}).text.split("\n\n")
    last = json.loads(lines[-3].removeprefix("data: "))
    assert last["learning"]["claims"] == told["learning"]["claims"]
    made = client.post(
        "/v1/responses", json={"model": "everlearn", "input": QUESTION, "learning": {"check_claims": True}}
    )
    assert made.json()["learning"]["claims"][0]["supported"] is True
    assert "claims" not in ask(client)["learning"]


def test_an_answer_that_rests_on_nothing_is_not_supported(client):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["Tobias sings there"]}}}
    told = ask(client, "Anything?", learning={"check_claims": True}, response_format=form)
    assert [claim["reasons"] for claim in told["learning"]["claims"]] == [["no_lesson"]]


def test_an_answer_that_differs_from_the_passage_it_read_is_marked(client, passage):
    question = "When was the Zorblat bakery in Tarn founded, and by whom?"
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["In 1988 by Mirela Quandt."]}}}
    told = ask(client, question, learning={"check_claims": True}, response_format=form)
    assert [used["lesson_id"] for used in told["learning"]["lessons"]] == [passage]
    (claim,) = told["learning"]["claims"]
    assert (claim["supported"], claim["reasons"]) == (False, ["number"])
