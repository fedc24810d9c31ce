"""The demo's small measurement, through the public API: known, in other words too, nothing else changed, gone."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

from everlearn.evaluation.facts import FACTS, UNRELATED
from everlearn.studio.client import Api

TABLE = "studio-demo"
MOST_TOKENS = 32


async def measured(api: Api) -> AsyncGenerator[tuple[str, int, int, dict[str, Any]], None]:
    """Measure in a table of its own, which is deleted at the end, also when this is stopped.

    Yields:
        (what is done, done, of how many, results so far).

    Raises:
        ApiError: the key may not make tables, or the server refused.
    """
    steps, done = 4 * len(FACTS) + 2 * len(UNRELATED), 0
    results: dict[str, Any] = {"facts": len(FACTS), "unrelated": len(UNRELATED)}
    bare: list[str] = []
    for question in UNRELATED:
        bare.append(await _asked(api, question, ()))
        done += 1
        yield "asking the bare model", done, steps, results
    untaught: list[str] = []
    for fact in FACTS:
        untaught.append(await _asked(api, fact.prompt, None))
        done += 1
        yield "asking what is to be taught", done, steps, results
    await api.post("/v1/tables", {"name": TABLE})
    try:
        begun = time.perf_counter()
        lessons = [{"prompt": f.prompt, "answer": f.answer, "table": TABLE} for f in FACTS]
        await api.post("/v1/teach", {"lessons": lessons})
        results["teach_seconds"] = round(time.perf_counter() - begun, 3)
        for name, questions in (("taught", [f.prompt for f in FACTS]), ("in_other_words", [f.question for f in FACTS])):
            right = 0
            for fact, question in zip(FACTS, questions, strict=True):
                right += await _asked(api, question, (TABLE,)) == fact.answer
                done += 1
                results[name] = right / len(FACTS)
                yield f"asking: {name.replace('_', ' ')}", done, steps, results
        same = 0
        for question, before in zip(UNRELATED, bare, strict=True):
            same += await _asked(api, question, (TABLE,)) == before
            done += 1
            results["unrelated_unchanged"] = same / len(UNRELATED)
            yield "asking: unrelated", done, steps, results
    finally:
        await api.delete(f"/v1/tables/{TABLE}")
    same = 0
    for fact, was in zip(FACTS, untaught, strict=True):
        same += await _asked(api, fact.prompt, None) == was
        done += 1
        results["forgotten_as_before"] = same / len(FACTS)
        yield "asking after forgetting", done, steps, results


async def _asked(api: Api, question: str, tables: tuple[str, ...] | None) -> str:
    """The answer of the bare model (no tables), of these tables, or of all there are (None)."""
    learning: dict[str, Any] = {"mode": "off"} if tables == () else {"mode": "read"}
    learning |= {"tables": list(tables)} if tables else {}
    body = {"model": "base" if tables == () else "everlearn", "messages": [{"role": "user", "content": question}]}
    told = await api.post("/v1/chat/completions", {**body, "max_tokens": MOST_TOKENS, "learning": learning})
    return str(told["choices"][0]["message"]["content"]).strip()
