"""The studio's bars, measured in a real browser over a real server with the default model.

    python benchmarks/studio_bars.py paint first-token sessions turns map --json benchmarks/results/DATE-studio.json

- paint: from navigation to the first picture and to a page that can be asked (target: 2 s).
- first-token: the first piece of an answer in the page against that of the API, asked in turn (target: 150 ms behind).
- sessions: seconds of an answer by the API with no page open and with 20 that were asked once (target: 10 % slower).
- turns: bytes of server and page over 500 turns of one conversation (target: no growth without end).
- map: 100,000 lessons whose keys are drawn at random around 200 topics: until the map is there, and to read one point.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import Browser, Page, sync_playwright

from everlearn import wiring
from everlearn.evaluation.machine import commit, machine, versions
from everlearn.memory.vectors import KeyVectors
from everlearn.records import Lesson
from everlearn.store.ids import new_id
from studio_acts import ask, chromium, served, tab

Process = subprocess.Popen[bytes]
WATCH_START = """() => {
  const look = () => {
    const field = document.querySelector('#chat-question textarea');
    if (field && field.offsetParent) { window.elReady = performance.now(); return; }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
WATCH_FIRST = """() => {
  window.elFirst = 0;
  const place = document.getElementById('chat-live');
  const look = () => {
    const shown = place.querySelector('.el-live p:not(.el-dim)');
    if (shown && shown.textContent.trim()) { window.elFirst = performance.now(); watch.disconnect(); }
  };
  const watch = new MutationObserver(look);
  watch.observe(place, { childList: true, subtree: true, characterData: true });
}"""
DRAWN = """(seen) => {
  const canvas = document.querySelector('#map-shown canvas');
  return canvas && canvas.dataset.ms && canvas.dataset.hues !== seen;
}"""
TOPICS = (
    "harbours",
    "bread",
    "glaciers",
    "violins",
    "bees",
    "canals",
    "comets",
    "tea",
    "bridges",
    "owls",
    "salt",
    "kites",
)
LESSONS, GROUPS = 100_000, 200


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: print(error, file=sys.stderr))
    page.set_default_timeout(60_000)
    page.goto(f"{address}/studio/")
    page.wait_for_selector("#chat-question textarea")
    return page


def paint(browser: Browser, address: str, _server: Process) -> dict[str, Any]:
    first, ready = [], []
    for _ in range(7):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.add_init_script(f"({WATCH_START})()")
        page.goto(f"{address}/studio/")
        page.wait_for_function("window.elReady > 0")
        first.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        ready.append(page.evaluate("window.elReady"))
        context.close()
    return {"first_contentful_paint_ms": spread(first), "can_be_asked_ms": spread(ready)}


def first_token(browser: Browser, address: str, _server: Process) -> dict[str, Any]:
    page = opened(browser, address)
    page.locator("#chat-sampling button").first.click()
    page.fill("#chat-most input[type=number]", "16")
    api, seen = [], []
    for n, topic in enumerate(TOPICS * 2):
        api.append(api_first(address, f"Number {n}: what do people say about {topic}?"))
        page.click("#chat-new")
        page.locator("#chat-log .el-empty").wait_for()
        page.fill("#chat-question textarea", f"Number {n}: what do others say about {topic}?")
        page.evaluate(WATCH_FIRST)
        page.evaluate("window.elBegun = performance.now()")
        page.locator("#chat-question textarea").press("Enter")
        page.wait_for_function("window.elFirst > 0")
        seen.append(page.evaluate("window.elFirst - window.elBegun"))
        page.locator("#chat-log [data-act=right]").wait_for()
    page.close()
    behind = [mine - theirs for mine, theirs in zip(seen, api, strict=True)]
    return {"api_ms": spread(api), "page_ms": spread(seen), "behind_ms": spread(behind)}


def api_first(address: str, question: str) -> float:
    body = {"model": "everlearn", "messages": [{"role": "user", "content": question}], "stream": True, "max_tokens": 16}
    begun = time.perf_counter()
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, trust_env=False, timeout=240) as response:
        found = 0.0
        for line in response.iter_lines():
            if not found and line.startswith("data: {"):
                deltas = [choice["delta"].get("content") for choice in json.loads(line[6:]).get("choices", ())]
                found = (time.perf_counter() - begun) * 1000 if any(deltas) else 0.0
    return found


def answers(address: str, first: int, count: int = 12) -> list[float]:
    """Seconds of whole answers of 16 tokens, one after another."""
    taken = []
    with httpx.Client(base_url=address, trust_env=False, timeout=240) as api:
        for n in range(first, first + count):
            text = f"Number {n}: what is known about {TOPICS[n % len(TOPICS)]}?"
            body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": 16}
            begun = time.perf_counter()
            api.post("/v1/chat/completions", json=body).raise_for_status()
            taken.append(time.perf_counter() - begun)
    return taken


def sessions(browser: Browser, address: str, _server: Process) -> dict[str, Any]:
    alone, beside, taken = [], [], 0
    for _ in range(3):
        alone += answers(address, taken)
        pages = [opened(browser, address) for _ in range(20)]
        for page in pages[:4]:
            ask(page, "What is the capital of France?")
        for page, name in zip(pages[4:], ("Knowledge", "Learn", "Compare", "Evaluate") * 4, strict=True):
            tab(page, name)
        time.sleep(3)
        beside += answers(address, taken + 500)
        for page in pages:
            page.close()
        time.sleep(2)
        taken += 12
    slower = statistics.median(beside) / statistics.median(alone) - 1
    return {"alone_s": spread(alone), "with_20_pages_s": spread(beside), "slower": slower}


