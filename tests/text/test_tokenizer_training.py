"""A tokenizer that is learned writes any text and gives it back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.errors import CorruptWeightsError, InputError
from everlearn.records import Message
from everlearn.text.chat import ChatText
from everlearn.text.tokenizer_training import load_tokenizer, save_tokenizer, train_tokenizer

TEXTS = [f"The harbour had {n} boats, and the boats were painted red.\n" for n in range(200)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 400)


def test_it_learns_words_within_its_size(tokenizer):
    assert len(tokenizer) <= 400
    assert len(tokenizer("The harbour had boats", add_special_tokens=False).input_ids) <= 5


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"])))
def test_any_text_comes_back(tokenizer, text):
    import unicodedata

    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == unicodedata.normalize("NFC", text)


def test_it_is_a_chat_tokenizer_when_it_is_read_again(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).get_vocab() == tokenizer.get_vocab()
    text = ChatText.from_folder(tmp_path)
    ids = text.prompt_ids([Message("user", "boats?")])
    assert text.decode(ids).strip() == "boats?"
    assert tokenizer.eos_token_id in text.stop_ids


def test_what_is_read_is_bounded():
    read = []

    def endless():
        while True:
            read.append(1)
            yield TEXTS[0] * 20

    train_tokenizer(endless(), 300, most_bytes=100_000)
    assert len(read) < 100


def test_nothing_and_too_little_are_refused(tmp_path):
    with pytest.raises(InputError, match="no text"):
        train_tokenizer([], 400)
    with pytest.raises(InputError, match="too small"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(CorruptWeightsError, match="cannot be read"):
        load_tokenizer(tmp_path)
