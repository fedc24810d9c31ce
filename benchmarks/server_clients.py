"""Asks a running server with other people's clients.

    python benchmarks/server_clients.py http://127.0.0.1:8000/v1

To be run in an environment of its own: pip install langchain-openai litellm llm mcp. OpenAI's client for JavaScript is
looked for in the folder that EVERLEARN_TEST_NPM names (npm install openai there). What is not installed is named.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TALK = [{"role": "user", "content": "Name a colour."}]


def langchain(url: str) -> object:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    model = ChatOpenAI(base_url=url, api_key="x", model="everlearn", max_tokens=80)
    said = model.invoke("Name a colour.").content
    streamed = "".join(str(chunk.content) for chunk in model.stream("Name a colour."))
    assert said == streamed
    for method in ("json_schema", "function_calling"):
        found = model.with_structured_output(Person, method=method).invoke("Anna is 31 years old.")
        assert found == Person(name="Anna", age=31), found
    embedder = OpenAIEmbeddings(base_url=url, api_key="x", model="minilm", check_embedding_ctx_length=False)
    return len(embedder.embed_query("x"))


def lite(url: str) -> object:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    how = {"model": "openai/everlearn", "api_base": url, "api_key": "x", "messages": TALK, "max_tokens": 12}
    said = litellm.completion(**how).choices[0].message.content
    assert said == "".join(c.choices[0].delta.content or "" for c in litellm.completion(**how, stream=True))
    return said


def command_line(url: str) -> object:
    import llm  # noqa: F401 -- only whether it is there

    with tempfile.TemporaryDirectory() as folder:
        model = f'- model_id: el\n  model_name: everlearn\n  api_base: "{url}"\n'
        Path(folder, "extra-openai-models.yaml").write_text(model)
        words = [sys.executable, "-m", "llm", "-m", "el", "-o", "max_tokens", "12", "--key", "x", "Name a colour."]
        environment = {**os.environ, "LLM_USER_PATH": folder}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def tools(url: str) -> object:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def called() -> object:
        async with streamable_http_client(f"{url}/mcp") as streams, ClientSession(*streams[:2]) as session:
            await session.initialize()
            taught = await session.call_tool("memory_teach", {"question": "Who founded Qux?", "answer": "Ilse"})
            found = await session.call_tool("memory_recall", {"question": "Who was the founder of Qux?"})
            assert "Ilse" in found.content[0].text
            lesson = taught.structured_content or taught.structuredContent
            await session.call_tool("memory_forget", {"id": lesson["id"]})
            return [tool.name for tool in (await session.list_tools()).tools]

    return asyncio.run(called())


def javascript(url: str) -> object:
    node, folder = shutil.which("node"), os.environ.get("EVERLEARN_TEST_NPM", ".")
    if node is None or not Path(folder, "node_modules", "openai").is_dir():
        raise ImportError("node, or openai of npm", name=f"node, or {folder}/node_modules/openai")
    words = [node, str(Path(__file__).with_name("openai_client.mjs")), url, str(Path(folder).resolve())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr.strip())
    return done.stdout.strip()


CLIENTS = {
    "langchain-openai": langchain,
    "litellm": lite,
    "llm": command_line,
    "mcp": tools,
    "openai of npm": javascript,
}


def main(url: str) -> None:
    failed = 0
    for name, ask in CLIENTS.items():
        try:
            print(f"{name}: {ask(url)}")
        except ImportError as error:
            print(f"{name}: not installed ({error.name})")
        except Exception as error:  # noqa: BLE001 -- each is told, and the next is asked
            failed += 1
            print(f"{name}: FAILED, {type(error).__name__}: {error}")
    sys.exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
