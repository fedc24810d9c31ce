"""The map of lessons: a point for each active one, in the groups asked for, newest ones where there are too many."""

from __future__ import annotations

import numpy as np

from everlearn.server import lesson_map
from everlearn.server.projection import plane

ROWS = [{"prompt": f"Who runs bakery {n}?", "answer": f"Ann {n}", "domain": "a" if n % 3 else "b"} for n in range(12)]


def test_each_active_lesson_is_a_point_with_its_group(client):
    taught = client.post("/v1/teach", json={"lessons": ROWS}).json()["data"]
    told = client.get("/v1/map").json()
    assert told["ids"] == [row["id"] for row in taught]
    assert told["total"] == 12
    assert told["groups"] == ["a", "b"]
    assert [told["groups"][n] for n in told["group"]] == [row["domain"] for row in ROWS]
    for axis in ("x", "y"):
        assert (min(told[axis]), max(told[axis])) == (0, 65535)
    assert client.get("/v1/map", params={"by": "table"}).json()["groups"] == ["default"]
    assert client.get("/v1/map", params={"table": "nowhere"}).status_code == 404


def test_the_newest_are_told_and_what_is_forgotten_is_no_point(client):
    taught = client.post("/v1/teach", json={"lessons": ROWS}).json()["data"]
    few = client.get("/v1/map", params={"most": 5}).json()
    assert few["ids"] == [row["id"] for row in taught[-5:]]
    assert few["total"] == 12
    client.delete(f"/v1/lessons/{taught[-1]['id']}")
    assert taught[-1]["id"] not in client.get("/v1/map").json()["ids"]


def test_what_is_taught_later_is_put_on_the_same_plane(client, monkeypatch):
    rows = [{"prompt": f"Who runs mill {n}?", "answer": "Ann"} for n in range(200)]
    client.post("/v1/teach", json={"lessons": rows})
    before = client.get("/v1/map").json()
    monkeypatch.setattr(lesson_map, "plane_of", None)  # no new plane is laid
    late = client.post("/v1/lessons", json={"prompt": "Who sings at Tarn?", "answer": "Ilse"}).json()
    after = client.get("/v1/map").json()
    assert after["ids"] == [*before["ids"], late["id"]]
    assert after["x"][:-1] == before["x"]
    newer = client.post("/v1/lessons", json={"prompt": "Who sings at Tarn?", "answer": "Bram"}).json()
    assert newer["superseded"] == [late["id"]]
    assert client.get("/v1/map").json()["ids"][-1] == newer["id"]
    assert late["id"] not in client.get("/v1/map").json()["ids"]


def test_after_forgetting_the_map_is_that_of_a_server_never_taught_it(serve):
    client = serve()
    client.post("/v1/teach", json={"lessons": ROWS})
    never = client.get("/v1/map").json()
    late = client.post("/v1/lessons", json={"prompt": "Something else entirely?", "answer": "Yes"}).json()
    assert late["id"] in client.get("/v1/map").json()["ids"]
    client.delete(f"/v1/lessons/{late['id']}")
    assert client.get("/v1/map").json() == never


def test_an_empty_map_and_walls(client, key_of):
    one, two = key_of("one"), key_of("two")
    client.post("/v1/teach", json={"lessons": ROWS}, headers=one)
    assert len(client.get("/v1/map", headers=one).json()["ids"]) == 12
    told = client.get("/v1/map", headers=two).json()
    assert (told["ids"], told["total"], told["groups"]) == ([], 0, [])


def test_many_groups_end_in_others(client):
    rows = [{**ROWS[0], "prompt": f"Who runs mill {n}?", "domain": f"d{n}"} for n in range(70)]
    client.post("/v1/teach", json={"lessons": rows})
    told = client.get("/v1/map").json()
    assert len(told["groups"]) == 64
    assert told["groups"][-1] == "others"
    assert told["group"].count(63) == 7


def test_directions_of_a_sample_are_those_of_all():
    vectors = np.random.default_rng(1).normal(size=(4000, 8)).astype(np.float32) * np.float32([9, 5, 1, 1, 1, 1, 1, 1])
    whole, sampled = plane(vectors), plane(vectors, most=1000)
    for axis in range(2):
        assert abs(np.corrcoef(whole[:, axis], sampled[:, axis])[0, 1]) > 0.99
