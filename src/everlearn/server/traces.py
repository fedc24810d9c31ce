"""Spans for OpenTelemetry: requests, answers with recall, prefill and decoding, teaching. Figures and names, no texts.

Only where it was asked for: the packages are those of the extra `traces`, and this file is imported by wiring alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, final

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, StatusCode, set_span_in_context
from opentelemetry.util.types import Attributes

from everlearn.errors import EverlearnError
from everlearn.records import Answer
from everlearn.server.answering import Answering, Ask, Cancel, Emit, Event, Load
from everlearn.server.gatekeeper import OPEN, PAGES
from everlearn.server.room import VERSION
from everlearn.server.tenants import Tenant

_NS = 1_000_000  # nanoseconds of a millisecond
_NAMED_BY_NOBODY = "unknown_service"  # how OpenTelemetry calls it
_NOT_TRACED = (*OPEN, "/metrics")


@final
class _NoWords(SpanProcessor):
    """Takes out of addresses what may be a question that was searched for; `http.route` tells the rest."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """A span begins."""
        found = span.attributes or {}
        if "url.query" in found:
            span.set_attribute("url.query", "REDACTED")
        if "url.path" in found:
            span.set_attribute("url.path", "/".join(str(found["url.path"]).split("/")[:3]))


@final
class Traces:
    """Makes spans and has them sent.

    Args:
        processor: takes what has ended.

    Attributes:
        telemetry: what FastAPI is told, which makes the spans of requests and goes on with a caller's `traceparent`.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create()  # of OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
        if str(resource.attributes[SERVICE_NAME]).startswith(_NAMED_BY_NOBODY):
            resource = resource.merge(Resource({SERVICE_NAME: "everlearn", SERVICE_VERSION: VERSION}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(_NoWords())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("everlearn", VERSION)
        self.telemetry: TelemetryConfig = {
            "tracer_provider": self._provider,
            "tracing": True,
            "metrics": False,
            "logs": False,  # they would hold what was sent
            "operation_spans": False,
            "auto_configure": False,
            "exclude": _is_left_out,
        }

    @classmethod
    def to_collector(cls) -> Traces:
        """Spans are sent to the collector that the variables OTEL_EXPORTER_OTLP_* name; http://localhost:4318 else."""
        return cls(BatchSpanProcessor(OTLPSpanExporter()))

    def answering(self, inside: Answering) -> Answering:
        """The same, with spans of its answers."""
        return TracedAnswering(inside, self)

    def span(self, name: str, attributes: Attributes = None, begun: int | None = None) -> Span:
        """Begin a span under that of the request, if there is one; whoever begins it ends it."""
        return self._tracer.start_span(name, attributes=attributes, start_time=begun)

    def past(self, name: str, parent: Span, begun: int, ended: int, attributes: Attributes = None) -> None:
        """A span of something that is over; times in nanoseconds since 1970."""
        inside = set_span_in_context(parent)
        self._tracer.start_span(name, inside, start_time=begun, attributes=attributes).end(max(begun, ended))

    @contextmanager
    def teaching(self, lessons: int) -> Iterator[None]:
        """A span around a block that teaches so many lessons."""
        span = self.span("teach", {"everlearn.lessons": lessons})
        try:
            yield
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def failed(span: Span, error: BaseException) -> None:
    """Note what kind of error it was. Its message may quote what was said, and stays here."""
    span.set_attribute("error.type", error.code if isinstance(error, EverlearnError) else type(error).__qualname__)
    span.set_status(StatusCode.ERROR)


@final
class TracedAnswering:
    """An `Answering` whose answers have spans.

    Args:
        answering: what answers.
        traces: makes the spans.
    """

    def __init__(self, answering: Answering, traces: Traces) -> None:
        self._answering, self._traces = answering, traces

    def start(self, tenant: Tenant, ask: Ask, emit: Emit, deadline: float) -> Cancel:
        """Begin an answer, as the one inside does."""
        begun, since, silent = time.time_ns(), time.monotonic_ns(), True
        named = {"gen_ai.operation.name": "chat", "everlearn.tenant": tenant.name}
        span = self._traces.span("answer", named, begun)

        def told(event: Event) -> None:
            nonlocal silent
            if silent:
                silent = False
                span.add_event("first piece")
            if isinstance(event, Answer):
                # A clock that is set meanwhile does not put the steps outside of the answer.
                self._end(span, begun, begun + time.monotonic_ns() - since, event)
            elif isinstance(event, EverlearnError):
                failed(span, event)
                span.end()
            emit(event)

        try:
            return self._answering.start(tenant, ask, told, deadline)
        except BaseException as error:
            failed(span, error)
            span.end()
            raise

    def load(self) -> Load:
        """How much is going on."""
        return self._answering.load()

    def close(self) -> None:
        """End all answers."""
        self._answering.close()

    def _end(self, span: Span, begun: int, now: int, answer: Answer) -> None:
        """Tell what the answer cost, in the names of OpenTelemetry's conventions where there is one.

        Its steps are over when they are told: the engine tells how long each took, and they end with the answer.
        """
        usage, receipt = answer.usage, answer.receipt
        if usage.prompt_tokens:
            taken, reading = (begun + round(ms * _NS) for ms in (usage.wait_ms, usage.queue_ms))
            recalled = taken + round(receipt.recall_ms * _NS)
            decoding = now - round(usage.decode_ms * _NS)
            self._traces.past("wait", span, begun, taken)
            self._traces.past("recall", span, taken, recalled)
            self._traces.past("prepare", span, recalled, reading)
            self._traces.past("prefill", span, reading, decoding, {"everlearn.busy_ms": usage.prefill_ms})
            self._traces.past("decode", span, decoding, now)
        span.set_attributes(
            {
                "gen_ai.response.model": receipt.model,
                "gen_ai.response.finish_reasons": [answer.finish_reason],
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "everlearn.receipt": receipt.id,
                "everlearn.adapter": receipt.adapter,
                "everlearn.lessons": len(receipt.rests_on),
            }
        )
        span.end(now)


def _is_left_out(scope: MutableMapping[str, Any]) -> bool:
    path = str(scope["path"])
    return path in _NOT_TRACED or path == PAGES or path.startswith(f"{PAGES}/")
