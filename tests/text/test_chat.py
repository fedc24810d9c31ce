"""Chat templates and the tokens of an answer."""

import pytest
from jinja2 import TemplateError

from everlearn.errors import ConversationError, CorruptWeightsError, LessonError, ModelNotFoundError
from everlearn.records import Message
from everlearn.text.chat import ChatText
from toys import BYTES, EOS, START, byte_tokenizer

TALK = [Message("user", "Hi"), Message("assistant", "Yo"), Message("user", "Bye")]


def test_prompt_ids_follow_the_template():
    text = ChatText(byte_tokenizer())
    ids = text.prompt_ids(TALK)
    assert ids.count(START) == 4
    assert ids.count(EOS) == 3
    assert text.decode(ids) == "user\nHiassistant\nYouser\nByeassistant\n"


def test_a_model_without_template_gets_plain_questions_and_answers():
    text = ChatText(byte_tokenizer(chat=False))
    assert not text.has_template
    assert text.decode(text.prompt_ids([Message("system", "Be brief."), *TALK])).endswith("Question: Bye\nAnswer:")
    assert text.decode(text.answer_ids("Paris")) == " Paris"


@pytest.mark.parametrize("answer", ["Mirela Quandt", "🥐", "ميرلا", "a\nb", "1, 2"])
def test_answer_ids_spell_the_answer_and_end_in_a_stop(answer):
    text = ChatText(byte_tokenizer())
    ids = text.answer_ids(answer)
    assert text.decode(ids) == answer
    assert ids[-1] in text.stop_ids


def test_an_answer_that_cannot_be_spelled_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 1, "yes": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    text = ChatText(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unk>"))
    assert text.answer_ids("yes") == [2, 1]
    with pytest.raises(LessonError, match="cannot spell"):
        text.answer_ids("ᚠᛇᚻ")


def test_the_stop_token_is_the_one_that_ends_a_turn():
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<other>"})
    tokenizer.chat_template = tokenizer.chat_template.replace("<end>", "<start>")
    text = ChatText(tokenizer)
    assert text.turn_end == START
    assert text.stop_ids == {START, tokenizer.eos_token_id}


def test_a_refused_order_of_messages_is_a_conversation_error():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    with pytest.raises(ConversationError, match="no system") as caught:
        ChatText(tokenizer).prompt_ids([Message("system", "a")])
    assert isinstance(caught.value.__cause__, TemplateError)
    with pytest.raises(ConversationError, match="no message"):
        ChatText(tokenizer).prompt_ids([])


def test_a_tokenizer_without_end_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelNotFoundError, match="no end-of-text"):
        ChatText(tokenizer)


def test_a_folder_round_trip_and_a_damaged_one(tmp_path):
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [256, 7]}')
    text = ChatText.from_folder(tmp_path)
    assert text.stop_ids == {7, EOS}
    assert text.decode([*b"abc", BYTES]) == ChatText(byte_tokenizer()).decode([*b"abc", BYTES])
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CorruptWeightsError, match="cannot be read"):
        ChatText.from_folder(tmp_path)
