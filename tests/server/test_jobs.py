"""What a job tells while it trains, and later."""

from __future__ import annotations

import json
import time

from everlearn.server.jobs import ENDED, MOST_STEPS, Job

FIGURES = {"n", "of", "step", "steps", "loss", "task", "replay", "ewc", "rate", "norm", "seconds", "seconds_left"}
FIGURES |= {"tokens_per_second"}


def slept(client, **more):
    lessons = [{"prompt": f"Who runs bakery {n}?", "answer": f"Ann {n}", "domain": "d"} for n in range(3)]
    client.post("/v1/teach", json={"lessons": lessons})
    body = {"epochs": 2, "rank": 2, "wordings": 1, "general": 4, "rate": 1e-3, **more}
    return client.post("/v1/sleep", json=body).json()


def test_the_events_of_a_sleep_carry_the_figures_of_its_training(client):
    job = slept(client)
    assert job["training"] is None
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as response:
        events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1]["status"] == "succeeded"
    last = events[-1]["training"]
    assert set(last) == FIGURES
    assert (last["of"], last["step"]) == ("d", last["steps"])
    told = client.get(f"/v1/jobs/{job['id']}/training").json()["data"]
    assert [step["n"] for step in told] == list(range(1, last["n"] + 1))
    assert told[-1] == last
    assert all(step["loss"] > 0 and step["rate"] > 0 for step in told[:-1])
    assert client.get(f"/v1/jobs/{job['id']}/training", params={"after": last["n"] - 1}).json()["data"] == [last]


def test_a_sleep_with_impossible_settings_is_refused(client):
    assert client.post("/v1/sleep", json={"general": 3}).status_code == 400
    assert client.post("/v1/sleep", json={"general": 100_000}).status_code == 400


def test_the_figures_of_a_job_belong_to_its_tenant(client, key_of):
    one, other = key_of("one"), key_of("two")
    job = client.post("/v1/teach/file", files={"file": ("a.txt", "Some words here.")}, headers=one).json()
    while client.get(f"/v1/jobs/{job['id']}", headers=one).json()["status"] not in ENDED:
        time.sleep(0.02)
    assert client.get(f"/v1/jobs/{job['id']}/training", headers=one).json()["data"] == []
    assert client.get(f"/v1/jobs/{job['id']}/training", headers=other).status_code == 404


def test_of_a_long_training_the_ends_are_kept_and_no_more_than_so_many():
    job = Job("t", "sleep")
    for step in range(1, 5 * MOST_STEPS + 1):
        job.trained("d", {"step": step})
    assert len(job.training) <= MOST_STEPS
    assert job.training[0]["n"] == 1
    assert job.training[-1] == {"n": 5 * MOST_STEPS, "of": "d", "step": 5 * MOST_STEPS}
