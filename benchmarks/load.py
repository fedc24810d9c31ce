"""Loads a server from another process: its own time, four times its capacity, teaching and sleeping beside it.

    python benchmarks/load.py [--toy] [--runs 3] [--seconds 30] [--json benchmarks/results/DATE-load.json]

Open loop: requests leave at times drawn in advance (Poisson), whether earlier ones have been answered or not, so a slow
server is not asked less. A client that is late itself is counted (`late_ms`): it shares the machine with the server.
All requests of a phase are begun by one thread and one event loop; the connections are kept open between them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from everlearn.evaluation.machine import commit, machine, versions

WEIGHTS = Path.home() / ".everlearn"
TOKENS = 16
PLACES = ("Lisbon", "Oslo", "Cairo", "Quito", "Hanoi", "Perth", "Turin", "Accra", "Davao", "Leeds", "Minsk", "Sucre")
WHAT = ("a harbour", "a bridge", "the weather", "an old street", "a museum", "the trams", "a market", "one park")


@dataclass
class Asked:
    """One request: when it should have left, when it did, when its answer was there, and what the server said."""

    due: float
    left: float
    ended: float
    status: int
    engine_ms: float = 0.0
    retry_after: str = ""

    @property
    def ms(self) -> float:
        """From when it was due until its answer was there."""
        return (self.ended - self.due) * 1000


def main() -> None:
    args = _arguments()
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "commit": commit()}
    result |= {"toy": args.toy, "tokens": TOKENS, "seconds": args.seconds, "load_average": os.getloadavg(), "runs": []}
    with served(args) as url:
        asyncio.run(closed_loop(url, 4, 5.0))  # the first answers make what later ones find made
        for number in range(args.runs):
            result["runs"].append(asyncio.run(run(url, args.seconds, number, sleep=not args.toy)))
            print(json.dumps(result["runs"][-1]), flush=True)
    result["load_average_after"] = os.getloadavg()
    result["medians"] = _medians(result["runs"])
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


async def run(url: str, seconds: float, seed: int, *, sleep: bool) -> dict[str, Any]:
    """All phases once."""
    peak = await closed_loop(url, 16, seconds)
    calm = await open_loop(url, 0.3 * peak["goodput"], seconds, f"{seed}/calm")
    flood = await open_loop(url, 4 * peak["goodput"], seconds, f"{seed}/flood")
    await until_idle(url)
    half = 0.5 * peak["goodput"]
    alone = await open_loop(url, half, seconds, f"{seed}/half")
    await until_idle(url)
    taught = await beside(teach, url, half, seconds, f"{seed}/half")
    found = {"peak": peak, "calm": calm, "flood": flood, "alone": alone, "taught": taught}
    if sleep:
        await until_idle(url)
        found["slept"] = await beside(sleep_on, url, half, seconds, f"{seed}/half")
    goodput = flood["goodput"] / peak["goodput"]
    found["figures"] = {
        "added_ms_p50": calm["added_ms"]["p50"],
        "added_ms_p99": calm["added_ms"]["p99"],
        "goodput_at_4x": round(goodput, 3),
        "teaching_p99": round(taught["ms"]["p99"] / alone["ms"]["p99"], 3),
        **({"sleeping_p99": round(found["slept"]["ms"]["p99"] / alone["ms"]["p99"], 3)} if sleep else {}),
    }
    return found


async def closed_loop(url: str, callers: int, seconds: float) -> dict[str, Any]:
    """So many callers that each ask again as soon as they are answered: the capacity."""
    asked: list[Asked] = []
    begun = time.perf_counter()

    async def caller(client: httpx.AsyncClient, drawn: random.Random) -> None:
        while time.perf_counter() - begun < seconds:
            asked.append(await ask(client, time.perf_counter(), drawn))

    async with _client(url) as client:
        await asyncio.gather(*(caller(client, random.Random(n)) for n in range(callers)))
    return {"callers": callers, **summary(asked, time.perf_counter() - begun)}


async def open_loop(url: str, rate: float, seconds: float, seed: str) -> dict[str, Any]:
    """So many requests a second, at times drawn in advance."""
    drawn, due, tasks = random.Random(seed), 0.0, list[asyncio.Task[Asked]]()
    begun = time.perf_counter()
    async with _client(url) as client:
        while (due := due + drawn.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, begun + due, random.Random(drawn.random()))))
        within = time.perf_counter() - begun
        asked = await asyncio.gather(*tasks)
    good = [each for each in asked if each.ended - begun <= within]  # what was answered while requests came
    return {"rate": round(rate, 3), **summary(asked, within, good)}


async def beside(
    work: Callable[[httpx.AsyncClient], Awaitable[int]], url: str, rate: float, seconds: float, seed: str
) -> dict[str, Any]:
    """The open loop while something else goes on; the same requests at the same times as without it."""
    async with _client(url) as client:
        going = asyncio.ensure_future(work(client))
        try:
            found = await open_loop(url, rate, seconds, seed)
        finally:
            going.cancel()
            done = await asyncio.gather(going, return_exceptions=True)
    ended = next((each for each in done if isinstance(each, Exception)), None)
    if ended is not None:
        raise ended
    return found


async def teach(client: httpx.AsyncClient) -> int:
    """Teach a lesson a second until cancelled."""
    for number in range(10**9):
        lesson = {"prompt": f"What is the number of locker {random.random()}?", "answer": f"It is {number}."}
        (await client.post("/v1/lessons", json=lesson)).raise_for_status()
        await asyncio.sleep(1.0)
    return 0


async def sleep_on(client: httpx.AsyncClient) -> int:
    """Teach a few lessons of a domain and let the model sleep on them, again and again, until cancelled."""
    domain = f"load-{random.randrange(10**9)}"
    lessons = [
        {"prompt": f"Where is the {n}th depot of Zorb?", "answer": f"In {p}", "domain": domain}
        for n, p in enumerate(PLACES)
    ]
    (await client.post("/v1/teach", json={"lessons": lessons})).raise_for_status()
    job = (
        (await client.post("/v1/sleep", json={"domain": domain, "epochs": 6, "general": 64})).raise_for_status().json()
    )
    try:
        while True:
            told = (await client.get(f"/v1/jobs/{job['id']}")).raise_for_status().json()
            if told["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"the sleep has {told['status']}: {told.get('error')}")
            await asyncio.sleep(1.0)
    finally:
        await client.post(f"/v1/jobs/{job['id']}/cancel")


async def until_idle(url: str) -> None:
    """Wait until nothing runs or waits any more: the phases must not overlap."""
    async with _client(url) as client:
        while True:
            told = (await client.get("/metrics")).text
            busy = re.findall(r"^everlearn_num_requests_(?:running|waiting) (\S+)", told, re.MULTILINE)
            if not any(float(each) for each in busy):
                return
            await asyncio.sleep(0.2)


async def ask(client: httpx.AsyncClient, due: float, drawn: random.Random) -> Asked:
    """One question, its answer's length fixed by forbidding nothing but capping it: short, as chats are."""
    text = f"Say a few words about {drawn.choice(WHAT)} in {drawn.choice(PLACES)}, case {drawn.randrange(10**6)}."
    body = {"model": "everlearn", "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
    left = time.perf_counter()
    try:
        response = await client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as cause:
        return Asked(due, left, time.perf_counter(), 0, retry_after=type(cause).__name__)
    ended = time.perf_counter()
    asked = Asked(due, left, ended, response.status_code, retry_after=response.headers.get("retry-after", ""))
    if response.status_code == 200:
        asked.engine_ms = response.json()["learning"]["timings"]["total_ms"]
    return asked


def summary(asked: Sequence[Asked], seconds: float, good: Sequence[Asked] | None = None) -> dict[str, Any]:
    """What became of requests; goodput is answers (200) a second."""
    answered = [each for each in asked if each.status == 200]
    in_time = [each for each in (asked if good is None else good) if each.status == 200]
    statuses = {str(status): sum(each.status == status for each in asked) for status in {e.status for e in asked}}
    refused = [each for each in asked if each.status == 429]
    return {
        "asked": len(asked),
        "statuses": statuses,
        "goodput": round(len(in_time) / seconds, 3),
        "ms": _spread([each.ms for each in answered]),
        "engine_ms": _spread([each.engine_ms for each in answered]),
        "added_ms": _spread([(each.ended - each.left) * 1000 - each.engine_ms for each in answered]),
        "late_ms": _spread([(each.left - each.due) * 1000 for each in asked]),
        "refusal_ms": _spread([(each.ended - each.left) * 1000 for each in refused]),
        "without_retry_after": sum(not each.retry_after for each in refused),
    }


@contextmanager
def served(args: argparse.Namespace) -> Iterator[str]:
    """A server of its own over a new state folder, with its own processor time."""
    with tempfile.TemporaryDirectory() as folder:
        port = str(args.port)
        if args.toy:
            words = [sys.executable, str(Path(__file__).parent / "toy_server.py"), port, folder]
            environment = dict(os.environ)
        else:
            (Path(folder) / "models").symlink_to(WEIGHTS / "models", target_is_directory=True)
            run = "from everlearn.cli.main import run; run()"
            words = [sys.executable, "-c", run, "serve", "--port", port]
            environment = {**os.environ, "EVERLEARN_HOME": folder}
        environment |= {"OMP_NUM_THREADS": str(args.threads), "EVERLEARN_THREADS": str(args.threads)}
        with Path(folder, "server.log").open("w") as log:
            server = subprocess.Popen(words, env=environment, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    httpx.get(f"{url}/ready", timeout=30, trust_env=False).raise_for_status()
                    break
                except httpx.HTTPError:
                    if server.poll() is not None:
                        raise SystemExit(Path(folder, "server.log").read_text()) from None
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait(60)


def _client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    return httpx.AsyncClient(base_url=url, timeout=600, limits=limits, trust_env=False)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "most": round(ordered[-1], 2)}


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: round(statistics.median(each["figures"][name] for each in runs), 3) for name in runs[0]["figures"]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--toy", action="store_true", help="the toy model of the tests: only the server's own time counts"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--threads", type=int, default=1, help="of the server's engine")
    parser.add_argument("--port", type=int, default=8377)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
