"""Numbers that point at a person: cards, accounts, social security and national ids, phones.

A number counts where its check digits, its form and its length fit (python-stdnum, phonenumbers), so that few others
are taken for one: one random number of 16 digits in ten has the right check digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.us import ssn

from everlearn.safety.edges import NUMBER_END, NUMBER_START
from everlearn.safety.recogniser import Recogniser, by_pattern, longest, run_of

_NUMBER_END = re.compile(NUMBER_END)
_DIGIT = re.compile(rf"{NUMBER_START}(?<!\d[.,])(?=\d)")
_NUMBER_RUN = re.compile(r"[\d .\-]{1,48}")
_CARD = re.compile(
    r"(?:\d{13,19}|\d{4}([ .-]{1,2})\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ .-]{1,2})\d{6}\2\d{4,5}"
    r"|\d(?:([ -])\d)(?:\3\d){11,17})(?![\d])"
)
# Of Visa, Mastercard, American Express, Discover, Diners Club, JCB, UnionPay, Maestro.
_ISSUER = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[4-7]|30[0-5]|3[89]|6(?:011|4[4-9]|5|2|7)|50|5[6-8]"
)
_IBAN_START = re.compile(rf"{NUMBER_START}(?=[A-Za-z]{{2}}\d{{2}}|[A-Za-z]\Z|[A-Za-z]{{2}}\d?\Z)")
_IBAN_RUN = re.compile(r"[A-Za-z]{0,2}[\dA-Za-z \-]{0,44}")
_SSN = re.compile(rf"(?:\d{{3}}([ .-])\d{{2}}\1\d{{4}}|\d{{9}}){NUMBER_END}")
_SSN_NAMED = re.compile(rf"{NUMBER_START}(?:ssn|itin|social[\s_]+security){NUMBER_END}", re.IGNORECASE)
_SSN_NEAR = 40
_ID_START = re.compile(rf"{NUMBER_START}(?=[A-Za-z\d])")
_ID_RUN = re.compile(r"[A-Za-z\d](?:[A-Za-z\d]|[ .\-](?=\d|\Z|[ .\-]?[A-Za-z](?:[^A-Za-z\d]|\Z))){0,24}")
_IDS = (
    (re.compile(r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]"), codicefiscale.is_valid),
    (re.compile(r"\d{8}-?[A-Za-z]"), dni.is_valid),
    (re.compile(r"[XYZxyz]-?\d{7}-?[A-Za-z]"), nie.is_valid),
    (re.compile(r"[12] ?\d{2} ?\d{2} ?\d{2} ?\d{3} ?\d{3} ?\d{2}"), nir.is_valid),
    (re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), cpf.is_valid),
    (re.compile(r"\d{4} \d{4} \d{4}"), aadhaar.is_valid),
    # The British one has no check digit, but a form of its own.
    (re.compile(r"(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"), lambda _: True),
)
_PHONE_START = re.compile(rf"{NUMBER_START}(?<!\+)(?<!\d[.,])(?<![A-Za-z\d][-/])(?=[+(]?\d|[+(]\Z)")
_PHONE_RUN = re.compile(r"[\d ().\-/+]{1,32}(?:\s?(?:e(?:xt?\.?)?|x)\s?\d{0,6})?")
_PHONE_END = re.compile(r"(?<=\d)(?!\d)(?! ?(?:x|ext\.?) ?\d)")
_EXTENSION = re.compile(r"\s?(?:x|ext\.?)\s?\d{1,6}\Z")
_PHONE_NAMED = re.compile(
    rf"{NUMBER_START}(?:tel(?:efono?|ephone|efon)?|phone|mobile|cell|call(?:ed)?|fax|whatsapp|sms|text|dial|ring"
    rf"|number\s+is|contact|reach(?:ed)?){NUMBER_END}[^.\d]{{0,24}}\Z",
    re.IGNORECASE,
)
_INTERNATIONAL = re.compile(r"(?:\+|00(?=[1-9])|001(?=-)|011[ -])")
_REGIONS = ("US", "GB")  # of numbers without a country, where nothing near says that they are phone numbers
_NAMED_REGIONS = (*_REGIONS, "DE", "FR", "ES", "IT", "IN", "AU", "BR", "NL")
_NO_PHONE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(?!\d)|\d{3}([ -])\d{2}\1\d{4}\Z"
)
_GROUPED = re.compile(r"\(?\d{2,5}\)?[ .\-/]\d")


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return _ISSUER.match(digits) is not None and len(set(digits)) > 1 and luhn.is_valid(digits)


def _iban_ends(text: str, place: int, end: int) -> Iterator[int]:
    for at in range(end, place + 14, -1):
        if text[at - 1] not in " -" and _NUMBER_END.match(text, at):
            yield at


def _ssn(text: str, place: int, _end: int) -> int:
    found = _SSN.match(text, place)
    if found is None or not ssn.is_valid(re.sub(r"\D", "", found[0])):
        return 0
    plain = found[1] is None or found[1] == "."  # nine digits in a row are many things
    named = _SSN_NAMED.search(text[max(0, place - _SSN_NEAR) : place])
    return found.end() if named or not plain else 0


def _national_id(text: str, place: int, _end: int) -> int:
    for pattern, valid in _IDS:
        found = pattern.match(text, place)
        if found is not None and _NUMBER_END.match(text, found.end()) and valid(found[0]):
            return found.end()
    return 0


def _phone(text: str, place: int, end: int) -> int:
    named = _PHONE_NAMED.search(text[max(0, place - 40) : place]) is not None
    for found in reversed(list(_PHONE_END.finditer(text, place, end))):
        if found.start() > place and _is_phone(text[place : found.start()], named=named):
            return found.start()
    return 0


def _is_phone(text: str, *, named: bool) -> bool:
    number = _EXTENSION.sub("", text)
    if _NO_PHONE.match(number):
        return False  # a date, a social security number
    digits = re.sub(r"\D", "", number)
    if not 7 <= len(digits) <= 17 or number.count("(") != number.count(")"):
        return False
    if (sign := _INTERNATIONAL.match(number)) is not None:
        return _possible(f"+{re.sub(r'[^0-9]', '', number[sign.end() :])}" if sign[0] != "001" else f"+1{digits[3:]}")
    if not named and _GROUPED.match(number) is None:
        return False
    return any(_valid(number, region) for region in (_NAMED_REGIONS if named else _REGIONS))


def _possible(number: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _valid(number: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


NUMBERS = (
    Recogniser("credit_card", _DIGIT, run_of(_NUMBER_RUN), by_pattern(_CARD, _is_card), 0.95),
    Recogniser("iban", _IBAN_START, run_of(_IBAN_RUN), longest(_iban_ends, iban.is_valid)),
    Recogniser("us_ssn", _DIGIT, run_of(_NUMBER_RUN), _ssn, 0.9),
    Recogniser("national_id", _ID_START, run_of(_ID_RUN), _national_id, 0.9),
    Recogniser("phone_number", _PHONE_START, run_of(_PHONE_RUN), _phone, 0.8),
)
