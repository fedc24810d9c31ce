"""Kills a server with SIGKILL while it is taught and made to forget, and looks whether anything acknowledged was lost.

    python benchmarks/server_kill_loop.py ROUNDS STATE_FOLDER [PORT] [toy]

With `toy` the model is that of the tests: the same server and stores, up in a fraction of the time, so more rounds.
What was being done when it was killed was not acknowledged, and may have happened or not.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

RUN = "from everlearn.cli.main import run; run()"


def started(folder: str, port: str, *, toy: bool) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", RUN, "serve", "--port", port]
    if toy:
        words = [sys.executable, str(Path(__file__).parent / "toy_server.py"), port, folder]
    server = subprocess.Popen(words, env={**os.environ, "EVERLEARN_STATE": folder}, stderr=subprocess.DEVNULL)
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/ready", timeout=30).raise_for_status()
            return server
        except httpx.HTTPError:
            if server.poll() is not None:
                raise SystemExit("The server does not start.") from None
            time.sleep(0.1)


def work(client: httpx.Client, taught: set[str], asked_to_forget: set[str], forgotten: set[str]) -> None:
    """Teach and forget until the server is gone."""
    number = len(taught)
    while True:
        number += 1
        lesson = {"prompt": f"What is the code of shelf {random.random()}?", "answer": f"A{number}"}
        taught.add(client.post("/v1/lessons", json=lesson).json()["id"])
        if number % 5 == 0:
            lesson_id = random.choice(sorted(taught - asked_to_forget))
            asked_to_forget.add(lesson_id)
            client.delete(f"/v1/lessons/{lesson_id}").raise_for_status()
            forgotten.add(lesson_id)


def main(rounds: str, folder: str, port: str = "8399", model: str = "") -> None:
    taught: set[str] = set()
    asked_to_forget: set[str] = set()
    forgotten: set[str] = set()
    flaws = 0
    for number in range(int(rounds) + 1):
        begun = time.monotonic()
        server = started(folder, port, toy=model == "toy")
        up = time.monotonic() - begun
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            status = {i: client.get(f"/v1/lessons/{i}").status_code for i in taught}
            lost = [i for i in taught - asked_to_forget if status[i] != 200]
            back = [i for i in forgotten if status[i] != 404]
            whole = client.get("/v1/audit/verify").json()["whole"]
            flaws += len(lost) + len(back) + (not whole)
            print(
                f"round {number}: up in {up:.1f} s, taught {len(taught)}, lost {len(lost)}, forgotten "
                f"{len(forgotten)}, back {len(back)}, audit {'whole' if whole else 'BROKEN'}",
                flush=True,
            )
            if number < int(rounds):
                threading.Timer(random.uniform(0.5, 4), server.send_signal, [signal.SIGKILL]).start()
                with suppress(httpx.HTTPError):  # killed
                    work(client, taught, asked_to_forget, forgotten)
        server.terminate()
        server.wait()
    sys.exit(f"{flaws} flaws" if flaws else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
