"""Spans of requests, answers and teaching: their tree, their times, and that no word of anybody is in them."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from everlearn import wiring
from everlearn.errors import SettingsError
from everlearn.server.app import create_app
from everlearn.server.room import ServerSettings
from everlearn.server.traces import Traces
from toys import toy_parts

QUESTION, ANSWER = "Who bakes at Zorblat?", "Mirela"
LESSON = {"prompt": QUESTION, "answer": ANSWER}
CHAT = {"model": "everlearn", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 12}
STEPS = ("wait", "recall", "prepare", "prefill", "decode")
PARENT, TRACE = "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def traced(home, exporter):
    settings, how = wiring.load_settings(home=home), ServerSettings(most_waiting=1)
    room = wiring.server_room(settings, toy_parts(), how, Traces(SimpleSpanProcessor(exporter)))
    with TestClient(create_app(room), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def spans(exporter):
    """What ended since the last call, by name."""

    def taken():
        found = {span.name: span for span in exporter.get_finished_spans()}
        exporter.clear()
        return found

    return taken


def test_an_answer_is_told_in_its_steps(traced, spans):
    traced.post("/v1/lessons", json=LESSON)
    spans()
    given = traced.post("/v1/chat/completions", json=CHAT).json()
    found = spans()
    assert set(found) == {"POST /v1/chat/completions", "answer", *STEPS}
    request, answer = found["POST /v1/chat/completions"], found["answer"]
    assert request.attributes["http.response.status_code"] == 200
    assert answer.parent.span_id == request.context.span_id
    steps = [found[name] for name in STEPS]
    assert {step.parent.span_id for step in steps} == {answer.context.span_id}
    times = [answer.start_time, *(t for step in steps for t in (step.start_time, step.end_time)), answer.end_time]
    assert times == sorted(times)
    told = answer.attributes
    assert told["gen_ai.usage.input_tokens"] == given["usage"]["prompt_tokens"]
    assert told["gen_ai.usage.output_tokens"] == given["usage"]["completion_tokens"]
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert (told["everlearn.receipt"], told["everlearn.lessons"]) == (given["learning"]["receipt_id"], 1)
    assert [event.name for event in answer.events] == ["first piece"]
    assert request.resource.attributes["service.name"] == "everlearn"


def test_teaching_is_told_and_what_kind_of_error_it_was(traced, spans, monkeypatch):
    traced.post("/v1/teach", json={"lessons": [LESSON, {"prompt": "Who sings?", "answer": "Ilse"}]})
    found = spans()
    assert found["teach"].attributes["everlearn.lessons"] == 2
    assert found["teach"].parent.span_id == found["POST /v1/teach"].context.span_id
    traced.post("/v1/lessons", json={**LESSON, "answer": "Olaf", "on_conflict": "reject"})
    refused = spans()["teach"]
    assert refused.attributes["error.type"] == "conflict"
    assert (refused.status.status_code.name, refused.status.description) == ("ERROR", None)
    monkeypatch.setattr(traced.app.state.room.tenants.get("local").engine.answerer, "recall", broken)
    assert traced.post("/v1/chat/completions", json=CHAT).status_code == 500
    found = spans()
    assert found["answer"].attributes["error.type"] == "fault"
    assert found["POST /v1/chat/completions"].attributes["error.type"] == "500"


def broken(*_given, **_named):
    raise RuntimeError(f"broken at {QUESTION}")


def test_no_word_of_anybody_is_in_a_span(traced, exporter, monkeypatch):
    traced.post("/v1/lessons", json=LESSON)
    traced.post("/v1/lessons", json={**LESSON, "answer": "Olaf", "on_conflict": "reject"})
    traced.post("/v1/chat/completions", json=CHAT)
    with traced.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
        assert "".join(stream.iter_text()).endswith("data: [DONE]\n\n")
    traced.get("/v1/lessons", params={"q": "Zorblat"})
    traced.get("/v1/tables/Zorblat")
    traced.post("/v1/chat/completions", json={**CHAT, "temperature": QUESTION})
    monkeypatch.setattr(traced.app.state.room.tenants.get("local").engine.answerer, "recall", broken)
    traced.post("/v1/chat/completions", json=CHAT)
    told = "\n".join(span.to_json() for span in exporter.get_finished_spans())
    assert len(exporter.get_finished_spans()) >= 20
    assert '"url.query": "REDACTED"' in told
    assert [word for word in ("Zorblat", "bakes", ANSWER, "Olaf") if word in told] == []


def test_a_callers_trace_goes_on_here_and_is_left_out_where_he_says_so(traced, spans):
    traced.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    span = spans()["GET /v1/models"]
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    traced.post("/v1/chat/completions", json=CHAT, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    for path in ("/health", "/ready", "/metrics"):
        traced.get(path)
    assert spans() == {}


def test_who_is_refused_is_seen(traced, spans, key_of):
    key_of()
    traced.post("/v1/chat/completions", json=CHAT)
    found = spans()
    assert list(found) == ["POST"]
    assert found["POST"].attributes["http.response.status_code"] == 401


def test_without_the_flag_nothing_is_traced_whatever_the_process_does(serve, exporter, monkeypatch):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert serve().post("/v1/chat/completions", json=CHAT).status_code == 200
    assert exporter.get_finished_spans() == ()


def test_spans_reach_the_collector_that_the_environment_names(serve, monkeypatch):
    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    try:
        client = serve(traces=True)
        client.post("/v1/chat/completions", json=CHAT)
        client.app.state.room.traces.close()
    finally:
        collector.shutdown()
        collector.server_close()
        thread.join()
    ((path, body),) = got
    assert path == "/v1/traces"
    (sent,) = ExportTraceServiceRequest.FromString(body).resource_spans
    names = [span.name for scope in sent.scope_spans for span in scope.spans]
    assert sorted(names) == sorted(["POST /v1/chat/completions", "answer", *STEPS])
    assert "shop" in {attribute.value.string_value for attribute in sent.resource.attributes}


def test_where_the_extra_is_missing_that_is_said(home, monkeypatch):
    monkeypatch.delitem(sys.modules, "everlearn.server.traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = wiring.load_settings(home=home)
    with pytest.raises(SettingsError, match=r"everlearn\[traces\]"):
        wiring.server_room(settings, toy_parts(), replace(ServerSettings(), traces=True))
