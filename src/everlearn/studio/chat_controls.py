"""What can be chosen for an answer: model, memory, time, words to the system, sampling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

import gradio as gr

from everlearn.studio.client import Api
from everlearn.studio.conversation import BARE, EVERYTHING, Choices

BY_MODEL = ""
FIRST_YEAR = 1950


@final
@dataclass(frozen=True, slots=True)
class Controls:
    """The components, in the order in which their values reach `choices_of`."""

    model: gr.Dropdown
    tables: gr.CheckboxGroup
    adapter: gr.Dropdown
    as_of: gr.Textbox
    system: gr.Textbox
    temperature: gr.Slider
    top_p: gr.Slider
    most_tokens: gr.Slider
    seed: gr.Number
    may_teach: gr.Checkbox

    @property
    def all(self) -> list[Any]:
        """All of them."""
        return [getattr(self, name) for name in self.__dataclass_fields__]

    @property
    def filled(self) -> list[Any]:
        """Those whose choices come from the server."""
        return [self.model, self.tables, self.adapter]


def build() -> Controls:
    """Lay the controls out in the current column."""
    with gr.Accordion("Model and memory", open=True, elem_id="chat-memory"):
        model = gr.Dropdown(
            [("Everything it was taught", EVERYTHING), ("Bare model, no memory", BARE)],
            value=EVERYTHING, label="Model", elem_id="chat-model",
        )  # fmt: skip
        tables = gr.CheckboxGroup([], label="Only these tables", info="None ticked = all.", elem_id="chat-tables")
        adapter = gr.Dropdown(
            [("as the model says", BY_MODEL)], value=BY_MODEL, label="Adapter version", elem_id="chat-adapter"
        )
        as_of = _moment()
        may_teach = gr.Checkbox(True, label='"Remember: ..." teaches', elem_id="chat-may-teach")
    with gr.Accordion("Words and sampling", open=False, elem_id="chat-sampling"):
        system = gr.Textbox(label="System prompt", lines=3, elem_id="chat-system")
        temperature = gr.Slider(
            0, 2, 0, step=0.05, label="Temperature", info="0 = the likeliest token", elem_id="chat-heat"
        )
        top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", elem_id="chat-top-p")
        most = gr.Slider(8, 2048, 256, step=8, label="Most tokens", elem_id="chat-most")
        seed = gr.Number(None, label="Seed", precision=0, elem_id="chat-seed")
    return Controls(model, tables, adapter, as_of, system, temperature, top_p, most, seed, may_teach)


def _moment() -> gr.Textbox:
    """The moment asked about: a slider of years for the hand, a field for any date, which is what holds."""
    this_year = datetime.now(UTC).year
    year = gr.Slider(
        FIRST_YEAR, this_year, this_year, step=1, label="Asked as of the year", elem_id="chat-year", buttons=["reset"],
        info="What was true then. At the right end: now.",
    )  # fmt: skip
    as_of = gr.Textbox(label="As of", placeholder="now", info="Or a date such as 2024-05-31.", elem_id="chat-as-of")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    year.input(lambda chosen: "" if chosen >= this_year else str(int(chosen)), year, as_of, **quiet)
    return as_of


def choices_of(values: tuple[Any, ...]) -> Choices:
    """Values of the controls, in their order."""
    model, tables, adapter, as_of, system, temperature, top_p, most, seed, may_teach = values
    return Choices(
        model or EVERYTHING, tuple(tables or ()), adapter or "", as_of or "", system or "",
        float(temperature), float(top_p), int(most), None if seed is None else int(seed), bool(may_teach),
    )  # fmt: skip


async def filled(api: Api) -> tuple[Any, ...]:
    """Updates of `Controls.filled`: what the server has now."""
    tables = [row["name"] for row in (await api.get("/v1/tables"))["data"]]
    adapters = [row["id"] for row in (await api.get("/v1/adapters"))["data"]]
    return (
        gr.update(choices=model_choices(tables, adapters)),
        gr.update(choices=tables),
        gr.update(choices=[("as the model says", BY_MODEL), *adapters]),
    )


def model_choices(tables: list[str], adapters: list[str]) -> list[tuple[str, str]]:
    """Models by the names that people read and the names that the API takes."""
    named = [("Everything it was taught", EVERYTHING), ("Bare model, no memory", BARE)]
    named += [(f"Only the table {name}", f"table:{name}") for name in tables]
    return named + [(f"Adapter {name}", name) for name in adapters]
