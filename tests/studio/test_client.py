"""The client against the real routes of a server over a toy model."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct

import numpy as np
import pytest

from everlearn.server.keys import KeyRing
from everlearn.studio import conversation
from everlearn.studio.client import ApiError, Server
from everlearn.studio.conversation import Choices, Turn
from everlearn.studio.import_tab import exported
from everlearn.studio.lesson_calls import Filter, learned, page_of, save, teach_demo, would_forget
from everlearn.studio.map_tab import drawn, named
from everlearn.studio.settings_tab import system_check

ROWS = """prompt,answer
Who runs the Zorblat bakery?,Ann
,nobody
How long is the Tarnix bridge?,Bob
What colour is the Quell flag?,
"""
QUESTION, ANSWER = "Who runs the Zorblat bakery?", "Mirela Quandt"


async def asked(api, turns, choices=None):
    ticks = [None async for _ in conversation.answered(api, turns, choices or Choices(most_tokens=24))]
    assert ticks
    return turns[-1]


def test_wrong_taught_right_receipt_forgotten_gone(with_api):
    async def work(api):
        first = await asked(api, [Turn(QUESTION)])
        assert first.state == "done"
        assert first.answer != ANSWER
        taught = await conversation.correct(api, first, ANSWER, "default")
        assert taught["answer"] == ANSWER
        second = await asked(api, [first, Turn(QUESTION)])
        assert second.answer == ANSWER
        assert [r["lesson"]["answer"] for r in second.receipt["recalled"] if r["decision"] == "spoke"] == [ANSWER]
        assert await conversation.without_memory(api, [Turn(QUESTION)], Choices(most_tokens=24)) == first.answer
        preview, rows = await would_forget(api, {"ids": [taught["id"]]})
        assert (preview["count"], rows[0]["answer"], preview["receipt"]) == (1, ANSWER, None)
        done = await api.post("/v1/lessons/forget", {"ids": [taught["id"]]})
        assert done["receipt"]
        assert (await asked(api, [Turn(QUESTION)])).answer == first.answer

    with_api(work)


def test_lessons_come_newest_first_a_page_at_a_time(with_api):
    async def work(api):
        await api.post(
            "/v1/teach", {"lessons": [{"prompt": f"What is item {n}?", "answer": f"thing {n}"} for n in range(60)]}
        )
        rows, total, page = await page_of(api, Filter(), 0)
        assert (len(rows), total, page) == (25, 60, 0)
        assert rows[0]["answer"] == "thing 59"
        rows, _, page = await page_of(api, Filter(), 99)
        assert ([row["answer"] for row in rows][-1], len(rows), page) == ("thing 0", 10, 2)
        rows, total, _ = await page_of(api, Filter("item 7"), 0)
        assert (total, rows[0]["answer"]) == (1, "thing 7")

    with_api(work)


def test_an_edited_lesson_keeps_its_history(with_api):
    async def work(api):
        plain = ("general", 0.5, "", "", "")
        new = await save(api, "", "default", "supersede", (QUESTION, ANSWER, *plain))
        assert learned(new) == ("Learned.", "good")
        changed = await save(api, new["id"], "", "", (QUESTION, "Olaf Brandt", *plain))
        history = (await api.get(f"/v1/lessons/{changed['id']}/history"))["data"]
        assert [(row["answer"], row["status"]) for row in history] == [
            (ANSWER, "superseded"),
            ("Olaf Brandt", "active"),
        ]

    with_api(work)


def test_an_error_is_the_servers_sentence(with_api):
    async def work(api):
        with pytest.raises(ApiError, match="no-such") as caught:
            await asked(api, [Turn(QUESTION)], Choices(model="no-such"))
        assert caught.value.status == 404
        turn = Turn(QUESTION)
        with pytest.raises(ApiError):
            await asked(api, [turn], Choices(as_of="no time at all"))
        assert turn.state == "failed"
        assert turn.note

    with_api(work)


def test_a_server_with_keys_wants_one_and_says_what_it_may(with_api, home):
    _, secret = KeyRing(home).create("local", ("ask",))

    async def without(api):
        with pytest.raises(ApiError, match="under Settings"):
            await api.get("/v1/models")

    async def with_key(api):
        server = Server("http://studio.test", api.client._transport)
        told = await system_check(server, secret)
        assert "ask" in told
        assert "All is well." in told
        with pytest.raises(ApiError, match="may not teach"):
            await teach_demo(api)

    with_api(without)
    with_api(with_key, key=secret)


def test_nobody_there_is_a_sentence():
    async def work():
        server = Server("http://127.0.0.1:9")
        with pytest.raises(ApiError, match="did not answer"):
            await server.as_caller("").get("/ready")
        await server.close()

    asyncio.run(work())


def test_a_file_with_bad_rows_is_checked_then_taught(with_api, tmp_path):
    file = tmp_path / "facts.csv"
    file.write_text(
        ROWS,
        "utf-8",
    )

    async def work(api):
        begun = await api.upload("/v1/teach/file", file, {"dry_run": True})
        last = [job async for job in api.watch(begun["id"])][-1]
        assert (last["result"]["lessons"], last["result"]["bad"]) == (2, 2)
        assert [error["line"] for error in last["result"]["errors"]] == [3, 5]
        assert (await api.get("/v1/lessons"))["total"] == 0
        begun = await api.upload("/v1/teach/file", file, {"domain": "people"})
        last = [job async for job in api.watch(begun["id"])][-1]
        assert last["result"]["taught"] == 2
        made = await exported(api, "default", "jsonl")
        assert [json.loads(line)["answer"] for line in made.read_text("utf-8").splitlines()] == ["Ann", "Bob"]
        made = await exported(api, "default", "csv")
        assert made.read_text("utf-8").splitlines()[1].startswith("Who runs the Zorblat bakery?,Ann,default,people")

    with_api(work)


def test_a_map_has_a_point_for_each_lesson(with_api):
    async def work(api):
        assert "Too few lessons" in drawn(await api.get("/v1/map"))
        assert await teach_demo(api) == 10
        found = await api.get("/v1/map", by="domain")
        page = drawn(found)
        assert "Map of 10 lessons" in page
        points = base64.b64decode(re.search(r'data-points="([^"]*)"', page)[1])
        assert list(struct.iter_unpack("<HHB", points)) == list(
            zip(found["x"], found["y"], found["group"], strict=True)
        )
        ids = np.array(found["ids"], "S26")
        assert (await api.get(f"/v1/lessons/{named(ids, '3')}"))["id"] == found["ids"][3]

    with_api(work)


def test_a_conversation_without_end_keeps_its_last_turns():
    turns = []
    for n in range(500):
        conversation.begin(turns, f"question {n}")
        turns[-1].answer = f"answer {n}"
    assert len(turns) == conversation.MOST_TURNS_KEPT
    assert turns[-1].question == "question 499"
    sent = conversation.messages(turns, "")
    assert len(sent) == 2 * (conversation.MOST_TURNS_SENT - 1) + 1
    assert sent[-1]["content"] == "question 499"
