"""Personal data measured: spans found and rightly found by kind, on marked texts and on values of Faker in sentences.

A span counts as found where something of its kind overlaps it; as whole where nothing of it would be left to read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faker import Faker

from everlearn.safety.flag import PII_KINDS
from everlearn.safety.pii import found_in

MARKED = {
    "CREDIT_CARD": "credit_card",
    "PHONE_NUMBER": "phone_number",
    "EMAIL_ADDRESS": "email_address",
    "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip_address",
    "PERSON": "person",
    "ADDRESS": "street_address",
}
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT")
EACH = 60
# Written before the recognisers were tried on them, and not changed since.
SENTENCES = (
    "Please note {} for my file.",
    "It used to be {}, but I have moved since.",
    "- {}\n- that is all I have",
    "Can you check whether {} is still right?",
    "{}",
)
CUES = {
    "phone_number": ("You can call me on {} after six.", "My phone number is {}.", "{} is my mobile", "tel: {}"),
    "person": ("My name is {}.", "Hello, I am {} from Leeds.", "Ask {} about it.", "Name: {}"),
    "date_of_birth": ("I was born on {}.", "date of birth: {}", "DOB {}"),
    "secret": ("My password is {}", "use the key {} for it", "api_key={}"),
}


def values() -> dict[str, list[str]]:
    """Values of each kind, the same in every run."""
    found: dict[str, list[str]] = {kind: [] for kind in PII_KINDS}
    for n, locale in enumerate(LOCALES):
        fake = Faker(locale)
        fake.seed_instance(n)
        makers: dict[str, Callable[[], str]] = {
            "email_address": fake.email,
            "phone_number": fake.phone_number,
            "credit_card": fake.credit_card_number,
            "iban": fake.iban,
            "ip_address": fake.ipv4,
            "person": fake.name,
            "date_of_birth": lambda fake=fake: fake.date_of_birth().strftime("%d/%m/%Y"),
            "street_address": fake.street_address,
            "secret": lambda fake=fake: fake.password(14),
        }
        if locale == "en_US":
            makers["us_ssn"] = fake.ssn
        if locale in ("it_IT", "es_ES", "fr_FR"):
            makers["national_id"] = fake.ssn if locale != "es_ES" else fake.nif
        for kind, make in makers.items():
            found[kind] += [
                str(make()) for _ in range(EACH // 6 if kind not in ("us_ssn", "national_id") else EACH // 3)
            ]
    return found


def on_values() -> dict:
    """Recall by kind: of a kind's values in its sentences, how many are found, and how many whole."""
    told = {}
    for kind, some in values().items():
        found = whole = 0
        for n, value in enumerate(some):
            frames = CUES.get(kind, SENTENCES)
            frame = frames[n % len(frames)]
            text, begin = frame.format(value), frame.index("{")
            flags = [f for f in found_in(text) if f.start < begin + len(value) and begin < f.end]
            found += any(f.category == kind for f in flags)
            covered = {place for f in flags for place in range(f.start, f.end)}
            whole += {p for p in range(begin, begin + len(value)) if text[p].isalnum()} <= covered
        told[kind] = {"of": len(some), "found": round(found / len(some), 3), "whole": round(whole / len(some), 3)}
    return told


def on_marked(data: Path) -> dict:
    """Recall and precision by kind on the marked texts."""
    wanted, found, said, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for line in (data / "safety/pii.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        flags = found_in(row["full_text"])
        spans = [
            (kind, s["start_position"], s["end_position"])
            for s in row["spans"]
            if (kind := MARKED.get(s["entity_type"])) is not None
        ]
        for kind, start, end in spans:
            wanted[kind] += 1
            found[kind] += any(f.category == kind and f.start < end and start < f.end for f in flags)
        for flag in flags:
            said[flag.category] += 1
            right[flag.category] += any(k == flag.category and s < flag.end and flag.start < e for k, s, e in spans)
    return {
        kind: {"spans": wanted[kind], "found": found[kind], "said": said[kind], "right": right[kind]}
        for kind in sorted(wanted | said)
    }


def on_ordinary(data: Path) -> dict:
    """What is said to be personal data in texts that are about nobody's own: by kind, in how many characters."""
    squad = "\n".join(
        json.loads(r)["context"] for r in (data / "knowledge/squad_passages.jsonl").open(encoding="utf-8")
    )
    school = "\n".join(
        json.loads(r)["question"] for r in (data / "domains/math/gsm8k_train.jsonl").open(encoding="utf-8")
    )
    code = "\n".join(
        json.loads(r)["canonical_solution"] for r in (data / "domains/code/humaneval.jsonl").open(encoding="utf-8")
    )
    texts = {"encyclopedia (SQuAD)": squad, "problems of school (GSM8K)": school[:200_000], "code (HumanEval)": code}
    return {
        name: {"characters": len(text), **Counter(f.category for f in found_in(text))} for name, text in texts.items()
    }


def measured(data: Path) -> dict:
    return {"marked texts": on_marked(data), "values of Faker": on_values(), "ordinary texts": on_ordinary(data)}


if __name__ == "__main__":
    import sys

    print(json.dumps(measured(Path(sys.argv[1])), indent=1))
