"""What a check found in a text: where, of which category, how surely, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

PiiKind = Literal[
    "email_address",
    "phone_number",
    "credit_card",
    "iban",
    "us_ssn",
    "national_id",
    "ip_address",
    "secret",
    "date_of_birth",
    "street_address",
    "person",
]
Category = Literal["hate", "illicit", "prompt_injection", "hidden_text", "phrase", "guard"]
PII_KINDS: tuple[str, ...] = get_args(PiiKind)
CATEGORIES: tuple[str, ...] = get_args(Category)


@final
@dataclass(frozen=True, slots=True)
class Flag:
    """A place in a text that a check points at. It holds no text.

    Attributes:
        category: a kind of personal data, or a category of harm.
        score: probability 0..1 of a fitted model; 1 where a rule either finds or does not.
        start: of the place, in characters.
        end: of the place, exclusive.
        rule: what found it, such as "pii/credit_card" or "model/hate"; stable, meant for logs.
    """

    category: str
    score: float
    start: int
    end: int
    rule: str
