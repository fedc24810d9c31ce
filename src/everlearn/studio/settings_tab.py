"""Settings: the caller's key, what the server is, what it lets this key do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import gradio as gr

from everlearn.studio.client import ApiError, Server
from everlearn.studio.faults import told
from everlearn.studio.markup import empty, notice, plain, table
from everlearn.studio.page import panel

STORED = "everlearn-key"
LOAD_KEY = f"() => sessionStorage.getItem('{STORED}') || ''"
KEEP_KEY = f"(key) => {{ sessionStorage.setItem('{STORED}', key || ''); return key; }}"
DROP_KEY = f"() => {{ sessionStorage.removeItem('{STORED}'); return ''; }}"
TURN_LIGHT = """() => {
  const dark = !document.body.classList.contains('dark');
  document.body.classList.toggle('dark', dark);
  localStorage.setItem('everlearn-look', dark ? 'dark' : 'light');
}"""


@final
@dataclass(frozen=True, slots=True)
class SettingsTab:
    """The parts that others reach: `key` is an input of every handler, `checked` shows the system check."""

    key: gr.Textbox
    checked: gr.HTML
    saved: gr.Button


def build(server: Server) -> SettingsTab:
    """Lay the tab out and connect it."""

    async def check(key: str) -> str:
        return await system_check(server, key)

    with gr.Row():
        key = gr.Textbox(
            label="API key", type="password", placeholder="sk-el-...", elem_id="settings-key", scale=4,
            info="Kept in this browser tab until it is closed. One is made by: everlearn keys create",
        )  # fmt: skip
        with gr.Column(scale=1, min_width=160):
            save = gr.Button("Use this key", variant="primary", elem_id="settings-save")
            drop = gr.Button("Forget the key", elem_id="settings-drop")
    with gr.Row(elem_classes="el-tight"):
        again = gr.Button("Check the system", elem_id="settings-check")
        look = gr.Button("Light or dark", elem_id="settings-look")
    checked = panel(empty("Nothing checked yet.", "Press Check the system."), id_="settings-checked")
    save.click(told(check), key, checked, js=KEEP_KEY, api_visibility="private")
    drop.click(None, None, key, js=DROP_KEY, api_visibility="private")
    again.click(told(check), key, checked, api_visibility="private")
    look.click(None, None, None, js=TURN_LIGHT, api_visibility="private")
    return SettingsTab(key, checked, save)


async def system_check(server: Server, key: str) -> str:
    """What the server says of itself and of the caller, as HTML."""
    api = server.as_caller(key)
    ready = await api.get("/ready")
    rows = [("Server", plain(server.address)), ("Base model", plain(ready["model"])), ("State", plain(ready["status"]))]
    rows.append(("Answers", f"{ready['running']} under way, {ready['waiting']} waiting"))
    try:
        system = await api.get("/v1/system")
        limits = await api.limits()
    except ApiError as error:
        return notice(str(error), "bad") + _rows(rows)
    rows += [
        ("Version", plain(system["version"])),
        ("Context", f"{system['context_length']:,} tokens, {system['blocks']} blocks"),
        ("Tenant", plain(system["tenant"])),
        ("This key may", plain(", ".join(system["scopes"]) or "nothing")),
        ("Chat may teach", "yes" if system["teach_in_chat"] else "no"),
    ]
    return notice("All is well.") + _rows([*rows, ("Limits", plain(_limits(limits)))])


def _limits(told_: dict[str, str]) -> str:
    if not told_:
        return "none"
    kinds = sorted({name.rsplit("-", 1)[-1] for name in told_})
    return "; ".join(
        f"{told_.get(f'remaining-{k}', '?')} of {told_.get(f'limit-{k}', '?')} {k} left this minute" for k in kinds
    )


def _rows(rows: list[tuple[str, Any]]) -> str:
    return table(("What", "Value"), [(f"<b>{plain(name)}</b>", str(value)) for name, value in rows], label="System")
