"""The whole page, and how it is mounted into the server's app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import gradio as gr

from everlearn.studio import (
    chat_controls,
    chat_tab,
    compare_tab,
    evaluate_tab,
    knowledge_tab,
    learn_tab,
    monitor_tab,
    settings_tab,
    theme,
    tuning_tab,
)
from everlearn.studio.client import Server
from everlearn.studio.faults import told
from everlearn.studio.page import Desk

PATH = "/studio"
HEADER = (
    '<div class="el-head"><h1>everlearn <span>studio</span></h1>'
    '<span class="el-dim">teach it, ask it, see why, make it forget</span></div>'
)
KEPT_SECONDS = 3600
_LOOK_SECONDS = 0.5


def mount(app: Any, address: str) -> Any:
    """Mount the studio into an app.

    Args:
        app: of the server; the studio calls its public API.
        address: where that is reached from this machine, such as "http://127.0.0.1:8000".

    Returns:
        The app.
    """

    async def mounted() -> Any:
        return _mounted(app, address)

    # Gradio makes a loop for each of its locks where none runs, and leaves all of them open.
    return asyncio.run(mounted())


def _mounted(app: Any, address: str) -> Any:
    def ending() -> bool:
        if app.state.ending():
            inner.stop_event.set()  # ends the heartbeat of each open page, which the server would wait for
        return bool(app.state.ending())

    gr.mount_gradio_app(
        app, page(Server(address), ending), PATH, ssr_mode=False, theme=theme.theme(), css=theme.CSS, js=theme.SCRIPT,
        head=theme.HEAD, footer_links=[], run_history=False, show_error=False, enable_monitoring=False,
        mcp_server=False, pwa=False, max_file_size="20mb",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )  # fmt: skip
    inner = next(route.app for route in app.routes if getattr(route, "path", "") == PATH)
    return app


def _held_open(ending: Callable[[], bool]) -> Callable[[], AsyncGenerator[None, None]]:
    """An event that does nothing and does not end while the page is there and the server is not to stop.

    Gradio closes the stream of a page's updates when its last event has ended. An event that begins in that very moment
    is carried out, and none of its updates arrive: the answer is there, and the page goes on showing the question.
    """

    async def held() -> AsyncGenerator[None, None]:
        yield
        while not ending():
            await asyncio.sleep(_LOOK_SECONDS)

    return held


def page(server: Server, ending: Callable[[], bool] = lambda: False) -> gr.Blocks:
    """All tabs over one server; `ending` says whether that is to stop."""
    with gr.Blocks(
        title="everlearn studio", analytics_enabled=False, fill_width=True, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    ) as blocks:
        gr.HTML(HEADER, elem_id="el-header", apply_default_css=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            chat_place = gr.Tab("Chat", id="chat")
            knowledge_place = gr.Tab("Knowledge", id="knowledge")
            learn_place = gr.Tab("Learn", id="learn")
            compare_place = gr.Tab("Compare", id="compare")
            monitor_place = gr.Tab("Monitor", id="monitor")
            evaluate_place = gr.Tab("Evaluate", id="evaluate")
            with gr.Tab("Settings", id="settings") as settings_place:
                settings = settings_tab.build(server)
            desk = Desk(server, settings.key)
            with chat_place:
                chat = chat_tab.build(desk)
            with knowledge_place:
                knowledge_tab.build(desk, knowledge_place, chat.opened)
            with learn_place:
                do, watching = learn_tab.build(desk, learn_place)
                tuning_tab.build(desk, do, learn_place, watching)
            with compare_place:
                compare_tab.build(desk, compare_place)
            others = [chat_place, knowledge_place, learn_place, compare_place, evaluate_place, settings_place]
            with monitor_place:
                monitor_tab.build(desk, monitor_place, others)
            with evaluate_place:
                evaluate_tab.build(desk)

        async def fill(key: str) -> tuple[Any, ...]:
            return await chat_controls.filled(desk.api(key))

        loaded = blocks.load(None, None, settings.key, js=settings_tab.LOAD_KEY, api_visibility="private")
        for event in (loaded.then, settings.saved.click, chat_place.select):
            event(told(fill), settings.key, chat.controls.filled, show_progress="hidden", api_visibility="private")
        blocks.load(_held_open(ending), None, None, show_progress="hidden", api_visibility="private")
        chat.opened.change(
            lambda: gr.update(selected="knowledge"), None, tabs, show_progress="hidden", api_visibility="private"
        )
    blocks.queue(default_concurrency_limit=None, api_open=False)
    return blocks
