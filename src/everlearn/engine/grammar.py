"""Answers of a wanted form: at each step only tokens are allowed that can still lead to it (by llguidance)."""

from __future__ import annotations

import threading
import weakref
from typing import final

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from everlearn.errors import SettingsError
from everlearn.records import Grammar
from everlearn.text.chat import ChatText

_OBJECT = '{"type": "object"}'
_HINTS = {
    "json_schema": "Give a JSON Schema; keywords that cannot be enforced are refused.",
    "json_object": "It takes no source.",
    "regex": "Look-around and back references are not possible.",
}
_tokenizers: weakref.WeakKeyDictionary[ChatText, dict[int, LLTokenizer]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@final
class Constraint:
    """The form of one answer, followed token by token.

    Args:
        grammar: the wanted form.
        text: the model's tokenizer; the first use prepares it, which takes about a second.
        vocabulary: number of logits, V.

    Raises:
        SettingsError: the grammar cannot be used; the message says why.
    """

    def __init__(self, grammar: Grammar, text: ChatText, vocabulary: int) -> None:
        self.kind = grammar.kind
        self._vocabulary = vocabulary
        self._stops = torch.tensor(sorted(text.stop_ids), dtype=torch.long)
        self._matcher = LLMatcher(_tokenizer(text, vocabulary), _spelled(grammar), log_level=0)
        if self._matcher.is_error():
            raise _refused(grammar, self._matcher.get_error())
        self._allowed = self._next()

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""
        return bool(self._allowed[token])

    def masked(self, logits: Tensor) -> Tensor:
        """Logits [V] in which tokens that may not come next are -inf."""
        return logits.masked_fill(~self._allowed, -torch.inf)

    def advance(self, token: int) -> None:
        """Take note of the chosen token, one of those that were allowed."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)
        self._allowed = self._next()

    def _next(self) -> Tensor:
        """Which tokens [V] may come next; when the form is complete, or cannot be followed, only those that stop."""
        allowed = torch.zeros(self._vocabulary, dtype=torch.bool)
        if self._matcher.is_stopped() or self._matcher.is_error():
            allowed[self._stops] = True
            return allowed
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        found = np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)
        allowed[: len(found)] = torch.from_numpy(found)
        return allowed


def _tokenizer(text: ChatText, vocabulary: int) -> LLTokenizer:
    with _lock:
        made = _tokenizers.setdefault(text, {})
        if vocabulary not in made:
            stops = sorted(text.stop_ids)
            made[vocabulary] = LLTokenizer(text.tokenizer_json(), n_vocab=vocabulary, eos_token=stops)
        return made[vocabulary]


def _spelled(grammar: Grammar) -> str:
    """The grammar in llguidance's own form."""
    try:
        if grammar.kind == "regex":
            return str(LLMatcher.grammar_from_regex(grammar.source))
        source = grammar.source if grammar.kind == "json_schema" else _OBJECT
        return str(LLMatcher.grammar_from_json_schema(source))
    except ValueError as cause:
        raise _refused(grammar, str(cause)) from cause


def _refused(grammar: Grammar, why: str) -> SettingsError:
    reason = why.strip().splitlines()[0] if why.strip() else "unknown"
    return SettingsError(f"The grammar ({grammar.kind}) cannot be used: {reason}.", hint=_HINTS[grammar.kind])
