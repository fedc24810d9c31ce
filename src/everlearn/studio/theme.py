"""How the studio looks: system fonts, so that nothing is fetched; colours with contrast in light and dark."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
CSS = files("everlearn.studio").joinpath("style.css").read_text("utf-8")
SCRIPT = files("everlearn.studio").joinpath("page.js").read_text("utf-8")
HEAD = '<link rel="icon" href="data:,"><meta name="color-scheme" content="light dark">'


def theme() -> gr.themes.Base:
    """The theme of Gradio's own components."""
    made = gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", radius_size="md", spacing_size="md",
        font=_FONTS, font_mono=_MONO,
    )  # fmt: skip
    return made.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
