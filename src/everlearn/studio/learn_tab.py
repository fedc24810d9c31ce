"""Learn: start a sleep, watch it, read its verdict, roll back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, final

import gradio as gr

from everlearn.studio import jobs_view, learn_view
from everlearn.studio.client import Api
from everlearn.studio.faults import told
from everlearn.studio.markup import notice
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.queues_tab import QUIET

_ROLL = "Shall {} be in use? Rows that had retired for a newer version speak again."
_OFF = "Shall no version of {} be in use? Its lessons are answered from the table again."


@final
class _Learn:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def look(self, key: str) -> tuple[str, str]:
        """Verdicts and versions."""
        return await shown(self._desk.api(key))

    async def sleep(self, *values: Any) -> AsyncGenerator[tuple[Any, ...], None]:
        """Start a sleep and watch it."""
        *settings, key = values
        begun = await self._desk.api(key).post("/v1/sleep", body_of(*settings))
        async for update in self._watched(begun["id"], key):
            yield update

    async def resume(self, key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        """Watch on what is under way: a page that was loaded again shows it again."""
        jobs = (await self._desk.api(key).get("/v1/jobs"))["data"]
        yield gr.skip(), gr.skip(), gr.skip()  # a generator that gives nothing would empty what it might have filled
        for found in [job for job in jobs if job["status"] not in jobs_view.ENDED][-1:]:
            async for update in self._watched(found["id"], key):
                yield update

    async def cancel(self, event: gr.EventData, key: str) -> None:
        """End a job at its next step."""
        act, of = act_of(event)
        if act == "cancel":
            await self._desk.api(key).post(f"/v1/jobs/{of}/cancel")

    async def ask(self, event: gr.EventData) -> tuple[Any, ...]:
        """Ask once before another version is put in use."""
        act, of = act_of(event)
        if act != "roll":
            return gr.skip(), gr.skip(), gr.skip()
        name, _, step = of.rpartition("@")
        return notice(_ROLL.format(of) if step else _OFF.format(name), "bad"), gr.update(visible=True), of

    async def roll(self, of: str, key: str) -> tuple[Any, ...]:
        """Put it in use."""
        name, _, step = of.rpartition("@")
        api = self._desk.api(key)
        done = await api.post(f"/v1/adapters/{name}/rollback", {"step": int(step) if step else None})
        now = "no version" if done["current"] is None else f"step {done['current']}"
        return notice(f"{name}: in use is {now}."), gr.update(visible=False), "", *await shown(api)

    async def _watched(self, job_id: str, key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        api = self._desk.api(key)
        async for job in api.watch(job_id):
            yield jobs_view.job(job), gr.skip(), gr.skip()
        yield gr.skip(), *await shown(api)


def build(desk: Desk, place: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    do = _Learn(desk)
    settings, go = _settings()
    job, said, wanted = panel(id_="learn-job"), panel(id_="learn-said"), gr.State("")
    with gr.Row(visible=False) as asked:
        sure = gr.Button("Yes, change it", variant="stop", elem_id="learn-sure")
        keep = gr.Button("Leave it", elem_id="learn-keep")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            gr.HTML('<h2 class="el-h2">Versions</h2>', apply_default_css=False)
            line = panel(id_="learn-line")
        with gr.Column(min_width=300):
            gr.HTML('<h2 class="el-h2">Verdicts</h2>', apply_default_css=False)
            verdicts = panel(id_="learn-verdicts")
    parts = [verdicts, line]
    place.select(told(do.look), desk.key, parts, **QUIET).then(told(do.resume), desk.key, [job, *parts], **QUIET)
    go.click(told(do.sleep), [*settings, desk.key], [job, *parts], **QUIET)
    job.click(told(do.cancel), desk.key, None, **QUIET)
    line.click(do.ask, None, [said, asked, wanted], **QUIET)
    sure.click(told(do.roll), [wanted, desk.key], [said, asked, wanted, *parts], **QUIET)
    keep.click(lambda: ("", gr.update(visible=False)), None, [said, asked], **QUIET)


def _settings() -> tuple[list[Any], gr.Button]:
    with gr.Row():
        domain = gr.Textbox(label="Only this domain", placeholder="all", elem_id="sleep-domain", min_width=120)
        epochs = gr.Number(0, label="Epochs", info="0 = default", precision=0, elem_id="sleep-epochs", min_width=100)
        rate = gr.Number(0, label="Learning rate", info="0 = default", elem_id="sleep-rate", min_width=100)
        rank = gr.Number(0, label="Rank", info="0 = default", precision=0, elem_id="sleep-rank", min_width=100)
        wordings = gr.Number(
            0, label="Wordings of each lesson", info="0 = default", precision=0, elem_id="sleep-wordings", min_width=120
        )
    with gr.Row(elem_classes="el-tight"):
        go = gr.Button("Start a sleep", variant="primary", elem_id="sleep-go")
        fresh = gr.Checkbox(False, label="From the bare base, not from the last version", elem_id="sleep-fresh")
    return [domain, epochs, rate, rank, wordings, fresh], go


def body_of(domain: str, epochs: Any, rate: Any, rank: Any, wordings: Any, fresh: bool) -> dict[str, Any]:
    """The request of a sleep; an empty field keeps the default."""
    numbers = {"epochs": epochs, "rank": rank, "wordings": wordings}
    body: dict[str, Any] = {name: int(value) for name, value in numbers.items() if value}
    body |= {"rate": float(rate)} if rate else {}
    body |= {"domain": domain.strip()} if (domain or "").strip() else {}
    return {**body, "fresh": bool(fresh)}


async def shown(api: Api) -> tuple[str, str]:
    """Verdicts and versions as they are now."""
    verdicts = (await api.get("/v1/sleep/verdicts"))["data"]
    adapters = (await api.get("/v1/adapters"))["data"]
    return learn_view.verdicts(verdicts), learn_view.timeline(adapters)
