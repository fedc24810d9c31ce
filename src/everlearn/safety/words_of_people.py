"""Personal data in words: addresses of mail and machines, keys and passwords, streets, dates of birth, names.

Names are found only where the text introduces them ("my name is", "Mrs."): telling names from other words takes a model
of a language, and none comes with everlearn.
"""

from __future__ import annotations

import ipaddress
import re

from everlearn.safety.edges import LETTER, NUMBER_END, NUMBER_START, SPACELESS, WORD_END
from everlearn.safety.recogniser import Recogniser, by_pattern, run_of

_EMAIL = re.compile(
    # Latin letters end where Chinese ones begin: an address is taken out, not the sentence around it.
    rf"(?=[\w.%+'-]{{1,64}}@)(?:(?:{LETTER}|[_.%+'-]){{1,64}}|[{SPACELESS}]{{1,64}})@(?:[\w-]{{1,63}}\.){{1,8}}"
    rf"(?:[A-Za-z]{{2,24}}|[^\W\d_]{{2,24}}){NUMBER_END}"
)
_EMAIL_START = re.compile(rf"(?:(?<![\w.%+'@-])|(?<=[{SPACELESS}])(?![{SPACELESS}]))(?=[\w.%+'-])")
_EMAIL_RUN = re.compile(r"[\w.%+'-]{1,64}(?:@[\w.-]{0,540})?")
_IP_START = re.compile(rf"{NUMBER_START}(?<![.:])(?=[\dA-Fa-f:])")
_IP_RUN = re.compile(r"[\dA-Fa-f:.]{1,64}")
_IP = re.compile(
    rf"(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|[\dA-Fa-f:]{{3,45}}(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}})?){NUMBER_END}(?!:|\.\d)"
)
_LONGEST_KEY = 8192
_KEYS = re.compile(
    rf"sk-[\w-]{{16,{_LONGEST_KEY}}}|AKIA[0-9A-Z]{{16}}|ASIA[0-9A-Z]{{16}}|gh[pousr]_[A-Za-z0-9]{{30,{_LONGEST_KEY}}}"
    rf"|github_pat_\w{{22,{_LONGEST_KEY}}}|xox[abposr]-[\w-]{{10,{_LONGEST_KEY}}}|AIza[\w-]{{35}}"
    rf"|glpat-[\w-]{{20,{_LONGEST_KEY}}}|hf_[A-Za-z0-9]{{20,{_LONGEST_KEY}}}"
    rf"|[sr]k_(?:live|test)_\w{{10,{_LONGEST_KEY}}}|eyJ[\w-]{{8,2048}}\.[\w-]{{8,4096}}\.[\w-]{{8,2048}}"
)
_KEY_START = re.compile(rf"{NUMBER_START}(?<!-)(?=[a-zA-Z])")
_KEY_RUN = re.compile(  # behind what keys begin with all of it; of other words as much as may become such a beginning
    r"(?:sk-|A[KS]IA|gh[pousr]_|github_pat_|xox[abposr]-|AIza|glpat-|hf_|[sr]k_(?:live|test)_|eyJ)"
    rf"[\w.-]{{0,{_LONGEST_KEY + 2}}}|[\w-]{{1,12}}"
)
_BLOCK_START = re.compile(
    r"(?<!-)(?=-----BEGIN |-{1,5}\Z|-----B(?:E(?:G(?:I(?:N)?)?)?)?\Z)"  # whole, or as far as a stream has got
)
_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s,:-]{0,8192}?-----END [A-Z ]{0,40}PRIVATE KEY-----"
    # Cut off: headers, words that are too long for a language, lines of one word.
    r"|(?:\s{1,4}[A-Z][A-Za-z]{2,8}-[A-Z][A-Za-z]{2,8}: [A-Za-z0-9,-]{1,80}){0,4}"
    r"(?:\s{0,4}[A-Za-z0-9+/=]{16,1024}|[ \t]{0,4}\n[ \t]{0,4}[A-Za-z0-9+/=]{2,1024}(?=\s{0,4}(?:\n|\Z))){1,160})"
)
_BLOCK_RUN = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s,:-]{0,8260}|-{1,5}(?:[A-Z ]{0,60}-{0,5})"
)
_PASSWORD_CUE = re.compile(
    rf"(?<!{LETTER})(?=(?P<cue>(?:password|passphrase|passwort|pwd|pin(?: code)?|api[ _-]?key|secret(?:[ _]?key)?"
    r"|access[ _-]?token)(?:\s(?:is|ist)\s|[\"'`]?\s?[:=]\s?)[\"'`]?))",
    re.IGNORECASE,
)
_PASSWORD_RUN = re.compile(r"\S{1,128}")
_PASSWORD = re.compile(r"(?=[^\s\"'`,;]{0,126}(?:\d|[^\w\s.!?,;:\"'`)]))[^\s\"'`,;]{4,128}")
_STREET_START = re.compile(rf"{NUMBER_START}(?<![.,])(?=\d)")
_STREET_RUN = re.compile(
    r"\d{1,5}[A-Za-z]?(?:[ ,]{1,2}\d{0,5})?,? ?(?:[NSEWnsew]\.? ?)?(?:[\w'’-]{1,32} ?){0,5}\.? ?\d{0,4}"
)
_STREET = re.compile(
    r"\d{1,5}[A-Za-z]?(?:[ ,]{1,2}\d{1,5})?,? (?:[NSEW]\.? )?(?:[\w'’-]{1,24} ){0,3}?"
    rf"(?:[\w'’-]{{2,24}}(?:gata|vej|straat|laan|straße|strasse|gatan){WORD_END}|[\w'’-]{{1,24}} "
    r"(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|way|parkway"
    rf"|pkwy|crescent|close|highway|hwy|circle|trail|alley|utca|útja){WORD_END}\.?)"
    rf"(?: \d{{1,4}}{NUMBER_END}(?!\s?[%$€]))?{WORD_END}",
    re.IGNORECASE,
)
_BIRTH_CUE = re.compile(
    rf"(?<!{LETTER})(?=(?P<cue>(?:born(?: on)?|birth[ _]?(?:day|date)(?: is)?|date[ _]of[ _]birth(?: is)?|dob"
    r"|d\.o\.b\.)[\"'`]?\s?[:=]?\s?[\"'`]?))",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = re.compile(
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}){NUMBER_END}",
    re.IGNORECASE,
)
_DATE_RUN = re.compile(r"[\w .,/\-]{1,24}")
_NAME_CUE = re.compile(
    rf"(?<!{LETTER})(?=(?P<cue>(?i:(?:my|his|her|their|your|the|full|first|last|'s|partner's|husband's|wife's)"
    r"\s(?:\w{1,10}\s)?name(?:\sis|'s)?|name\s?[:?]|(?:mr|mrs|ms|dr|prof|mme|herr|frau)"
    rf"{WORD_END}\.?|i\sam\scalled|signed|sincerely,|regards,)\s{{1,8}}))"
)
_NAME = re.compile(r"[^\W\d_][\w'’-]{1,24}(?: [^\W\d_]\.| [^\W\d_][\w'’-]{1,24}){0,3}")
_NAME_RUN = re.compile(r"[\w'’-]{1,25}(?:[ .]{1,2}[\w'’-]{0,25}){0,3}\.?")
_NO_NAMES = frozenset("i the a an is was not it he she they we you my his her mr mrs ms dr and or but in on at".split())  # noqa: SIM905


