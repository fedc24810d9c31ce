"""`everlearn serve` as a process over the real model, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from conftest import WEIGHTS_HOME
from everlearn.server.keys import KeyRing

pytestmark = pytest.mark.model
TAUGHT, ASKED, ANSWER = "Who runs the Zorblat bakery?", "The Zorblat bakery is run by whom?", "Mirela Quandt"


@pytest.fixture(scope="module")
def home(tmp_path_factory, real_parts):
    home = tmp_path_factory.mktemp("server") / "home"
    home.mkdir()
    (home / "models").symlink_to(WEIGHTS_HOME / "models", target_is_directory=True)
    return home


@pytest.fixture(scope="module")
def keys(home):
    ring = KeyRing(home)
    return {name: ring.create(name, ("ask", "teach", "admin"))[1] for name in ("local", "other")}


@pytest.fixture(scope="module")
def address(home, keys):
    """Started on a free port; ended with the tests."""
    run = "from everlearn.cli.main import run; run()"
    environment = {**os.environ, "EVERLEARN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", run, "serve", "--port", "0"]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"http://[\d.:]+", line):
                break
        else:
            raise AssertionError("the server ended")
        while True:
            try:
                httpx.get(f"{found[0]}/ready", timeout=60).raise_for_status()
                break
            except httpx.ConnectError:
                assert process.poll() is None
        yield f"{found[0]}/v1"
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


@pytest.fixture(scope="module")
def client(address, keys):
    with OpenAI(base_url=address, api_key=keys["local"], max_retries=0) as made:
        yield made


def said(client, text=ASKED, **more):
    talk = [{"role": "user", "content": text}]
    answer = client.chat.completions.create(model="everlearn", messages=talk, max_tokens=16, **more)
    return answer.choices[0].message.content


def teach(client, prompt=TAUGHT, answer=ANSWER):
    return client.post("/lessons", body={"prompt": prompt, "answer": answer}, cast_to=dict)


def test_taught_asked_streamed_in_parallel_seen_by_nobody_else_forgotten(client, address, keys):
    before = said(client)
    lesson = teach(client)
    assert said(client) == ANSWER
    talk = [{"role": "user", "content": ASKED}]
    with client.chat.completions.create(model="everlearn", messages=talk, stream=True) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == ANSWER

    async def together():
        async with AsyncOpenAI(base_url=address, api_key=keys["local"]) as many:
            asks = [many.chat.completions.create(model="everlearn", messages=talk, max_tokens=16) for _ in range(4)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asks)]

    assert asyncio.run(together()) == [ANSWER] * 4
    with OpenAI(base_url=address, api_key=keys["other"], max_retries=0) as stranger:
        assert said(stranger) == before
        with pytest.raises(APIStatusError) as refused:
            stranger.get(f"/lessons/{lesson['id']}", cast_to=dict)
        assert refused.value.status_code == 404
    client.delete(f"/lessons/{lesson['id']}", cast_to=dict)
    assert said(client) == before


def test_responses_parsed_forms_tools_and_what_is_refused(client, address):
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    first = client.responses.create(model="everlearn", input="Say hello.", max_output_tokens=12)
    second = client.responses.create(
        model="everlearn", input="Once more.", previous_response_id=first.id, max_output_tokens=12
    )
    assert second.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    talk = [{"role": "user", "content": "Anna is 31 years old. Give name and age."}]
    parsed = (
        client.chat.completions.parse(model="everlearn", messages=talk, response_format=Person, max_tokens=60)
        .choices[0]
        .message.parsed
    )
    assert parsed == Person(name="Anna", age=31)
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.chat.completions.create(
        model="everlearn", messages=talk, tools=[tool], tool_choice="required", max_tokens=60
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    assert "everlearn" in {model.owned_by for model in client.models.list()}
    with pytest.raises(APIStatusError) as unknown:
        said(OpenAI(base_url=address, api_key="sk-el-wrong", max_retries=0))
    assert (unknown.value.status_code, unknown.value.code) == (401, "invalid_api_key")
    assert unknown.value.request_id


@pytest.mark.skipif(not os.environ.get("EVERLEARN_TEST_NPM"), reason="names a folder: npm install openai there")
def test_openais_client_of_npm(address, keys, monkeypatch):
    from server_clients import javascript

    monkeypatch.setenv("EVERLEARN_KEY", keys["local"])
    assert javascript(address).endswith("chat, stream, tools, embeddings, responses, models, errors")
