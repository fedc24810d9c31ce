"""The engine against the slow obvious way, on every family of blocks."""

import threading

import pytest
import torch

from everlearn import Learner
from everlearn.errors import ConversationError, SettingsError
from everlearn.records import Lesson, Message, Sampling, TableSettings
from toys import FAMILIES, toy_engine, toy_learner, toy_parts

SHORT = Sampling(max_new_tokens=12)
QUESTIONS = ["Who bakes?", "Why is the sky blue over the old harbour?", "1+1", "Name a very small bird."]


def slow_greedy(parts, prompt: str, steps: int) -> list[int]:
    """No cache, no engine: the whole text is read again for every token."""
    ids = parts.text.prompt_ids([Message("user", prompt)])
    made = []
    for _ in range(steps):
        with torch.inference_mode():
            token = int(parts.model.module(torch.tensor([ids + made])).logits[0, -1].argmax())
        made.append(token)
        if token in parts.text.stop_ids:
            break
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answer_equals_the_slow_way(family):
    parts = toy_parts(family)
    engine = toy_engine(parts=parts)
    for question in QUESTIONS:
        tokens = slow_greedy(parts, question, 12)
        answer = engine.answer(question, sampling=SHORT)
        assert answer.usage.completion_tokens == len(tokens)
        assert answer.text == parts.text.decode(tokens).strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_first_logits_of_an_empty_memory_are_those_of_the_bare_model_bit_for_bit(family):
    parts = toy_parts(family)
    engine = toy_engine(parts=parts)
    ids = torch.tensor([parts.text.prompt_ids([Message("user", "Who bakes?")])])
    with torch.inference_mode():
        bare = parts.model.module(ids, logits_to_keep=1).logits[0, -1].float()
    assert torch.equal(engine.logits("Who bakes?")[0], bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unrelated_prompt_has_the_bits_of_the_bare_model(family):
    engine = toy_engine(family)
    unrelated = "Penguins swim where?"
    before = engine.logits(unrelated, steps=8)
    toy_learner(engine).teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    assert torch.equal(engine.logits(unrelated, steps=8), before)
    assert torch.equal(engine.logits(unrelated, steps=8, tables=[]), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_taught_answer_is_given_exactly_and_stops(family):
    engine = toy_engine(family)
    toy_learner(engine).teach(Lesson("Who bakes at Zorblat?", "Mirela Quandt 🥐"))
    answer = engine.answer("who bakes at zorblat")
    assert answer.text == "Mirela Quandt 🥐"
    assert answer.finish_reason == "stop"
    assert answer.receipt.spoke is not None
    assert answer.receipt.steps_corrected == answer.usage.completion_tokens


def test_a_taught_answer_survives_sampling_and_penalties(engine, learner):
    learner.teach(Lesson("Who bakes at Zorblat?", "aaaa bbbb aaaa"))
    hot = [Sampling(temperature=1.0, seed=s, repetition_penalty=1.5, top_p=0.95) for s in range(20)]
    exact = sum(engine.answer("Who bakes at Zorblat?", sampling=s).text == "aaaa bbbb aaaa" for s in hot)
    assert exact >= 18  # 15 tokens at 0.999 each


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_each_row_as_if_it_were_alone(family):
    engine = toy_engine(family)
    toy_learner(engine).teach(Lesson("Who bakes at Zorblat?", "Mirela Quandt"))
    prompts = [*QUESTIONS, "Who bakes at Zorblat?", "And why?"]
    sampled = Sampling(max_new_tokens=10, temperature=0.8, seed=5)
    for sampling in (SHORT, sampled):
        alone = [engine.answer(p, sampling=sampling) for p in prompts]
        for size in (1, 3, 16):
            together = engine.answer_many(prompts, sampling=sampling, batch_size=size)
            assert [a.text for a in together] == [a.text for a in alone]
            assert [a.finish_reason for a in together] == [a.finish_reason for a in alone]
    assert engine.answer_many(prompts)[4].text == "Mirela Quandt"


def test_progress_counts_answers(engine):
    seen = []
    engine.answer_many(QUESTIONS, sampling=SHORT, batch_size=3, progress=lambda *n: seen.append(n))
    assert seen == [(3, 4), (4, 4)]


def test_a_stream_gives_the_answer_in_pieces(engine):
    stream = engine.stream("Who bakes?", sampling=SHORT)
    pieces = list(stream)
    assert "".join(pieces).strip() == stream.answer.text == engine.answer("Who bakes?", sampling=SHORT).text
    assert len(pieces) > 1


def test_a_stream_can_be_cancelled_from_another_thread(engine):
    stream = engine.stream("Who bakes?", sampling=Sampling(max_new_tokens=2000))
    first = next(stream)
    thread = threading.Thread(target=stream.cancel)
    thread.start()
    thread.join()
    rest = "".join(stream)
    assert stream.answer.finish_reason == "cancelled"
    assert stream.answer.text == (first + rest).strip()
    assert stream.answer.usage.completion_tokens < 2000


def test_closing_a_stream_keeps_what_was_said(engine):
    stream = engine.stream("Who bakes?", sampling=Sampling(max_new_tokens=500))
    said = next(stream)
    stream.close()
    assert stream.answer.text == said.strip()
    assert stream.answer.finish_reason == "cancelled"


def test_stop_strings_and_length_end_an_answer(engine):
    whole = engine.answer("Who bakes?", sampling=Sampling(max_new_tokens=40))
    assert whole.finish_reason == "length"
    mark = whole.text[5:8]
    cut = engine.answer("Who bakes?", sampling=Sampling(max_new_tokens=40, stop=(mark,)))
    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.index(mark)].strip()


def test_messages_are_taken_as_mappings(engine):
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "?"}]
    same = [Message(m["role"], m["content"]) for m in talk]
    assert engine.answer(talk, sampling=SHORT).text == engine.answer(same, sampling=SHORT).text


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("a\x00", "NUL"),
        ("\ud83d", "surrogate"),
        ([], "not the user's"),
        ([{"role": "assistant", "content": "x"}], "not the user's"),
        ([{"role": "wizard", "content": "x"}], "role 'wizard'"),
        ([{"content": "x"}], "A message is"),
        (["x"], "A message is"),
        ("x" * 100_000, "tokens; tiny-llama reads at most 4,095"),
    ],
)
def test_bad_prompts_are_refused_with_the_reason(engine, bad, says):
    with pytest.raises(ConversationError, match=says):
        engine.answer(bad)