def turns(browser: Browser, address: str, server: Process, count: int = 500) -> dict[str, Any]:
    page = opened(browser, address)
    page.locator("#chat-sampling button").first.click()
    page.fill("#chat-most input[type=number]", "8")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    rows = []
    for n in range(1, count + 1):
        page.fill("#chat-question textarea", f"Number {n}: say one word about {TOPICS[n % len(TOPICS)]}.")
        page.locator("#chat-question textarea").press("Enter")
        last = page.locator("#chat-log .el-turn").last
        last.get_by_text(f"Number {n}:").wait_for()
        last.locator("[data-act=right]").wait_for()
        if n % 25 == 0:
            devtools.send("HeapProfiler.collectGarbage")
            told = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
            rows.append(
                {"turn": n, "server_bytes": resident(server.pid), "page_bytes": told["JSHeapUsedSize"],
                 "nodes": told["Nodes"], "listeners": told["JSEventListeners"]}
            )  # fmt: skip
            print(rows[-1], file=sys.stderr)
    page.close()
    return {"turns": count, "rows": rows}


def map_(browser: Browser, address: str, server: Process) -> dict[str, Any]:
    api = []
    for _ in range(3):
        begun = time.perf_counter()
        told = httpx.get(f"{address}/v1/map", trust_env=False, timeout=600)
        api.append(time.perf_counter() - begun)
    page = opened(browser, address)
    tab(page, "Knowledge")
    tab(page, "Map")
    shown, drawn = [], []
    for n in range(6):
        page.locator(
            f"#map-by input[value={'table' if n % 2 else 'domain'}]"
        ).check()  # the same picture is not drawn anew
        seen = page.locator("#map-shown canvas").get_attribute("data-hues") if n else ""
        begun = time.perf_counter()
        page.click("#map-go")
        page.wait_for_function(DRAWN, arg=seen)
        shown.append(time.perf_counter() - begun)
        drawn.append(float(page.locator("#map-shown canvas").get_attribute("data-ms") or 0))
    nearer = []
    for _ in range(4):
        page.click("#map-shown [data-zoom='2']")
        nearer.append(float(page.locator("#map-shown canvas").get_attribute("data-ms") or 0))
    page.screenshot(path=str(Path(tempfile.gettempdir()) / "studio-map.png"))
    page.click("#map-shown [data-zoom='0.001']")
    read = read_points(page)
    page.close()
    return {
        "lessons": len(told.json()["ids"]), "response_bytes": len(told.content), "api_first_s": api[0],
        "api_again_s": min(api[1:]), "shown_s": spread(shown), "draw_ms": spread(drawn), "zoom_ms": spread(nearer),
        "read_a_point_ms": spread(read), "server_bytes": resident(server.pid),
    }  # fmt: skip


def read_points(page: Page) -> list[float]:
    """Milliseconds from resting the pointer over points until their lessons can be read."""
    box = page.locator("#map-shown canvas").bounding_box()
    assert box is not None
    read = []
    for share in np.linspace(0.2, 0.8, 12):
        before = page.locator("#map-read").inner_text()
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * (0.3 + 0.4 * share))
        begun = time.perf_counter()
        while page.locator("#map-read").inner_text() == before and time.perf_counter() - begun < 2:
            page.wait_for_timeout(5)
        read.append((time.perf_counter() - begun) * 1000)
    return read


def filled(state: Path) -> None:
    """A store of lessons whose key vectors are noise around topics: what is drawn is as much as of real ones."""
    engine, chance = wiring.load(state=state), np.random.default_rng(0)
    memory, now = engine.memory, datetime.now(UTC)
    middles = chance.normal(size=(GROUPS, memory.keys.width)).astype(np.float32)
    kept = KeyVectors(memory.keys, memory.derived)
    for first in range(0, LESSONS, 10_000):
        rows = range(first, first + 10_000)
        lessons = [
            Lesson(f"What is thing {n} of topic {n % GROUPS}?", f"It is {n}.", domain=f"topic {n % GROUPS % 12}",
                   id=new_id(), taught_at=now, status="active")
            for n in rows
        ]  # fmt: skip
        vectors = middles[[n % GROUPS for n in rows]] + 0.6 * chance.normal(size=(len(rows), memory.keys.width))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        memory.store.teach(lessons, {})
        kept.of(lessons, {lesson.id: vector for lesson, vector in zip(lessons, vectors, strict=True)})
    engine.close()


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def spread(values: list[float]) -> dict[str, float]:
    """Median, least, greatest."""
    return {n: round(f(values), 4) for n, f in (("median", statistics.median), ("least", min), ("most", max))}


BARS: dict[str, Callable[..., dict[str, Any]]] = {
    "paint": paint, "first-token": first_token, "sessions": sessions, "turns": turns, "map": map_,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="+", choices=list(BARS))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--toy", action="store_true", help="over the toy model of the tests: without what a model costs"
    )
    args = parser.parse_args()
    found = json.loads(args.json.read_text("utf-8")) if args.json.exists() else {}
    found |= {"machine": machine(), "versions": versions()}
    for name in args.bars:
        with tempfile.TemporaryDirectory(prefix="everlearn-bars-") as folder:
            if name == "map":
                filled(Path(folder))
            load = os.getloadavg()
            with served(folder, toy=args.toy) as (address, server), sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
                row = BARS[name](browser, address, server)
                browser.close()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        found[name] = {
            **row,
            "toy": args.toy,
            "at": at,
            "commit": commit(),
            "load_before": load,
            "load_after": os.getloadavg(),
        }
        print(name, json.dumps(found[name], indent=2))
        args.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
