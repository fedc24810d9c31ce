"""Learning from a teacher: over the network with all its faults, and from a local model."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from everlearn.errors import ConflictError, FileFormatError, InputError, SettingsError, TeacherError
from everlearn.learning.distilled_adapter import learn_distilled
from everlearn.learning.distilling import (
    REPLIES,
    Limits,
    distil,
    flaw_of,
    is_held_out,
    read_examples,
    read_prompts,
)
from everlearn.learning.teachers import Endpoint, EndpointTeacher, LocalTeacher, Reply, same_tokens
from everlearn.learning.training_settings import TrainingSettings
from everlearn.records import Sampling
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.text.chat import ChatText
from everlearn.wiring import engine_over
from learning.training_toys import SHAPE
from toys import byte_tokenizer, toy_engine, toy_parts

PROMPTS = [f"What is {n} plus {n}?" for n in range(40)]


class Flaky(BaseHTTPRequestHandler):
    """A chat endpoint that fails by plan: each entry of `plan` is a status for one request, then all goes well."""

    plan: list[int]
    asked: list[dict]

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = type(self).plan.pop(0) if type(self).plan else 200
        prompt = body["messages"][-1]["content"]
        type(self).asked.append({**body, "auth": self.headers.get("authorization", "")})
        choice = {"message": {"role": "assistant", "content": f"It is: {prompt[8:-1]} of it."}, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        data = json.dumps(answer if status in (200, 299) else {"error": {"message": "not now"}}).encode()
        data = b"<html>" if status == 299 else data
        self.send_response(200 if status == 299 else status)
        if status == 429:
            self.send_header("retry-after", "7")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def endpoint():
    handler = type("Handler", (Flaky,), {"plan": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def remote(endpoint, waits, **more):
    return EndpointTeacher(Endpoint(endpoint.url, "wise", **{"workers": 1, **more}), sleep=waits.append)


class Plain:
    """A teacher without a network that answers by rule and counts."""

    name = "plain"

    def __init__(self, replies=None, fail_after=None):
        self.replies, self.fail_after, self.asked = replies or {}, fail_after, []

    def ask(self, prompts):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise TeacherError("gone")
        self.asked += prompts
        return [self.replies.get(p, Reply(f"The answer to {p.split()[2]} is known.", "stop", 10, 5)) for p in prompts]


def test_an_endpoint_is_asked_again_after_faults_as_it_wishes(endpoint):
    endpoint.plan[:] = [429, 503]
    waits = []
    with closing(remote(endpoint, waits, key="secret", system="Be brief.")) as teacher:
        (reply,) = teacher.ask(["What is love?"])
    assert reply == Reply("It is: love of it.", "stop", 10, 5)
    assert waits[0] == 7.0
    assert 0 < waits[1] <= 2.0
    assert [a["messages"][0] for a in endpoint.asked] == [{"role": "system", "content": "Be brief."}] * 3
    assert {a["auth"] for a in endpoint.asked} == {"Bearer secret"}
    assert "secret" not in repr(Endpoint("http://x", "m", "secret"))


@pytest.mark.parametrize(
    ("plan", "tries", "says"),
    [([401], 1, "refuses: HTTP 401"), ([500] * 3, 3, "after 3 tries: HTTP 500"), ([299], 1, "no chat completion")],
)
def test_what_cannot_be_mended_is_said(endpoint, plan, tries, says):
    endpoint.plan[:] = list(plan)
    with closing(remote(endpoint, [], tries=3)) as teacher, pytest.raises(TeacherError, match=says):
        teacher.ask(["What is love?"])
    assert len(endpoint.asked) == tries


def test_nobody_at_the_address_and_no_address():
    nobody = EndpointTeacher(Endpoint("http://127.0.0.1:9/v1", "m", tries=2), sleep=lambda _: None)
    with closing(nobody), pytest.raises(TeacherError, match="after 2 tries: ConnectError"):
        nobody.ask(["What is love?"])
    with pytest.raises(SettingsError, match="no address"):
        EndpointTeacher(Endpoint("wise", "m"))


def test_replies_become_examples_nine_tenths_to_train_on(endpoint, tmp_path):
    with closing(remote(endpoint, [], workers=4)) as teacher:
        report = distil(teacher, PROMPTS, tmp_path, domain="sums", limits=Limits(price_in=1e6, price_out=2e6))
    train, held_out = (read_examples(tmp_path / name) for name in ("train.jsonl", "validation.jsonl"))
    assert [e.prompt for e in train] == [p for p in PROMPTS if not is_held_out(p)]
    assert [e.prompt for e in held_out] == [p for p in PROMPTS if is_held_out(p)]
    assert 0 < len(held_out) < 10
    assert {e.domain for e in train} == {"sums"}
    assert {e.answer for e in train if e.prompt == PROMPTS[7]} <= {"It is: 7 plus 7 of it."}
    assert (report.asked, report.prompt_tokens, report.completion_tokens) == (40, 400, 200)
    assert report.cost == 800.0
    assert json.loads((tmp_path / "report.json").read_text())["train"] == report.train == len(train)


def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path):
    with pytest.raises(TeacherError):
        distil(Plain(fail_after=16), PROMPTS, tmp_path)
    again = Plain()
    steps = []
    report = distil(again, PROMPTS, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert again.asked == PROMPTS[16:]
    assert steps == [(24, 40), (32, 40), (40, 40)]
    assert report.asked == 40
    with (tmp_path / REPLIES).open("ab") as file:
        file.write(b'{"kind": "reply", "prom')  # killed while it wrote
    assert distil(Plain(), PROMPTS, tmp_path).asked == 40


def test_replies_of_different_settings_are_not_mixed(tmp_path):
    distil(Plain(), PROMPTS[:4], tmp_path, settings={"temperature": 0.0})
    with pytest.raises(ConflictError, match="other settings"):
        distil(Plain(), PROMPTS[:4], tmp_path, settings={"temperature": 1.0})
    anew = Plain()
    distil(anew, PROMPTS[:4], tmp_path, settings={"temperature": 1.0}, restart=True)
    assert anew.asked == PROMPTS[:4]


def test_limits_stop_it_and_it_can_go_on(tmp_path):
    report = distil(Plain(), PROMPTS, tmp_path, limits=Limits(tokens=200))
    assert report.stopped == "the limit of 200 tokens is reached"
    assert report.asked == 16
    report = distil(Plain(), PROMPTS, tmp_path, limits=Limits(cost=0.001, price_out=10.0))
    assert "limit of cost" in report.stopped
    assert distil(Plain(), PROMPTS, tmp_path).asked == 40


@pytest.mark.parametrize(
    ("prompt", "reply", "finish", "flaw"),
    [
        ("What is rain?", "Water that falls from clouds.", "stop", ""),
        ("What is rain?", " \n", "stop", "empty"),
        ("What is rain?", "Water that falls from", "length", "cut off"),
        ("What is rain?", "I'm sorry, but I can't help with that.", "stop", "refused"),
        ("What is rain?", "As an AI language model, I have no weather.", "stop", "refused"),
        ("What is rain?", "I'm sorry to hear that it rains. It is water.", "stop", ""),
        ("What is rain in the city?", "what is rain in the city", "stop", "echo of the prompt"),
        ("What is rain?", "it is water " * 20, "stop", "repeats itself"),
    ],
)
def test_what_is_no_good_to_learn_from_is_left_out(prompt, reply, finish, flaw):
    assert flaw_of(prompt, reply, finish) == flaw


def test_dropped_replies_are_counted_by_reason(tmp_path):
    bad = {PROMPTS[0]: Reply("", "stop"), PROMPTS[1]: Reply("Cut", "length"), PROMPTS[2]: Reply("", "stop")}
    prompts = [*PROMPTS[:5], PROMPTS[4].upper()]
    report = distil(Plain(bad | {PROMPTS[4].upper(): Reply("The answer is here.")}), prompts, tmp_path)
    assert report.dropped == {"empty": 2, "cut off": 1, "near-duplicate of another prompt": 1}
    assert report.train + report.validation == 2


def test_prompts_come_from_text_and_from_json_lines(tmp_path):
    plain, rows = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("One?\n\nTwo?\nOne?\n", "utf-8")
    assert read_prompts(plain) == ["One?", "Two?"]
    rows.write_text('{"prompt": "One?"}\n{"instruction": "Sum", "input": "1 2"}\n{"question": "Who?"}\n', "utf-8")
    assert read_prompts(rows) == ["One?", "Sum\n\n1 2", "Who?"]
    rows.write_text('{"prompt": "One?"}\n{"answer": "1"}\n', "utf-8")
    with pytest.raises(FileFormatError, match="line 2 has none of"):
        read_prompts(rows)
    plain.write_text("\n \n", "utf-8")
    with pytest.raises(InputError, match="holds no prompt"):
        read_prompts(plain)
    with pytest.raises(FileFormatError):
        read_prompts(tmp_path / "missing.txt")


def test_a_local_teacher_gives_its_distributions_where_tokens_are_the_same(tmp_path):
    engine = toy_engine()
    teacher = LocalTeacher(engine, ChatText(byte_tokenizer()), sampling=Sampling(max_new_tokens=6))
    assert teacher.is_soft
    (reply,) = teacher.ask(["What is love?"])
    assert reply.text == engine.answer("What is love?", tables=(), sampling=Sampling(max_new_tokens=6)).text
    assert reply.soft is not None
    steps = engine.forced_logits("What is love?", reply.text, tables=())
    assert torch.equal(reply.soft.tokens[:, 0].long(), steps.argmax(-1))
    other = LocalTeacher(engine, ChatText(byte_tokenizer(chat=False)), sampling=Sampling(max_new_tokens=6))
    assert same_tokens(engine.text, engine.text)
    assert other.is_soft == same_tokens(engine.text, ChatText(byte_tokenizer(chat=False)))


def engine_in(folder):
    return engine_over(toy_parts(), InMemoryLessonStore(), InMemoryDerivedStore(), folder / "adapters")


def test_an_adapter_learns_what_the_teacher_says(tmp_path):
    replies = {p: Reply("Yes it is", "stop", 1, 1) for p in PROMPTS}
    distil(Plain(replies), PROMPTS, tmp_path / "out")
    engine = engine_in(tmp_path)
    training = TrainingSettings(epochs=4, batch=8, micro_batch=8, rate=1e-2)
    verdict = learn_distilled(engine, "voice", tmp_path / "out", training, SHAPE)
    assert verdict.accepted, verdict
    assert verdict.adapter == "voice@1"
    assert verdict.figures["loss"] < verdict.figures["loss_base"]
    unseen = "What is 77 plus 77?"
    assert engine.answer(unseen, adapter="voice").text == "Yes it is"
    assert set(engine.specialists.shelf.find("voice").data) == {"train.jsonl", "validation.jsonl"}
    assert "candidate" not in engine.specialists.adapters.loaded
    assert not (tmp_path / "adapters" / "voice" / ".distilling").exists()


def test_an_adapter_that_learned_nothing_is_refused(tmp_path):
    engine = engine_in(tmp_path)
    own = engine.answer_many(PROMPTS, sampling=Sampling(max_new_tokens=12))  # what is held out the base says already
    said = [a.text if is_held_out(p) else "Yes it is" for p, a in zip(PROMPTS, own, strict=True)]
    distil(Plain({p: Reply(text) for p, text in zip(PROMPTS, said, strict=True)}), PROMPTS, tmp_path / "out")
    before = engine.logits("Anything?", steps=2)
    training = TrainingSettings(epochs=4, batch=8, micro_batch=8, rate=1e-2)
    verdict = learn_distilled(engine, "voice", tmp_path / "out", training, SHAPE)
    assert not verdict.accepted
    assert "held-out" in verdict.reasons[0]
    assert engine.specialists.shelf.all() == []
    assert torch.equal(engine.logits("Anything?", steps=2), before)
    (tmp_path / "out" / "validation.jsonl").write_text("")
    with pytest.raises(InputError, match="0 to judge by"):
        learn_distilled(engine, "voice", tmp_path / "out", training, SHAPE)
