"""Personal data in words: addresses of mail and machines, keys and passwords, streets, dates of birth, names.

Names are found only where the text introduces them ("my name is", "Mrs."): telling names from other words takes a model
of a language, and none comes with everlearn.
"""

from __future__ import annotations

import ipaddress
import re

from everlearn.safety.recogniser import Recogniser, by_pattern, run_of

_EMAIL = re.compile(r"[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_EMAIL_START = re.compile(r"(?<![\w.%+'@-])(?=[\w.%+'-])")
_EMAIL_RUN = re.compile(r"[\w.%+'-]{1,64}(?:@[\w.-]{0,256})?")
_IP_START = re.compile(r"(?<![\w.:])(?=[\dA-Fa-f:])")
_IP_RUN = re.compile(r"[\dA-Fa-f:.]{1,45}")
_IP = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[\dA-Fa-f:]{3,45}(?:\d{1,3}(?:\.\d{1,3}){3})?)(?![\w:])(?!\.\d)")
_KEYS = re.compile(
    r"sk-[\w-]{16,256}|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255}"
    r"|xox[abposr]-[\w-]{10,255}|AIza[\w-]{35}|glpat-[\w-]{20,255}|hf_[A-Za-z0-9]{20,255}|[sr]k_(?:live|test)_\w{10,255}"
    r"|eyJ[\w-]{8,2048}\.[\w-]{8,2048}\.[\w-]{8,1024}"
)
_KEY_START = re.compile(r"(?<![\w-])(?=[a-zA-Z])")
_KEY_RUN = re.compile(r"[\w.-]{1,5130}")
_BLOCK_START = re.compile(
    r"(?<!-)(?=-----BEGIN |-{1,5}\Z|-----B(?:E(?:G(?:I(?:N)?)?)?)?\Z)"  # whole, or as far as a stream has got
)
_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s,:-]{0,8192}?-----END [A-Z ]{0,40}PRIVATE KEY-----"
)
_BLOCK_RUN = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s,:-]{0,8260}|-{1,5}(?:[A-Z ]{0,60}-{0,5})"
)
_PASSWORD_CUE = re.compile(
    r"(?<!\w)(?=(?P<cue>(?:password|passphrase|passwort|pwd|pin(?: code)?|api[ _-]?key|secret(?: key)?"
    r"|access[ _-]?token)(?:\s(?:is|ist)\s|\s?[:=]\s?)[\"'`]?))",
    re.IGNORECASE,
)
_PASSWORD_RUN = re.compile(r"\S{1,128}")
_PASSWORD = re.compile(r"(?=[^\s\"'`,;]{0,126}(?:\d|[^\w\s.!?,;:\"'`)]))[^\s\"'`,;]{4,128}")
_STREET_START = re.compile(r"(?<![\w.,])(?=\d)")
_STREET_RUN = re.compile(r"\d{1,5}[A-Za-z]?(?:[ ,.\-/]{1,2}[\w'’]{1,24}){0,6}[ ,.]{0,2}")
_STREET = re.compile(
    r"\d{1,5}[A-Za-z]?(?:[ ,]{1,2}\d{1,5})?,? (?:[NSEW]\.? )?(?:[\w'’-]{1,24} ){0,3}?"
    r"(?:[\w'’-]{2,24}(?:gata|vej|straat|laan|straße|strasse|gatan)\b|[\w'’-]{1,24} "
    r"(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|way|parkway"
    r"|pkwy|crescent|close|highway|hwy|circle|trail|alley|utca|útja)\b\.?)"
    r"(?: \d{1,4}\b(?!\s?[%$€]))?(?!\w)",
    re.IGNORECASE,
)
_BIRTH_CUE = re.compile(
    r"(?<!\w)(?=(?P<cue>(?:born(?: on)?|birth(?:day|date)(?: is)?|date of birth(?: is)?|dob|d\.o\.b\.)\s?[:=]?\s?))",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = re.compile(
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})(?!\w)",
    re.IGNORECASE,
)
_DATE_RUN = re.compile(r"[\w .,/\-]{1,24}")
_NAME_CUE = re.compile(
    r"(?<!\w)(?=(?P<cue>(?i:(?:my|his|her|their|your|the|full|first|last|'s|partner's|husband's|wife's)\s(?:\w{1,10}\s)?"
    r"name(?:\sis|'s)?|name\s?[:?]|(?:mr|mrs|ms|dr|prof|mme|herr|frau)\b\.?|i\sam\scalled|signed|sincerely,|regards,)\s+))"
)
_NAME = re.compile(r"[^\W\d_][\w'’-]{1,24}(?: [^\W\d_]\.| [^\W\d_][\w'’-]{1,24}){0,3}")
_NAME_RUN = re.compile(r"[\w'’-]{1,25}(?:[ .]{1,2}[\w'’-]{0,25}){0,3}")
_NO_NAMES = frozenset("i the a an is was not it he she they we you my his her mr mrs ms dr and or but in on at".split())  # noqa: SIM905


def _is_ip(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return found.version == 4 or text.count(":") >= 3 or text.startswith("fe80")


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
    Recogniser("secret", _BLOCK_START, run_of(_BLOCK_RUN), by_pattern(_BLOCK)),
    Recogniser("secret", _PASSWORD_CUE, run_of(_PASSWORD_RUN), by_pattern(_PASSWORD), 0.8),
    Recogniser("street_address", _STREET_START, run_of(_STREET_RUN), by_pattern(_STREET), 0.7),
    Recogniser("date_of_birth", _BIRTH_CUE, run_of(_DATE_RUN), by_pattern(_DATE), 0.9),
    Recogniser("person", _NAME_CUE, run_of(_NAME_RUN), _name, 0.7),
)
