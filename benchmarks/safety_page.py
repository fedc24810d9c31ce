"""The figures of docs/safety.md, as tables."""

from __future__ import annotations


def page(found: dict) -> str:
    """All tables."""
    requests, hate = found["requests for harm"], found["hate"]
    parts = [
        f"Models of {found['version']}; `{found['command']}`.",
        "**Requests for harm** (`illicit`):",
        table({**requests["harmful"]}, "harmful texts", "found"),
        table(requests["harmless"], "harmless texts", "wrongly flagged"),
        "The same model fitted to AdvBench alone, asked about what other people wrote:",
        table(found["requests for harm, fitted to AdvBench alone"], "texts", "flagged"),
        "**Hate** (`hate`), HateCheck's other half, by template:",
        table({k: hate[k] for k in ("hateful", "not hateful, made to look like it")}, "texts", "flagged"),
        table(
            {f"{k} ({'hateful' if v['hateful'] else 'not hateful'})": v for k, v in hate["by kind"].items()},
            "kind",
            "flagged",
        ),
        table(hate["harmless"], "harmless texts", "wrongly flagged"),
        "**Orders to the model** (`prompt_injection`):",
        table(found["orders to the model"], "texts", "flagged"),
        "**Personal data**, 48 marked texts of presidio's research set: of the spans that are there how many are"
        " found, and of what is said to be one how much is right:",
        marked(found["personal data"]["marked texts"]),
        "Values made by Faker for six countries, in sentences:",
        values(found["personal data"]["values of Faker"]),
        "Said to be personal data in texts about nobody's own:",
        ordinary(found["personal data"]["ordinary texts"]),
        f"**Milliseconds for 1,000 characters** ({found['machine']}):",
        rows(["check", "ms"], [[k, str(v)] for k, v in found["milliseconds for 1,000 characters"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def rows(head: list[str], lines: list[list[str]]) -> str:
    told = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in told)


def table(sets: dict, what: str, verb: str) -> str:
    return rows([what, verb, "of"], [[name, share(v["found"]), str(v["of"])] for name, v in sets.items()])


def marked(kinds: dict) -> str:
    lines = [[k, f"{v['found']} of {v['spans']}", f"{v['right']} of {v['said']}"] for k, v in kinds.items()]
    return rows(["kind", "found", "right"], lines)


def values(kinds: dict) -> str:
    lines = [[k, share(v["found"]), share(v["whole"]), str(v["of"])] for k, v in kinds.items()]
    return rows(["kind", "found", "whole", "of"], lines)


def ordinary(texts: dict) -> str:
    lines = []
    for name, counts in texts.items():
        said = [f"{kind} {n}" for kind, n in counts.items() if kind != "characters"]
        lines.append([name, f"{counts['characters']:,}", ", ".join(said) or "nothing"])
    return rows(["text", "characters", "said to be"], lines)


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".removeprefix("0") if value < 1 else "1.00"
