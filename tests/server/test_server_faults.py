"""What a server does when the world around it fails: the disk, the clock, slow clients, a second server, the model."""

from __future__ import annotations

import errno
import shutil
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from fastapi.testclient import TestClient
from sqlalchemy import event

from everlearn import wiring
from everlearn.server import impatient, jobs
from everlearn.server.app import create_app
from everlearn.server.keys import KeyRing
from everlearn.server.limits import Rates
from everlearn.server.room import ServerSettings
from everlearn.store import ids
from toys import byte_tokenizer, tiny_module, toy_parts

from .test_batches_and_tuning import begin, ended, examples, line, rows_of, tune, upload

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"


def teach(client, prompt=QUESTION, answer=ANSWER, **headers):
    return client.post("/v1/lessons", json={"prompt": prompt, "answer": answer}, headers=headers)


def ask(client, text=QUESTION, **more):
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 12}
    return client.post("/v1/chat/completions", json=body, **more)


def said(client, text=QUESTION):
    return ask(client, text).json()["choices"][0]["message"]["content"]


@contextmanager
def full_disk(client):
    """The files of the tenant may not grow: SQLite itself says that the disk is full."""
    engine = client.app.state.room.tenants.get("local").engine.memory.store.database._engine

    def stop_growing(connection, *_):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def grow(connection, *_):
        connection.execute("PRAGMA max_page_count = 1073741823").fetchall()

    event.listen(engine, "checkout", stop_growing)
    yield
    event.remove(engine, "checkout", stop_growing)
    event.listen(engine, "checkout", grow)


