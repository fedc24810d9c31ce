"""Work in files: batches of requests, and fine-tuning."""

from __future__ import annotations

import json
import time

import pytest

from everlearn.server.tuning_files import parted, read_examples

from .openai_form import fits

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"
CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "cancelled", "succeeded", "paused")


def upload(client, rows, purpose="batch", **more):
    body = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    made = client.post("/v1/files", files={"file": ("rows.jsonl", body)}, data={"purpose": purpose}, **more)
    return made.json()["id"]


def line(custom_id, text=QUESTION, url=CHAT, **body):
    if url == CHAT:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "everlearn", **body}}


def begin(client, file_id, endpoint=CHAT, **more):
    body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
    made = client.post("/v1/batches", json=body, **more)
    assert made.status_code == 200, made.text
    return fits(made.json(), "Batch")


def ended(client, thing, kind="batches", **more):
    for _ in range(3000):
        thing = client.get(f"/v1/{kind}/{thing['id']}", **more).json()
        if thing["status"] in ENDED:
            return thing
        time.sleep(0.02)
    raise AssertionError(thing)


def rows_of(client, file_id):
    return [json.loads(row) for row in client.get(f"/v1/files/{file_id}/content").text.splitlines()]


def test_a_batch_answers_its_lines_and_tells_which_failed(client):
    client.post("/v1/lessons", json={"prompt": QUESTION, "answer": ANSWER})
    rows = [line("a"), line("b", "Two and two?"), line("c", model="nobody")]
    batch = fits(ended(client, begin(client, upload(client, rows))), "Batch")
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    good = {row["custom_id"]: row["response"] for row in rows_of(client, batch["output_file_id"])}
    assert set(good) == {"a", "b"}
    assert good["a"]["body"]["choices"][0]["message"]["content"] == ANSWER
    (bad,) = rows_of(client, batch["error_file_id"])
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("c", 404)
    listed = fits(client.get("/v1/batches").json(), "ListBatchesResponse")
    assert [row["id"] for row in listed["data"]] == [batch["id"]]
    assert client.post(f"/v1/batches/{batch['id']}/cancel").status_code == 412


def test_what_a_forgotten_lesson_said_leaves_the_results(client, home):
    lesson = client.post("/v1/lessons", json={"prompt": QUESTION, "answer": ANSWER}).json()
    batch = ended(client, begin(client, upload(client, [line("a"), line("b", "Two and two?")])))
    client.delete(f"/v1/lessons/{lesson['id']}")
    assert [row["custom_id"] for row in rows_of(client, batch["output_file_id"])] == ["b"]
    assert not any(ANSWER.encode() in p.read_bytes() for p in home.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "x", "max_tokens": 3}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/responses", {"input": "x", "max_output_tokens": 3}),
    ],
)
def test_batches_of_all_endpoints(client, endpoint, body):
    batch = ended(client, begin(client, upload(client, [line("a", url=endpoint, **body)]), endpoint))
    (row,) = rows_of(client, batch["output_file_id"])
    assert row["response"]["status_code"] == 200


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["no json"], "no JSON"),
        ([line("a"), line("a")], "was there before"),
        ([line("")], "no custom_id"),
        ([line("a", url="/v1/embeddings", input="x")], "the batch is for"),
        ([line("a", stream=True)], "wants a stream"),
        ([line("a", temperature=9)], "body.temperature"),
        ([""], "no line"),
    ],
)
def test_a_batch_with_lines_that_are_none_fails_and_names_them(client, rows, said):
    batch = fits(ended(client, begin(client, upload(client, rows))), "Batch")
    assert batch["status"] == "failed"
    assert said in batch["errors"]["data"][0]["message"]


def test_batches_belong_to_their_tenant(client, key_of):
    one, other = key_of("one"), key_of("two")
    file_id = upload(client, [line("a")], headers=one)
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    assert client.post("/v1/batches", json=body, headers=other).status_code == 404
    batch = begin(client, file_id, headers=one)
    assert client.get(f"/v1/batches/{batch['id']}", headers=other).status_code == 404
    assert ended(client, batch, headers=one)["status"] == "completed"


def test_a_batch_goes_on_after_the_server_was_ended(serve, home):
    from everlearn import wiring
    from everlearn.server.batch_work import KIND, OUTPUT
    from everlearn.store.objects import ObjectStore, StoredObject

    client = serve()
    batch = ended(client, begin(client, upload(client, [line("a"), line("b")])))
    first = rows_of(client, batch["output_file_id"])
    client.__exit__(None, None, None)
    store = wiring.open_store(wiring.load_settings(home=home))
    objects = ObjectStore(store.database)
    (kept,) = objects.listed(KIND)
    row = next(r for r in objects.listed(OUTPUT) if r.body["custom_id"] == "b")
    objects.delete(OUTPUT, row.id)
    objects.put(StoredObject(kept.id, KIND, {**kept.body, "status": "in_progress"}))
    store.close()
    again = serve()
    assert ended(again, batch)["status"] == "completed"
    after = rows_of(again, batch["output_file_id"])
    assert sorted(r["custom_id"] for r in after) == ["a", "b"]
    kept_id = next(r["id"] for r in first if r["custom_id"] == "a")
    assert kept_id in [r["id"] for r in after]  # what was answered is not answered again


