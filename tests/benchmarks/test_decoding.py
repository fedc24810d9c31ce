"""The batched decoder gives what the engine gives one by one."""

import pytest
import torch

from everlearn.records import Sampling
from peers.decoding import Decoder
from peers.editor import prompt_of
from peers.memo import Memo

QUESTIONS = ["Who runs it?", "A much longer question about a bakery, and who it is that runs it?", "x"]


@pytest.fixture
def decoder(parts):
    return Decoder(parts.model.module, parts.text, batch_size=2)


def test_free_answers_are_those_of_the_engine_one_by_one(decoder, engine):
    given = decoder.free([prompt_of(engine.text, q) for q in QUESTIONS], 12)
    alone = [engine.answer(q, tables=(), sampling=Sampling(max_new_tokens=12)) for q in QUESTIONS]
    assert [(g.text, g.finish) for g in given] == [(a.text, a.finish_reason) for a in alone]


def test_forced_steps_are_those_of_the_engine_one_by_one(decoder, engine):
    answers = ["Mirela", "A long answer", "b"]
    pairs = [(prompt_of(engine.text, q), engine.text.answer_ids(a)) for q, a in zip(QUESTIONS, answers, strict=True)]
    for said, question, answer in zip(decoder.forced(pairs), QUESTIONS, answers, strict=True):
        logits = engine.forced_logits(question, answer, tables=())
        wanted = torch.tensor(engine.text.answer_ids(answer))
        assert list(said.tokens) == logits.argmax(dim=-1).tolist()
        losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
        assert said.losses == pytest.approx(losses.tolist(), abs=1e-3)


def test_a_memo_answers_without_the_model_also_after_it_was_opened_again(parts, tmp_path, monkeypatch):
    path = tmp_path / "memo.jsonl"
    prompts = [prompt_of(parts.text, q) for q in QUESTIONS]
    memo = Memo(path)
    first = Decoder(parts.model.module, parts.text, memo=memo).free(prompts, 5)
    memo.close()
    memo = Memo(path)
    monkeypatch.setattr(Decoder, "_free_batch", lambda *_: pytest.fail("asked again"))
    assert Decoder(parts.model.module, parts.text, memo=memo).free(prompts, 5) == first
    memo.close()


def test_another_limit_is_another_question_to_the_memo(parts):
    decoder = Decoder(parts.model.module, parts.text, memo=Memo())
    prompt = [prompt_of(parts.text, QUESTIONS[1])]
    assert len(decoder.free(prompt, 9)[0].text) >= len(decoder.free(prompt, 2)[0].text)
    assert decoder.free(prompt, 2)[0] == Decoder(parts.model.module, parts.text).free(prompt, 2)[0]
