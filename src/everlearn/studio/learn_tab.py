"""Learn: start a sleep, watch it learn, read its verdict, compare versions, roll back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, final

import gradio as gr

from everlearn.studio import jobs_view, learn_view
from everlearn.studio.client import Api
from everlearn.studio.curves import training
from everlearn.studio.faults import told
from everlearn.studio.markup import empty, notice
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.queues_tab import QUIET

KEEP = gr.skip()
MOST_COMPARED = 4
_ROLL = "Shall {} be in use? Rows that had retired for a newer version speak again."
_OFF = "Shall no version of {} be in use? Its lessons are answered from the table again."
_NONE = empty("Nothing compared yet.", "Choose two to four versions: what went into each, and what its test measured.")


@final
class Learn:
    """The handlers; `parts` below are (verdicts, versions, what is still known)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def look(self, key: str) -> tuple[Any, ...]:
        """Verdicts, versions and what is still known, and the versions that can be compared."""
        api = self._desk.api(key)
        versions = [row["id"] for row in (await api.get("/v1/adapters"))["data"]]
        return *await shown(api), gr.update(choices=versions)

    async def sleep(self, *values: Any) -> AsyncGenerator[tuple[Any, ...], None]:
        """Start a sleep and watch it."""
        *settings, key = values
        begun = await self._desk.api(key).post("/v1/sleep", body_of(*settings))
        async for update in self.watched(begun["id"], key):
            yield update

    async def resume(self, key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        """Watch on what is under way, or show the last training: a page that was loaded again shows it again."""
        api = self._desk.api(key)
        jobs = (await api.get("/v1/jobs"))["data"]
        yield (KEEP,) * 5  # a generator that gives nothing would empty what it might have filled
        under_way = [job for job in jobs if job["status"] not in jobs_view.ENDED]
        for found in under_way[-1:]:
            async for update in self.watched(found["id"], key):
                yield update
        for found in [] if under_way else [job for job in jobs if job["training"]][:1]:
            steps = (await api.get(f"/v1/jobs/{found['id']}/training"))["data"]
            yield jobs_view.job(found), training(steps), KEEP, KEEP, KEEP

    async def cancel(self, event: gr.EventData, key: str) -> None:
        """End a job at its next step."""
        act, of = act_of(event)
        if act == "cancel":
            await self._desk.api(key).post(f"/v1/jobs/{of}/cancel")

    async def ask(self, event: gr.EventData) -> tuple[Any, ...]:
        """Ask once before another version is put in use."""
        act, of = act_of(event)
        if act != "roll":
            return KEEP, KEEP, KEEP
        name, _, step = of.rpartition("@")
        return notice(_ROLL.format(of) if step else _OFF.format(name), "bad"), gr.update(visible=True), of

    async def roll(self, of: str, key: str) -> tuple[Any, ...]:
        """Put it in use."""
        name, _, step = of.rpartition("@")
        api = self._desk.api(key)
        done = await api.post(f"/v1/adapters/{name}/rollback", {"step": int(step) if step else None})
        now = "no version" if done["current"] is None else f"step {done['current']}"
        return notice(f"{name}: in use is {now}."), gr.update(visible=False), "", *await shown(api)

    async def compare(self, chosen: list[str], key: str) -> str:
        """Versions side by side."""
        if len(chosen or ()) < 2:
            return _NONE
        api = self._desk.api(key)
        versions = [await api.get(f"/v1/adapters/{each}") for each in chosen]
        return learn_view.compared(versions, (await api.get("/v1/sleep/verdicts"))["data"])

    async def watched(self, job_id: str, key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        """A job until it has ended, with the figures of its training so far: (job, curves, *parts)."""
        api, steps = self._desk.api(key), list[dict[str, Any]]()
        async for job in api.watch(job_id):
            drawn: Any = KEEP
            if await caught_up(api, job, steps):
                drawn = training(steps)
            yield jobs_view.job(job), drawn, KEEP, KEEP, KEEP
        yield KEEP, KEEP, *await shown(api)


async def caught_up(api: Api, job: dict[str, Any], steps: list[dict[str, Any]]) -> bool:
    """Add the figures of the updates since the last one of `steps`; returns whether there were any."""
    last, known = job.get("training"), steps[-1]["n"] if steps else 0
    if last is None or last["n"] <= known:
        return False
    one_more = last["n"] == known + 1
    steps += [last] if one_more else (await api.get(f"/v1/jobs/{job['id']}/training", after=known))["data"]
    return True


def build(desk: Desk, place: gr.Tab) -> tuple[Learn, list[Any]]:
    """Lay the tab out and connect it; gives its handlers and the outputs of `watched`."""
    do = Learn(desk)
    settings, go = _settings()
    job, curves = panel(id_="learn-job"), panel(id_="learn-curves")
    said, wanted = panel(id_="learn-said"), gr.State("")
    with gr.Row(visible=False) as asked:
        sure = gr.Button("Yes, change it", variant="stop", elem_id="learn-sure")
        keep = gr.Button("Leave it", elem_id="learn-keep")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            _title("Versions")
            line = panel(id_="learn-line")
            chosen = gr.Dropdown(
                [], multiselect=True, max_choices=MOST_COMPARED, label="Compare versions", elem_id="learn-versions"
            )
            side_by_side = panel(_NONE, id_="learn-compared")
        with gr.Column(min_width=300):
            _title("Verdicts")
            verdicts = panel(id_="learn-verdicts")
            _title("What is still known")
            known = panel(id_="learn-known")
    parts = [verdicts, line, known]
    watching = [job, curves, *parts]
    looked = place.select(told(do.look), desk.key, [*parts, chosen], **QUIET)
    looked.then(told(do.resume), desk.key, watching, **QUIET)
    slept = go.click(told(do.sleep), [*settings, desk.key], watching, **QUIET)
    slept.then(told(do.look), desk.key, [*parts, chosen], **QUIET)
    job.click(told(do.cancel), desk.key, None, **QUIET)
    line.click(do.ask, None, [said, asked, wanted], **QUIET)
    sure.click(told(do.roll), [wanted, desk.key], [said, asked, wanted, *parts], **QUIET)
    keep.click(lambda: ("", gr.update(visible=False)), None, [said, asked], **QUIET)
    chosen.change(told(do.compare), [chosen, desk.key], side_by_side, **QUIET)
    return do, watching


def _title(words: str) -> None:
    gr.HTML(f'<h2 class="el-h2">{words}</h2>', apply_default_css=False)


def _settings() -> tuple[list[Any], gr.Button]:
    plain: dict[str, Any] = {"info": "0 = default", "min_width": 100}
    with gr.Row():
        domain = gr.Textbox(label="Only this domain", info="empty = all", elem_id="sleep-domain", min_width=120)
        epochs = gr.Number(0, label="Epochs", precision=0, elem_id="sleep-epochs", **plain)
        rate = gr.Number(0, label="Learning rate", elem_id="sleep-rate", **plain)
        rank = gr.Number(0, label="Rank", precision=0, elem_id="sleep-rank", **plain)
        wordings = gr.Number(0, label="Wordings of each lesson", precision=0, elem_id="sleep-wordings", **plain)
        general = gr.Number(0, label="Unrelated prompts", precision=0, elem_id="sleep-general", **plain)
    with gr.Row(elem_classes="el-tight"):
        go = gr.Button("Start a sleep", variant="primary", elem_id="sleep-go")
        fresh = gr.Checkbox(False, label="From the bare base, not from the last version", elem_id="sleep-fresh")
    return [domain, epochs, rate, rank, wordings, general, fresh], go


def body_of(domain: str, epochs: Any, rate: Any, rank: Any, wordings: Any, general: Any, fresh: bool) -> dict[str, Any]:
    """The request of a sleep; an empty field keeps the default."""
    numbers = {"epochs": epochs, "rank": rank, "wordings": wordings, "general": general}
    body: dict[str, Any] = {name: int(value) for name, value in numbers.items() if value}
    body |= {"rate": float(rate)} if rate else {}
    body |= {"domain": domain.strip()} if (domain or "").strip() else {}
    return {**body, "fresh": bool(fresh)}


async def shown(api: Api) -> tuple[str, str, str]:
    """Verdicts, versions and what is still known, as they are now."""
    verdicts = (await api.get("/v1/sleep/verdicts"))["data"]
    adapters = (await api.get("/v1/adapters"))["data"]
    return learn_view.verdicts(verdicts), learn_view.timeline(adapters), learn_view.retained(verdicts)
