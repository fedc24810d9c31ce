"""Text that a person does not see but a model reads: invisible characters, comments, markers of roles, encoded text.

What people write in good faith stays: joiners of Hindi, Persian and emoji, marks of right-to-left text, soft hyphens,
a space of no width where a web page was copied.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from everlearn.safety.finding import Finding

_TAGS = re.compile("[\U000e0020-\U000e007f]+")
_FLAG = "\U0001f3f4"  # flags of regions are spelled with tags behind it
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
_OVERRIDES = re.compile("[\u202d\u202e]")
_NO_WIDTH = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u180e"
_NO_WIDTH_RUN = re.compile(f"[{_NO_WIDTH}]{{8,}}")
_SPLIT_WORD = re.compile(f"(?<=[A-Za-z])[{_NO_WIDTH}]+(?=[A-Za-z])")
_MOST_SPLIT_WORDS = 2
_MARKER = re.compile(
    r"<\|[a-z_]{2,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?(?:bos|eos)>|<s>\s*(?=\[)|\[(?:system|assistant)\]\(#",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.DOTALL)
_UNSEEN_ELEMENT = re.compile(  # bounded, so that a text of nothing but "<a" takes no minutes
    r"<(\w{1,40})[^>]{0,2000}style\s{0,40}=\s{0,40}[\"'][^\"']{0,2000}"
    r"(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d]))[^>]{0,2000}>(.*?)</\1>",
    re.DOTALL | re.IGNORECASE,
)
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}={0,2}")
_LEAST_ENCODED_WORDS = 4
_PLAIN_TEXT = re.compile(r"[\w\s.,;:!?'\"()-]+")


def hidden_characters(text: str) -> list[Finding]:
    """Characters that hide text or turn it around."""
    if text.isascii():
        return []
    found = []
    if any(not text[: run.start()].endswith(_FLAG) for run in _TAGS.finditer(text)):
        found.append(Finding("hidden", "It holds invisible tag characters, which can spell out a text."))
    if _SELECTORS.search(text):
        found.append(Finding("hidden", "It holds a run of variation selectors, which can spell out a text."))
    if _OVERRIDES.search(text):
        found.append(Finding("hidden", "It holds an override of the writing direction: it is not read as it looks."))
    if _NO_WIDTH_RUN.search(text) or len(_SPLIT_WORD.findall(text)) > _MOST_SPLIT_WORDS:
        found.append(Finding("hidden", "It holds characters without width inside words or in a long run."))
    return found


def markers(text: str) -> list[Finding]:
    """Markers by which chat templates tell the roles from each other."""
    marker = _MARKER.search(text)
    return [Finding("hidden", f"It holds {marker[0]!r}, a marker of a chat template.")] if marker else []


def unseen_parts(text: str) -> list[str]:
    """What a reader of the rendered text does not see: comments, invisible elements, encoded text in plain words."""
    parts = [match[1] for match in _COMMENT.finditer(text)]
    parts += [match[2] for match in _UNSEEN_ELEMENT.finditer(text)]
    parts += [plain for match in _ENCODED.finditer(text) if (plain := _decoded(match[0]))]
    if not text.isascii():
        parts += ["".join(chr(ord(c) - 0xE0000) for c in run[0]) for run in _TAGS.finditer(text)]
    return parts


def seen(text: str) -> str:
    """The text without characters that have no width, in its compatible spelling: as a reader takes it in."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", "".join(c for c in text if c not in _NO_WIDTH))


def _decoded(blob: str) -> str:
    """The words that a base64 text spells, or nothing where it spells none."""
    body = blob.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        plain = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""  # no base64 of a text: an ordinary long word, a key, a digest
    is_text = _PLAIN_TEXT.fullmatch(plain) is not None and len(plain.split()) >= _LEAST_ENCODED_WORDS
    return plain if is_text else ""
