"""What the safety room finds, how often it is wrong about harmless texts, and what it costs.

    python benchmarks/safety.py --data FOLDER_OF_ALL_SETS [--write]

With --write the figures go to benchmarks/results and, as tables, into docs/safety.md between its two marks. Models are
measured on halves and sets that they were not fitted to (`harm_data.py`); that of requests a second time, fitted to all
of AdvBench alone and asked about HarmBench.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fit_harm
import harm_data
import safety_pii
from everlearn import wiring
from everlearn.safety import harm, instructions
from everlearn.safety.flag import PII_KINDS
from everlearn.safety.harm import LinearModel
from everlearn.safety.held import HeldText, cleared
from everlearn.safety.hidden import seen
from everlearn.safety.screen import Screen
from safety_page import page

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "2026-11-25-safety.json"
PAGE = ROOT / "docs" / "safety.md"
BEGIN, END = "<!-- figures: begin (benchmarks/safety.py) -->", "<!-- figures: end -->"


def share(found: list[bool]) -> dict:
    return {"of": len(found), "found": round(float(np.mean(found)), 4) if found else None}


def judged(screen: Screen, name: str, texts: list[str]) -> list[bool]:
    return [bool(screen.flags(text, [name])) for text in texts]


def requests(screen: Screen, data: Path) -> dict:
    """The model of requests: what it finds of the half it was not fitted to, and of sets that it never saw."""
    held: dict[str, list[str]] = defaultdict(list)
    for name, text, half in harm_data.requests(data):
        if half == 1:
            held[name].append(text)
    xstest = harm_data.lines(data / "safety/xstest.jsonl")
    found = {f"{name}, other half": share(judged(screen, "illicit", texts)) for name, texts in held.items()}
    unsafe = [r["prompt"] for r in xstest if r["label"] == "unsafe"]
    found["XSTest unsafe (never fitted to)"] = share(judged(screen, "illicit", unsafe))
    return {"harmful": found, "harmless": harmless(screen, "illicit", data)}


def harmless(screen: Screen, name: str, data: Path) -> dict:
    xstest = harm_data.lines(data / "safety/xstest.jsonl")
    sets = {
        "XSTest safe (never fitted to)": [r["prompt"] for r in xstest if r["label"] == "safe"],
        "NotInject (never fitted to)": [r["prompt"] for r in harm_data.lines(data / "safety/notinject.jsonl")],
        "CodeAlpaca instructions (never fitted to)": [
            r["instruction"] for r in harm_data.lines(data / "domains/code/code_alpaca_2k.jsonl")
        ][:500],
        **{f"{n}, other half": texts[:300] for n, texts in harm_data.ordinary(data, 1).items()},
    }
    return {n: share(judged(screen, name, texts)) for n, texts in sets.items()}


def hate(screen: Screen, data: Path) -> dict:
    """The model of hate, by functionality of HateCheck: what is hateful, and what only looks like it."""
    kinds: dict[tuple[bool, str], list[bool]] = defaultdict(list)
    for kind, text, hateful in harm_data.hate(data, 1):
        kinds[hateful, kind].append(bool(screen.flags(text, ["hate"])))
    every = {bad: [x for (b, _), xs in kinds.items() if b is bad for x in xs] for bad in (True, False)}
    return {
        "hateful": share(every[True]),
        "not hateful, made to look like it": share(every[False]),
        "by kind": {kind: {"hateful": bad, **share(xs)} for (bad, kind), xs in sorted(kinds.items())},
        "harmless": harmless(screen, "hate", data),
    }


def transfer(embed: harm.Embed, data: Path) -> dict:
    """Fitted to AdvBench alone: what is found of other people's requests."""
    model = fit_harm.fitted(data, embed, only="AdvBench")["illicit"]
    sets: dict[str, list[str]] = defaultdict(list)
    for name, text, _ in harm_data.requests(data):
        sets[name].append(text)
    for row in harm_data.lines(data / "safety/xstest.jsonl"):
        sets[f"XSTest {row['label']}"].append(row["prompt"])
    return {
        name: share([bool(o >= model.threshold) for o in best(model, embed, texts)])
        for name, texts in sets.items()
        if name != "AdvBench"
    }


def best(model: LinearModel, embed: harm.Embed, texts: list[str]) -> list[float]:
    return [float(model.log_odds(embed([r for _, _, r in harm.readings(text)])).max()) for text in texts]


def injection(data: Path) -> dict:
    """The model of orders, as it is (`fit_instructions.py`), on the half it was not fitted to and on NotInject."""
    import fit_instructions

    model = instructions.packaged()
    halves, rows = fit_instructions.injections(data)[1], harm_data.lines(data / "safety/notinject.jsonl")
    xstest = harm_data.lines(data / "safety/xstest.jsonl")
    sets = {
        "injections, other half": [t for t, label in halves if label],
        "harmless of the same set, other half": [t for t, label in halves if not label],
        "NotInject (harmless, never fitted to)": [r["prompt"] for r in rows],
        "XSTest safe (harmless, never fitted to)": [r["prompt"] for r in xstest if r["label"] == "safe"],
    }
    return {name: share([model.log_odds(seen(t))[0] >= model.threshold for t in texts]) for name, texts in sets.items()}


def latency(screen: Screen, data: Path) -> dict:
    """Milliseconds of processor time for 1,000 characters of ordinary text: the median of 20 texts of 2,000."""
    text = (data / "text/wikitext2_valid.txt").read_text("utf-8")
    parts = [text[n * 2000 : n * 2000 + 2000] for n in range(20)]
    actions = dict.fromkeys(PII_KINDS, "redact")

    def stream(part: str) -> None:
        held = HeldText(actions)
        for n in range(0, len(part), 4):
            held.feed(part[n : n + 4])
        held.end()

    steps = {
        "personal data, whole text": lambda part: cleared(part, actions),
        "personal data, a stream of 4 characters a piece": stream,
        "orders and hidden text": lambda part: screen.flags(part, ["prompt_injection", "hidden_text"]),
        "hate and requests for harm": lambda part: screen.flags(part, ["hate", "illicit"]),
    }
    return {name: round(float(np.median([timed(step, part) for part in parts])) / 2, 3) for name, step in steps.items()}


def timed(step: Callable[[str], object], part: str) -> float:
    begun = time.process_time()
    step(part)
    return (time.process_time() - begun) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the result file and the tables of docs/safety.md")
    args = parser.parse_args()
    keys = wiring.load_parts(wiring.load_settings(threads=1)).keys
    screen = Screen(keys.vectors, keys.digest)
    assert screen.judges_harm, "measured with the packaged encoder"
    found = {
        "version": harm.packaged().version,
        "machine": f"{platform.machine()}, processor time of one thread on a shared machine",
        "command": "python benchmarks/safety.py --data FOLDER --write",
        "requests for harm": requests(screen, args.data),
        "requests for harm, fitted to AdvBench alone": transfer(keys.vectors, args.data),
        "hate": hate(screen, args.data),
        "orders to the model": injection(args.data),
        "personal data": safety_pii.measured(args.data),
        "milliseconds for 1,000 characters": latency(screen, args.data),
    }
    print(json.dumps(found, indent=1))
    if args.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{page(found)}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
