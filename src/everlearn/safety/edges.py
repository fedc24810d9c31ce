"""Where a word or a number begins and ends.

The usual edge of a word takes "_" and the letters of scripts without spaces for parts of it, so that it finds no number
in "card_4111..." and none between Chinese letters. These edges do.
"""

from __future__ import annotations

# Letters of scripts that set no spaces between words, or write what belongs to a number right behind it: Thai, Lao,
# Burmese, Khmer, Chinese, Japanese, Korean.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
LETTER = rf"[^\W_{SPACELESS}]"  # or digit: what holds a word together
WORD_START = rf"(?:(?<!{LETTER})|(?=[{SPACELESS}]))"
WORD_END = rf"(?:(?!{LETTER})|(?<=[{SPACELESS}]))"
NUMBER_START = r"(?<![A-Za-z\d])"
NUMBER_END = r"(?![A-Za-z\d])"
