"""Figures for Prometheus, named in the manner of vLLM's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from everlearn.records import Answer, Taught
from everlearn.server.answering import Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_STEP_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
_MS = (0.5, 1, 2, 5, 10, 20, 30, 50, 100, 250, 1000)


@final
class Metrics:
    """All figures of one server; a registry of its own, so that several servers in a process do not mix.

    Args:
        around: opened around teaching so many lessons, such as a span.
    """

    def __init__(self, around: Callable[[int], AbstractContextManager[None]] | None = None) -> None:
        self._around = around or _nothing_around
        self.registry = CollectorRegistry()
        r = self.registry
        self._requests = Counter("everlearn_requests", "Requests", ["method", "route", "status"], registry=r)
        self._seconds = Histogram("everlearn_request_seconds", "Whole request", ["route"], buckets=_SECONDS, registry=r)
        self._refused = Counter("everlearn_refused", "Requests refused", ["why"], registry=r)
        self.running = Gauge("everlearn_num_requests_running", "Answers under way", registry=r)
        self.waiting = Gauge("everlearn_num_requests_waiting", "Answers that wait to begin", registry=r)
        self._cache = {
            name: Gauge(f"everlearn_{name}", text, registry=r)
            for name, text in (
                ("kv_cache_tokens", "Tokens in attention caches of running answers"),
                ("kv_cache_bytes", "Bytes of those"),
                ("prefix_cache_tokens", "Tokens of attention caches kept of earlier prompts"),
                ("prefix_cache_bytes", "Bytes of those"),
            )
        }
        self._known = Counter("everlearn_answer_cache_hits", "Answers that were there already", registry=r)
        self._finished = Counter("everlearn_request_success", "Answers", ["finished_reason"], registry=r)
        self._prompt = Counter("everlearn_prompt_tokens", "Tokens read", registry=r)
        self._cached = Counter("everlearn_prompt_tokens_cached", "Tokens read before", registry=r)
        self._written = Counter("everlearn_generation_tokens", "Tokens written", registry=r)
        self._first = Histogram(
            "everlearn_time_to_first_token_seconds", "Until the first piece", buckets=_SECONDS, registry=r
        )
        self._step = Histogram("everlearn_inter_token_latency_seconds", "A token", buckets=_STEP_SECONDS, registry=r)
        self._recall = Histogram("everlearn_recall_milliseconds", "Recall of a question", buckets=_MS, registry=r)
        self._hits = Counter("everlearn_recall_hits", "Answers that rest on lessons", ["how"], registry=r)
        self._teach = Histogram("everlearn_teach_seconds", "Until lessons are durable", buckets=_SECONDS, registry=r)
        self._taught = Counter("everlearn_lessons_taught", "Lessons learned", registry=r)
        self._forgotten = Counter("everlearn_lessons_forgotten", "Lessons forgotten", registry=r)
        self._lessons = Gauge("everlearn_lessons", "Lessons by status", ["tenant", "status"], registry=r)
        self._slept = Counter("everlearn_sleeps", "Candidates of sleep", ["outcome"], registry=r)
        self._filters = Counter(
            "everlearn_filter_actions", "What filters did", ["stage", "action", "category"], registry=r
        )
        self._bytes = Gauge("everlearn_storage_bytes", "Bytes on disk", ["tenant", "what"], registry=r)
        ProcessCollector(registry=r)  # processor seconds and memory of the server, where the system tells them

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has ended."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def loaded(self, load: Load) -> None:
        """How much is going on."""
        self.running.set(load.running)
        self.waiting.set(load.waiting)
        held = (load.cache_tokens, load.cache_bytes, load.kept_tokens, load.kept_bytes)
        for gauge, value in zip(self._cache.values(), held, strict=True):
            gauge.set(value)

    def hit(self) -> None:
        """An answer was there already."""
        self._known.inc()

    def refused(self, why: str) -> None:
        """A request was refused."""
        self._refused.labels(why).inc()

    def answered(self, answer: Answer, first_seconds: float | None) -> None:
        """An answer has ended."""
        usage, receipt = answer.usage, answer.receipt
        self._finished.labels(answer.finish_reason).inc()
        self._prompt.inc(usage.prompt_tokens)
        self._cached.inc(usage.cached_tokens)
        self._written.inc(usage.completion_tokens)
        self._recall.observe(receipt.recall_ms)
        for how in {recalled.decision for recalled in receipt.rests_on}:
            self._hits.labels(how).inc()
        if first_seconds is not None:
            self._first.observe(first_seconds)
        if usage.completion_tokens > 1:
            self._step.observe(usage.decode_ms / 1000 / usage.completion_tokens)

    @contextmanager
    def teaching(self, lessons: int) -> Iterator[None]:
        """Time a block that teaches so many lessons."""
        begun = time.perf_counter()
        with self._around(lessons):
            yield
        self._teach.observe(time.perf_counter() - begun)
        self._taught.inc(lessons)

    def judged(self, outcomes: Iterable[Taught]) -> None:
        """Lessons were looked at before they were learned: count those that were held back."""
        held = sum(not outcome.known and outcome.lesson.status == "quarantined" for outcome in outcomes)
        if held:
            self.filtered("lesson", "quarantined", "quarantine", held)

    def stored(self, tenant: str, sizes: Mapping[str, int]) -> None:
        """How many bytes a tenant's state has on disk, by what they are of."""
        for what, size in sizes.items():
            self._bytes.labels(tenant, what).set(size)

    def forgot(self, lessons: int) -> None:
        """Lessons were forgotten."""
        self._forgotten.inc(lessons)

    def slept(self, *, accepted: bool) -> None:
        """A candidate was judged."""
        self._slept.labels("accepted" if accepted else "refused").inc()

    def filtered(self, stage: str, action: str, category: str, count: int = 1) -> None:
        """A filter did something so many times."""
        self._filters.labels(stage, action, category).inc(count)

    def held(self, tenant: str, counts: dict[str, int]) -> None:
        """How many lessons a tenant has, by status."""
        for status, count in counts.items():
            self._lessons.labels(tenant, status).set(count)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self.registry)


def _nothing_around(_lessons: int) -> AbstractContextManager[None]:
    return nullcontext()
