"""Kept caches: found by their own tenant alone, bounded, and never stale."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlearn.engine.batcher import Batcher
from everlearn.engine.kept import BLOCK, KeptCaches
from everlearn.records import Lesson, Message, Sampling
from toys import toy_engine, toy_learner, toy_parts

SHORT = Sampling(max_new_tokens=16)
QUESTION = "Who bakes at Zorblat, and since when?"


@pytest.fixture
def batcher(engine):
    made = Batcher(engine.model)
    yield made
    made.close()


def read(model, ids):
    cache = model.new_cache()
    model.forward(torch.tensor([ids]), cache)
    return cache


def test_the_next_turn_reads_only_what_is_new(engine, batcher):
    talk = [Message("system", "Be brief."), Message("user", "Hi there, how are you today?")]
    first = batcher.submit(engine, talk, sampling=SHORT).answer()
    assert first.usage.cached_tokens == 0
    talk += [Message("assistant", first.text), Message("user", "And now?")]
    wanted = engine.answer(talk, sampling=SHORT)
    second = batcher.submit(engine, talk, sampling=SHORT).answer()
    assert second.text == wanted.text
    assert second.usage.cached_tokens >= first.usage.prompt_tokens


def test_another_tenant_never_hits(engine, batcher):
    prompt = "A long question that both of them ask, word for word. " * 3
    for tenant in ("a", "b"):
        assert batcher.submit(engine, prompt, sampling=SHORT, tenant=tenant).answer().usage.cached_tokens == 0
        assert batcher.submit(engine, prompt, sampling=SHORT, tenant=tenant).answer().usage.cached_tokens > BLOCK
    batcher.drop_kept("a")
    assert batcher.submit(engine, prompt, sampling=SHORT, tenant="a").answer().usage.cached_tokens == 0
    assert batcher.submit(engine, prompt, sampling=SHORT, tenant="b").answer().usage.cached_tokens > BLOCK


def test_only_whole_answers_of_the_bare_model_are_kept(engine, learner):
    """What is kept for a corrected answer is what the bare model computes."""
    learner.teach(Lesson(QUESTION, "Mirela Quandt"))
    batcher = Batcher(engine.model)
    batcher.submit(engine, QUESTION, sampling=SHORT).answer()
    ids = engine.text.prompt_ids([Message("user", QUESTION)])
    cache, length = batcher._worker.kept.find("local", "", [*ids, 1, 2, 3])
    assert length == len(ids) - 1
    bare = read(engine.model, ids[:-1])
    for mine, theirs in zip(cache.keys_and_values.layers, bare.keys_and_values.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys)
        torch.testing.assert_close(mine.values, theirs.values)
    batcher.close()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["teach a", "teach b", "passage", "forget", "ask", "talk"]), max_size=8))
def test_teaching_and_forgetting_between_equal_prompts_never_serves_what_was(parts, steps):
    engine = toy_engine(parts=parts)
    learner = toy_learner(engine)
    batcher = Batcher(engine.model, prefill_tokens=24)
    talk = [Message("user", "Hello?"), Message("assistant", "Mirela Quandt"), Message("user", QUESTION)]
    taught: list[str] = []
    try:
        for step in [*steps, "ask", "talk"]:
            if step == "forget":
                while taught:
                    learner.forget(taught.pop())
            elif step == "passage":
                done = learner.teach(Lesson("Zorblat", "Mirela bakes at Zorblat since 1999.", kind="passage"))
                taught += [] if done.known else [done.lesson.id]
            elif step.startswith("teach"):
                done = learner.teach(Lesson(QUESTION, "Mirela" if step == "teach a" else "Anton Bell"))
                taught += [] if done.known else [done.lesson.id]
            else:
                prompt = QUESTION if step == "ask" else talk
                wanted = engine.answer(prompt, sampling=SHORT)
                got = batcher.submit(engine, prompt, sampling=SHORT).answer()
                assert got.text == wanted.text
                assert got.receipt.recalled == wanted.receipt.recalled
    finally:
        batcher.close()


def test_bytes_are_bounded_and_the_oldest_is_given_up():
    model = toy_parts().model
    caches = [(list(range(n, n + 40)), read(model, list(range(n, n + 40)))) for n in range(0, 200, 50)]
    size = caches[0][1].nbytes
    kept = KeptCaches(3 * size)
    for ids, cache in caches[:3]:
        kept.keep("a", "", ids, cache)
    assert kept.nbytes == 3 * size
    assert kept.tokens == 120
    assert kept.find("a", "", [*caches[0][0], 7])[1] == 40  # used: now the second is the oldest
    kept.keep("a", "", *caches[3])
    assert kept.nbytes == 3 * size
    assert [kept.find("a", "", [*ids, 7])[1] for ids, _ in caches] == [40, 0, 40, 40]
    assert kept.find("a", "x@1 abc", [*caches[0][0], 7]) == (None, 0)
    assert kept.find("b", "", [*caches[0][0], 7]) == (None, 0)
    nothing = KeptCaches(0)
    nothing.keep("a", "", *caches[0])
    assert nothing.nbytes == 0


def test_a_longer_cache_replaces_its_begin_and_a_fork_uses_what_is_equal():
    model = toy_parts().model
    long = list(range(60))
    kept = KeptCaches(2**30)
    kept.keep("a", "", long[:40], read(model, long[:40]))
    kept.keep("a", "", long, read(model, long))
    assert kept.tokens == 60
    cache, length = kept.find("a", "", [*long[:37], 200, 201, 202])
    assert (length, cache.lengths) == (37, [37])
    assert kept.find("a", "", long)[1] == 59  # the last token's logits are wanted
    assert kept.find("a", "", [*long[: BLOCK - 1], 200, 201]) == (None, 0)
    kept.drop()
    assert (kept.nbytes, kept.tokens) == (0, 0)
