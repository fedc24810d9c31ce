"""Text of users and models as HTML that cannot do anything: no scripts, no images, no requests."""

from __future__ import annotations

import html
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

_LINKS = ("http://", "https://", "mailto:")


def plain(text: object) -> str:
    """Text as it was written, with nothing in it that HTML would read; also fit for an attribute in quotes.

    Braces and dollar signs are written as entities too: what shows the page would read them as templates.
    """
    safe = html.escape(str(text), quote=True)
    for sign, entity in (("{", "&#123;"), ("}", "&#125;"), ("$", "&#36;"), ("`", "&#96;"), ("\\", "&#92;")):
        safe = safe.replace(sign, entity)
    return safe


def markdown(text: str) -> str:
    """Markdown as HTML: headings, lists, tables, code and links; HTML in it is shown as text, images as their words."""
    return str(_reader().render(text))


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    reader.validateLink = lambda url: url.strip().lower().startswith(_LINKS)  # type: ignore[method-assign]
    for name, rule in (("text", _text), ("code_inline", _code), ("code_block", _block), ("fence", _block)):
        reader.add_render_rule(name, rule)
    reader.add_render_rule("image", _image)
    reader.add_render_rule("link_open", _link)
    reader.add_render_rule("heading_open", _heading)
    reader.add_render_rule("heading_close", _heading_end)
    return reader


def _text(_self: RendererHTML, tokens: Sequence[Token], n: int, _o: OptionsDict, _env: EnvType) -> str:
    return plain(tokens[n].content)


def _code(_self: RendererHTML, tokens: Sequence[Token], n: int, _o: OptionsDict, _env: EnvType) -> str:
    return f"<code>{plain(tokens[n].content)}</code>"


def _block(_self: RendererHTML, tokens: Sequence[Token], n: int, _o: OptionsDict, _env: EnvType) -> str:
    return f'<pre tabindex="0"><code>{plain(tokens[n].content)}</code></pre>'


def _image(_self: RendererHTML, tokens: Sequence[Token], n: int, _o: OptionsDict, _env: EnvType) -> str:
    # An image would be fetched from wherever a lesson says, which tells that place what was asked.
    return f"[image: {plain(tokens[n].content)}]"


def _link(_self: RendererHTML, tokens: Sequence[Token], n: int, _o: OptionsDict, _env: EnvType) -> str:
    to = plain(tokens[n].attrGet("href") or "")
    return f'<a href="{to}" target="_blank" rel="noopener noreferrer nofollow">'


def _heading(_self: RendererHTML, _tokens: Sequence[Token], _n: int, _o: OptionsDict, _env: EnvType) -> str:
    return '<p class="el-heading">'  # the page's own headings are its outline; an answer must not break into it


def _heading_end(_self: RendererHTML, _tokens: Sequence[Token], _n: int, _o: OptionsDict, _env: EnvType) -> str:
    return "</p>"


def button(label: str, act: str, of: object = "", *, kind: str = "", described: str = "") -> str:
    """A button that tells the studio what is to be done (`act`) with what (`of`)."""
    more = f' aria-label="{plain(described)}"' if described else ""
    tells = f'data-act="{plain(act)}" data-of="{plain(of)}"'
    return f'<button type="button" class="el-btn {kind}" {tells}{more}>{plain(label)}</button>'


def empty(title: str, what: str, *buttons: str) -> str:
    """What is shown where nothing is yet, and what to do about it."""
    acts = f'<p class="el-acts">{"".join(buttons)}</p>' if buttons else ""
    return f'<div class="el-empty"><p class="el-heading">{plain(title)}</p><p>{plain(what)}</p>{acts}</div>'


def notice(text: str, kind: str = "good") -> str:
    """A sentence about what was just done, read out by screen readers: kind "good", "bad" or "wait"."""
    return f'<div class="el-notice el-{plain(kind)}" role="status">{plain(text)}</div>' if text else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, label: str) -> str:
    """A table; cells are HTML already, heads are text. On a narrow page each row becomes a card."""
    top = "".join(f'<th scope="col">{plain(head)}</th>' for head in heads)
    body = "".join(
        "<tr>" + "".join(f'<td data-head="{plain(h)}">{c}</td>' for h, c in zip(heads, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="el-scroll"><table class="el-table"><caption class="el-hidden">{plain(label)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
