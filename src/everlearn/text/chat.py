"""Chat templates: messages to prompt tokens, a taught answer to the tokens the model would have to generate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GenerationConfig

from everlearn.errors import ConversationError, CorruptWeightsError, LessonError, ModelNotFoundError
from everlearn.records import Message

# For models that were never trained on conversations (GPT-2 and most base models).
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}Question: {{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}Answer: {{ message['content'] }}{{ eos_token }}\n"
    "{% else %}{{ message['content'] }}\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
_MARK = "everlearn"


@final
class ChatText:
    """A tokenizer with its chat template.

    Args:
        tokenizer: of transformers, fast or slow.
        stop_ids: more tokens that end an answer, from the model's generation settings.
    """

    def __init__(self, tokenizer: Any, *, stop_ids: Sequence[int] = ()) -> None:  # noqa: ANN401
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        self._template = None if self.has_template else PLAIN_TEMPLATE
        if tokenizer.eos_token_id is None and not stop_ids:
            raise ModelNotFoundError(
                "The tokenizer names no end-of-text token, so no answer could ever end.",
                hint="Set eos_token in the model folder's tokenizer_config.json.",
            )
        known = {tokenizer.eos_token_id, *stop_ids} - {None}
        self.turn_end = self._turn_end(known)
        self.stop_ids: frozenset[int] = frozenset({*known, self.turn_end})

    @classmethod
    def from_folder(cls, folder: Path) -> ChatText:
        """Read tokenizer, chat template and stop tokens from a model's folder.

        Raises:
            CorruptWeightsError: the tokenizer's files are missing or damaged.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError) as cause:
            raise CorruptWeightsError(
                f"The tokenizer in {folder} cannot be read ({type(cause).__name__}: {cause}).",
                hint="Put tokenizer.json and tokenizer_config.json there, or delete the folder to have it made again.",
            ) from cause
        stop_ids: list[int] = []
        if (folder / "generation_config.json").is_file():
            eos = GenerationConfig.from_pretrained(folder).eos_token_id
            stop_ids = [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
        return cls(tokenizer, stop_ids=stop_ids)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Tokens [T] of a conversation up to where the assistant's answer begins.

        Raises:
            ConversationError: no message, or the template refuses their order or roles.
        """
        if not messages:
            raise ConversationError("There is no message to answer.", hint="Give at least one user message.")
        return self._encode(self._render(messages, generation=True))

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its chat template into a folder, as transformers reads them."""
        self._tokenizer.save_pretrained(folder)

    def prompt_length(self, messages: Sequence[Message]) -> int:
        """Tokens that these messages take up where others follow them; 0 without a message."""
        return len(self._encode(self._render(messages, generation=False))) if messages else 0

    def answer_ids(self, answer: str) -> list[int]:
        """Tokens [A] that the model has to generate to give `answer`, the stop token last.

        Raises:
            LessonError: the tokenizer cannot spell the answer.
        """
        # The plain template ends in "Answer:" without a blank, as such models were trained on text.
        ids = self._encode(answer if self.has_template else f" {answer}")
        if " ".join(self.decode(ids).split()) != " ".join(answer.split()):
            raise LessonError(
                f"The model's tokenizer cannot spell this answer: it reads back as {self.decode(ids)!r}.",
                hint="Write it in another script, or use a model with a byte-level tokenizer.",
            )
        return [*ids, self.turn_end]

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._encode(text))

    def plain_ids(self, text: str) -> list[int]:
        """Tokens [T] of a text that is no conversation."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def shown(self, ids: Sequence[int]) -> str:
        """Text of tokens, special ones by their names."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that never show in the text."""
        return frozenset(self._tokenizer.all_special_ids)

    def tokenizer_json(self) -> str:
        """The tokenizer in the form of the tokenizers library.

        Raises:
            ModelNotFoundError: it is one of transformers' slow tokenizers, which have no such form.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None or not hasattr(backend, "to_str"):
            raise ModelNotFoundError(
                "This model's tokenizer has no fast form, so answers cannot be held to a grammar.",
                hint="Put a tokenizer.json into the model's folder.",
            )
        plain = Tokenizer.from_str(backend.to_str())
        plain.no_padding()
        plain.no_truncation()
        return str(plain.to_str())

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: Sequence[Message], *, generation: bool) -> str:
        plain = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    plain, chat_template=self._template, tokenize=False, add_generation_prompt=generation
                )
            )
        except TemplateError as cause:
            raise ConversationError(
                f"The model's chat template refuses these messages: {cause}.",
                hint="Let user and assistant take turns, beginning with user; not every model knows the role system.",
            ) from cause

    def _turn_end(self, known: set[int]) -> int:
        """The token that the template puts behind an assistant's message: what a natural stop looks like."""
        talk = [Message("user", _MARK), Message("assistant", _MARK)]
        rest = self._render(talk, generation=False).rpartition(_MARK)[2]
        behind = self._encode(rest)
        special = self._tokenizer.all_special_ids
        first = next((i for i in behind if i in known or i in special), None)
        return first if first is not None else min(known)