def test_a_full_disk_refuses_what_is_taught_loses_nothing_and_answers_on(serve):
    client = serve()
    kept = [teach(client).json()["id"]]
    with full_disk(client):
        for number in range(200):
            key = {"idempotency-key": f"k{number}"}
            refused = teach(client, f"Who sings at {number}? " + "x" * 500, "Ilse", **key)
            if refused.status_code != 201:
                break
            kept.append(refused.json()["id"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "store_full")
        assert refused.json()["error"]["type"] == "server_error"
        assert refused.headers["x-should-retry"] == "false"
        many = [{"prompt": f"Who? {n} " + "x" * 500, "answer": "She."} for n in range(50)]
        assert client.post("/v1/teach", json={"lessons": many}).status_code == 507
        assert client.get("/v1/lessons").json()["total"] == len(kept)  # none of the fifty
        forgot = client.delete(f"/v1/lessons/{kept[0]}").status_code  # 200 where what it frees is enough to note it
        assert (forgot, client.get(f"/v1/lessons/{kept[0]}").status_code) in ((200, 404), (507, 200))
        assert client.get("/health").status_code == 200
        assert ask(client, "Who?").status_code == 200
    again = teach(client, f"Who sings at {number}? " + "x" * 500, "Ilse", **key)
    assert again.status_code == 201
    fresh = serve()
    held = {row["id"] for row in fresh.get("/v1/lessons", params={"limit": 1000}).json()["data"]}
    assert held == {again.json()["id"], *kept} - ({kept[0]} if forgot == 200 else set())


def test_an_upload_to_a_full_disk_has_the_same_status(client, monkeypatch, home):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("everlearn.server.files.os.fsync", full)
        made = client.post("/v1/files", files={"file": ("rows.jsonl", b"{}")}, data={"purpose": "batch"})
    assert (made.status_code, made.json()["error"]["code"]) == (507, "store_full")
    assert [path.name for path in (home / "files").iterdir()] == []
    assert client.get("/v1/files").json()["data"] == []


@pytest.fixture
def address(home, monkeypatch):
    """A server on a real socket that waits half a second for anything."""
    monkeypatch.setattr(impatient, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(impatient, "REST_SECONDS", 0.5)
    room = wiring.server_room(wiring.load_settings(home=home), toy_parts(), replace(ServerSettings(), most_seconds=0.5))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(room), http=impatient.ImpatientProtocol, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join()


BODY = b"POST /v1/lessons HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n"


@pytest.mark.parametrize(("begin", "told"), [(b"GET /v1/models HTTP/1.1\r\nx: ", b""), (BODY, b"HTTP/1.1 408 ")])
def test_who_sends_a_byte_now_and_then_is_cut_off(address, begin, told):
    received = b""
    with socket.create_connection(address, timeout=60) as slow:
        slow.sendall(begin)
        slow.settimeout(0.02)
        for _ in range(3_000):
            try:
                slow.sendall(b"x")
                piece = slow.recv(10_000)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if not piece:
                break
            received += piece
        else:
            pytest.fail("the connection is still open")
    assert received.startswith(told)
    assert bool(received) == bool(told)


@pytest.fixture
def clock(monkeypatch):
    """Sets the wall clock of the server; monotonic time goes on, as it does in a machine whose clock is set."""
    by = [timedelta()]

    class AnyDatetime(type):
        def __instancecheck__(cls, thing):
            return isinstance(thing, datetime)

    class Set(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + by[0]

    real_ns, real = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(by[0].total_seconds()) * 10**9)
    monkeypatch.setattr(time, "time", lambda: real() + by[0].total_seconds())
    for name, module in list(sys.modules.items()):
        if name.startswith("everlearn.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Set)

    def step(**how):
        by[0] += timedelta(**how)

    return step


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_is_set_changes_neither_knowledge_nor_order(serve, clock, days, monkeypatch):
    client = serve()
    first = teach(client, **{"idempotency-key": "k"}).json()
    clock(days=days)
    assert said(client) == ANSWER
    assert teach(client, **{"idempotency-key": "k"}).json()["id"] == first["id"]
    second = teach(client, answer="Olaf").json()
    assert abs(int(second["taught_at"][:4]) - int(first["taught_at"][:4])) >= 1
    assert said(client) == "Olaf"
    assert first["id"] < second["id"]
    clock(days=-2 * days)
    assert said(client) == "Olaf"
    monkeypatch.setattr(ids, "_clock", ids._Clock())  # as in a process that was started after the clock was set
    third = teach(client, answer="Vera").json()
    assert said(client) == "Vera"
    fresh = serve()
    assert said(fresh) == "Vera"
    history = fresh.get(f"/v1/lessons/{third['id']}/history").json()["data"]
    assert {row["id"] for row in history} == {first["id"], second["id"], third["id"]}
    assert fresh.get("/v1/audit/verify").json()["whole"]


def test_rates_do_not_look_at_the_clock_on_the_wall(serve, clock):
    client = serve(rates=Rates(requests=2))
    assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
    for hours in (1000, -2000):
        clock(hours=hours)
        refused = client.get("/v1/models")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 30


def test_a_key_expires_by_the_clock_as_it_stands(client, clock, home):
    _, secret = KeyRing(home).create("local", ["ask"], expires_at=datetime.now(UTC) + timedelta(hours=1))
    headers = {"authorization": f"Bearer {secret}"}
    codes = []
    for hours in (0, 2, -2):
        clock(hours=hours)
        codes.append(client.get("/v1/models", headers=headers).status_code)
    assert codes == [200, 401, 200]


def test_two_servers_on_one_folder_know_what_each_is_taught(serve):
    one, other = serve(), serve()
    bare = said(other)
    lesson = teach(one).json()
    assert said(other) == ANSWER
    assert teach(other).json()["id"] == lesson["id"]  # known, not taught twice
    corrected = teach(other, answer="Olaf").json()
    assert said(one) == "Olaf"
    assert one.get(f"/v1/lessons/{lesson['id']}").json()["status"] == "superseded"
    assert one.delete(f"/v1/lessons/{corrected['id']}").status_code == 200
    assert one.delete(f"/v1/lessons/{lesson['id']}").status_code == 200
    assert said(other) == said(one) == bare
    assert one.get("/v1/audit/verify").json()["whole"]
    assert other.get("/v1/audit/verify").json()["whole"]


@pytest.fixture
def batch(monkeypatch):
    """Begin a batch of forty lines on a server."""
    monkeypatch.setattr(jobs, "LATER_SECONDS", 0.05)

    def begun(client):
        return begin(client, upload(client, [line(str(n), f"Number {n}?", max_tokens=40) for n in range(40)]))

    return begun


def answered(client, batch):
    return sorted(int(row["custom_id"]) for row in rows_of(client, batch["output_file_id"]))


def job_ended(server):
    for _ in range(3_000):
        (job,) = server.get("/v1/jobs").json()["data"]
        if job["status"] in jobs.ENDED:
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def test_two_servers_do_not_work_on_one_batch(serve, batch):
    one = serve()
    begun = batch(one)
    other = serve()  # goes on with what is not finished, as after a restart
    ended(one, begun)
    for server in (one, other):
        job_ended(server)
    assert answered(other, ended(other, begun)) == list(range(40))
    assert ended(other, begun)["status"] == "completed"


def test_the_other_server_goes_on_where_one_has_ended(serve, batch):
    one = serve()
    begun = batch(one)
    other = serve()
    one.__exit__(None, None, None)
    assert other.get(f"/v1/batches/{begun['id']}").json()["status"] == "in_progress"
    assert ended(other, begun)["status"] == "completed"
    assert answered(other, ended(other, begun)) == list(range(40))


def test_a_batch_is_cancelled_by_either_server(serve, batch):
    one = serve()
    begun = batch(one)
    other = serve()
    assert other.post(f"/v1/batches/{begun['id']}/cancel").json()["status"] == "cancelled"
    assert job_ended(one)["status"] == "cancelled"
    found = one.get(f"/v1/batches/{begun['id']}").json()
    assert (found["status"], found["request_counts"]["completed"] < 40) == ("cancelled", True)


@pytest.mark.slow
def test_a_fine_tuning_is_cancelled_by_the_other_server(serve, monkeypatch):
    monkeypatch.setattr(jobs, "LATER_SECONDS", 0.05)
    one = serve()
    made = tune(one, examples(90), hyperparameters={"n_epochs": 50, "batch_size": 1})
    path = f"/v1/fine_tuning/jobs/{made['id']}"
    while one.get(path).json()["status"] != "running":
        time.sleep(0.02)
    other = serve()
    assert other.post(f"{path}/cancel").json()["status"] == "cancelled"
    for server in (one, other):
        assert job_ended(server)["status"] == "cancelled"
    assert one.get(path).json()["status"] == "cancelled"
    assert one.get("/v1/adapters").json()["data"] == []


def test_a_model_whose_folder_is_removed_is_served_on_and_not_started_again(home, tmp_path, capsys):
    from everlearn.cli.main import run
    from everlearn.models.base import BaseModel
    from everlearn.models.sources import resolve
    from everlearn.text.chat import ChatText

    folder = tmp_path / "model"
    tiny_module().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    source = resolve(str(folder), home)
    parts = replace(toy_parts(), model=BaseModel.from_folder(source), text=ChatText.from_folder(source.folder))
    room = wiring.server_room(wiring.load_settings(home=home, model=str(folder)), parts, ServerSettings())
    with TestClient(create_app(room), raise_server_exceptions=False) as client:
        before = said(client)
        shutil.rmtree(folder)
        assert said(client) == before
        assert teach(client).status_code == 201
        assert said(client) == ANSWER
        _, secret = KeyRing(home).create("other", ["ask"])  # a tenant that is opened only now
        assert ask(client, headers={"authorization": f"Bearer {secret}"}).status_code == 200
    with pytest.raises(SystemExit) as ended:
        run(["--home", str(home), "--model", str(folder), "serve", "--port", "0"])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "There is no model" in told
    assert "Traceback" not in told


def test_a_tenant_that_is_opened_while_another_is_corrected_has_modules_of_its_own(client):
    tenants = client.app.state.room.tenants
    model = tenants.get("local").engine.model
    with model.lock:
        hooks = [
            block.register_forward_hook(lambda *_: pytest.fail("the hook of another tenant")) for block in model.blocks
        ]
        other = tenants.get("other").engine.model
        assert all(not block._forward_hooks for block in other.blocks)
        for hook in hooks:
            hook.remove()
    assert other.blocks[0] is not model.blocks[0]
    assert next(other.module.parameters()) is next(model.module.parameters())  # the weights are shared
