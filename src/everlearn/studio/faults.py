"""Whatever goes wrong in a tab is told as one sentence."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any, TypeVar, cast

import gradio as gr

from everlearn.errors import EverlearnError
from everlearn.studio.markup import plain

SECONDS_SHOWN = 12.0
F = TypeVar("F", bound=Callable[..., Any])


def said(error: EverlearnError) -> gr.Error:
    """An error as a message on the page. Gradio reads messages as HTML, and they may quote what a user wrote."""
    return gr.Error(plain(error), duration=SECONDS_SHOWN, title="That did not work", print_exception=False)


def told(handler: F) -> F:
    """A handler whose errors are sentences on the page; a coroutine or an async generator."""
    if inspect.isasyncgenfunction(handler):

        @wraps(handler)
        async def streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            try:
                async with aclosing(handler(*args, **kwargs)) as updates:  # Stop has to reach the request at once
                    async for update in updates:
                        yield update
            except EverlearnError as error:
                raise said(error) from error

        return cast(F, streamed)

    @wraps(handler)
    async def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return await cast(Awaitable[Any], handler(*args, **kwargs))
        except EverlearnError as error:
            raise said(error) from error

    return cast(F, called)
