"""What text may come in: the checks that every prompt, answer and message passes before anything else sees it."""

from __future__ import annotations

import unicodedata

from everlearn.errors import InputError

MAX_PROMPT_CHARACTERS = 4_000
MAX_ANSWER_CHARACTERS = 4_000
MAX_CONTEXT_CHARACTERS = 4_000
MAX_MESSAGE_CHARACTERS = 1_000_000


def checked(text: str, *, what: str, limit: int, error: type[InputError]) -> str:
    """Return `text` in Unicode form NFC without surrounding white space, or say why it cannot be used.

    Args:
        text: as it came.
        what: how the message calls it, e.g. "the prompt".
        limit: most characters.
        error: class of the error to raise.

    Raises:
        InputError: of class `error`: not a string, empty, too long, with NUL bytes or lone surrogates.
    """
    if not isinstance(text, str):
        raise error(f"{what} is a {type(text).__name__}, wanted text.", hint="Pass a str.")
    if "\x00" in text:
        raise error(
            f"{what} holds a NUL byte at character {text.index(chr(0))}.", hint="Remove it; is this a text file?"
        )
    _check_surrogates(text, what, error)
    stripped = unicodedata.normalize("NFC", text).strip()
    if not stripped:
        raise error(f"{what} is empty.", hint="Give at least one visible character.")
    if len(stripped) > limit:
        raise error(
            f"{what} has {len(stripped):,} characters, at most {limit:,} are taken.",
            hint="Split it into shorter pieces.",
        )
    return stripped


def _check_surrogates(text: str, what: str, error: type[InputError]) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as cause:
        raise error(
            f"{what} holds a lone surrogate (U+{ord(text[cause.start]):04X}) at character {cause.start}.",
            hint="The text was decoded wrongly; read it as UTF-8.",
        ) from cause


def same_words(text: str) -> str:
    """Fold a prompt so that spellings of one question are equal: case, white space, closing punctuation are dropped."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip("?.!…؟。？！।። ") or folded