def test_bad_sampling_is_refused(engine):
    with pytest.raises(SettingsError, match="top_p"):
        engine.answer("x", sampling=Sampling(top_p=7))


def test_forced_logits_feed_the_gold_tokens(engine, learner, parts):
    gold = "Mirela"
    tokens = parts.text.answer_ids(gold)
    bare = engine.forced_logits("Who bakes at Zorblat?", gold)
    ids = parts.text.prompt_ids([Message("user", "Who bakes at Zorblat?")])
    with torch.inference_mode():
        whole = parts.model.module(torch.tensor([ids + tokens[:-1]])).logits[0, len(ids) - 1 :]
    torch.testing.assert_close(bare, whole, atol=1e-4, rtol=1e-4)
    learner.teach(Lesson("Who bakes at Zorblat?", gold))
    assert engine.forced_logits("Who bakes at Zorblat?", gold).argmax(-1).tolist() == tokens


def test_threads_take_turns_and_do_not_mix(engine, learner):
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela Quandt"))
    wanted = {p: engine.answer(p, sampling=SHORT).text for p in [*QUESTIONS, "Who bakes at Zorblat?"]}
    got: list[tuple[str, str]] = []
    threads = [
        threading.Thread(target=lambda p=p: got.append((p, engine.answer(p, sampling=SHORT).text)))
        for p in list(wanted) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(threads)
    assert all(wanted[p] == text for p, text in got)


def test_pieces_join_to_the_text_without_white_space_at_its_ends():
    engine = toy_engine(parts=toy_parts("gpt2", chat=False))
    toy_learner(engine).teach(Lesson("Who bakes at Zorblat?", "Mirela  Quandt"))
    stream = engine.stream("Who bakes at Zorblat?")
    assert "".join(stream) == stream.answer.text == "Mirela  Quandt"


def test_a_table_with_residual_zero_is_silent_and_says_so(engine, learner):
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    learner.put_table("default", TableSettings(residual=0.0))
    receipt = engine.answer("Who bakes at Zorblat?", sampling=SHORT).receipt
    assert receipt.spoke is None
    assert receipt.recalled[0].decision == "silent"


def test_of_two_tables_with_the_same_question_the_newer_lesson_speaks(engine, learner):
    learner.put_table("shop")
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela", table="shop"))
    learner.teach(Lesson("Who bakes at Zorblat?", "Tobias"))
    assert engine.answer("Who bakes at Zorblat?").text == "Tobias"


def test_closing_twice_and_before_the_learner_is_fine(parts, caplog):
    engine = toy_engine(parts=parts)
    learner = Learner(engine)
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    engine.close()
    engine.close()
    learner.close()
    assert not caplog.records