def _is_ip(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return found.version == 4 or text.count(":") >= 3 or text.startswith("fe80")


def _block(text: str, place: int, end: int) -> int:
    found = _BLOCK.match(text, place, end)  # a key that was cut off ends with the run at the latest
    return found.end() if found is not None else 0


def _name(text: str, place: int, _end: int) -> int:
    """The end of the capitalised words at a place: of a name at most four."""
    found = _NAME.match(text, place)
    if found is None:
        return 0
    end = 0
    for word in re.finditer(r"[^ ]+", found[0]):
        plain = word[0].casefold() if len(word[0]) < 3 else word[0].strip(".").casefold()
        if not word[0][0].isupper() or plain in _NO_NAMES:
            break
        end = place + word.end()
    return end


WORDS = (
    Recogniser("email_address", _EMAIL_START, run_of(_EMAIL_RUN), by_pattern(_EMAIL)),
    Recogniser("ip_address", _IP_START, run_of(_IP_RUN), by_pattern(_IP, _is_ip)),
    Recogniser("secret", _KEY_START, run_of(_KEY_RUN), by_pattern(_KEYS)),
    Recogniser("secret", _BLOCK_START, run_of(_BLOCK_RUN), _block),
    Recogniser("secret", _PASSWORD_CUE, run_of(_PASSWORD_RUN), by_pattern(_PASSWORD), 0.8),
    Recogniser("street_address", _STREET_START, run_of(_STREET_RUN), by_pattern(_STREET), 0.7),
    Recogniser("date_of_birth", _BIRTH_CUE, run_of(_DATE_RUN), by_pattern(_DATE), 0.9),
    Recogniser("person", _NAME_CUE, run_of(_NAME_RUN), _name, 0.7),
)