def examples(count):
    return [
        {"messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"so {n}"}]}
        for n in range(count)
    ]


def tune(client, rows, **more):
    file_id = upload(client, rows, "fine-tune")
    how = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 10}
    body = {"model": "tiny-llama", "training_file": file_id, "hyperparameters": how, "seed": 1, **more}
    made = client.post("/v1/fine_tuning/jobs", json=body)
    assert made.status_code == 200, made.text
    return fits(made.json(), "FineTuningJob")


def test_a_fine_tuning_makes_a_model_that_can_be_asked(client):
    job = tune(client, examples(20), suffix="sayer", metadata={"of": "test"})
    assert job["status"] in ("validating_files", "queued", "running")
    job = fits(ended(client, job, "fine_tuning/jobs"), "FineTuningJob")
    assert (job["status"], job["fine_tuned_model"]) == ("succeeded", "sayer@1"), job
    assert job["trained_tokens"] > 0
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    told = fits(client.get(f"{path}/events", params={"limit": 100}).json(), "ListFineTuningJobEventsResponse")
    losses = [e["data"]["train_loss"] for e in reversed(told["data"]) if e["type"] == "metrics"]
    assert losses[-1] < losses[0]
    kept = fits(client.get(f"{path}/checkpoints").json(), "ListFineTuningJobCheckpointsResponse")["data"]
    assert [c["fine_tuned_model_checkpoint"] for c in kept] == ["sayer@1"]
    body = {"model": "sayer@1", "messages": [{"role": "user", "content": "Say 3"}], "max_tokens": 8}
    assert client.post(CHAT, json=body).json()["learning"]["adapter"] == "sayer@1"
    listed = fits(client.get("/v1/fine_tuning/jobs").json(), "ListPaginatedFineTuningJobsResponse")
    assert [row["id"] for row in listed["data"]] == [job["id"]]
    assert client.post(f"{path}/cancel").status_code == 412
    loaded = client.post("/v1/load_lora_adapter", json={"lora_name": "sayer@1"}).json()
    assert loaded["loaded"] == ["sayer@1"]
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "sayer@1"}).json()["loaded"] == []


def test_a_fine_tuning_that_makes_it_no_better_is_not_used(client):
    rows = examples(4)
    job = tune(client, rows, hyperparameters={"n_epochs": 1, "learning_rate_multiplier": 1e-30})
    job = ended(client, job, "fine_tuning/jobs")
    assert (job["status"], job["error"]["code"]) == ("failed", "not_better")
    assert client.get("/v1/adapters").json()["data"] == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["no json", "x"], "line 1: it is no JSON"),
        ([{"messages": [{"role": "user", "content": "x"}]}], "line 1"),
        ([{"prompt": "x"}], "completion"),
        (examples(1), "holds 1 examples"),
    ],
)
def test_a_training_file_that_is_none_fails_and_names_the_line(client, rows, said):
    job = ended(client, tune(client, rows), "fine_tuning/jobs")
    assert job["status"] == "failed"
    assert said in job["error"]["message"]


def test_fine_tunings_are_paused_resumed_and_cancelled(client):
    job = tune(client, examples(90), hyperparameters={"n_epochs": 50, "batch_size": 1})
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    while client.get(path).json()["status"] != "running":
        time.sleep(0.02)
    client.post(f"{path}/pause")
    assert ended(client, job, "fine_tuning/jobs")["status"] == "paused"
    assert client.post(f"{path}/pause").status_code == 412
    assert client.post(f"{path}/resume").json()["status"] == "queued"
    assert client.post(f"{path}/resume").status_code == 412
    client.post(f"{path}/cancel")
    assert ended(client, job, "fine_tuning/jobs")["status"] == "cancelled"


def test_what_cannot_be_fine_tuned_is_refused(client):
    file_id = upload(client, examples(4), "fine-tune")
    for more in ({"training_file": "file-x"}, {"method": {"type": "dpo"}}, {"suffix": "../x"}, {"model": "nobody"}):
        body = {"model": "tiny-llama", "training_file": file_id, **more}
        assert client.post("/v1/fine_tuning/jobs", json=body).status_code in (400, 404)


def test_one_in_ten_is_held_out_where_nothing_is_given():
    rows = read_examples("\n".join(json.dumps(row) for row in examples(25)).encode(), "f", "d")
    train, held_out = parted(rows, [])
    assert (len(train), len(held_out)) == (23, 2)
    assert parted(rows, rows[:3]) == (rows, rows[:3])
