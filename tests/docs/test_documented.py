"""What the documents say is there, and what is there is in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import everlearn
from everlearn import errors
from everlearn.wiring import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
ERRORS = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.EverlearnError)]


def test_the_readme_is_short_and_shows_code_by_line_20():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("```python") for line in lines[:20])


@pytest.mark.parametrize("page", ["README.md", *[f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")]])
def test_links_between_documents_lead_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_setting_is_documented():
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `EVERLEARN_{name.upper()}` |" in SETTINGS
        if name not in {"home", "state"}:
            assert f"| `{field.default}` |" in SETTINGS


@pytest.mark.parametrize("error", ERRORS[1:], ids=lambda e: e.__name__)
def test_every_error_is_documented_with_its_code_and_stands_in_the_tree(error):
    assert f"| `{error.code}` | `{error.__name__}` |" in SETTINGS
    assert re.search(rf"─ {error.__name__}\b", errors.__doc__ or "")


def test_error_codes_are_unique():
    assert len({e.code for e in ERRORS}) == len(ERRORS)


def test_the_face_is_sorted_complete_and_small():
    assert everlearn.__all__ == sorted(everlearn.__all__)
    assert len(everlearn.__all__) <= 20
    for name in everlearn.__all__:
        assert getattr(everlearn, name) is not None, name
    with pytest.raises(AttributeError):
        everlearn.nothing  # noqa: B018


def test_every_room_of_the_tree_in_the_readme_exists_and_the_other_way_round():
    rooms = {p.name for p in (ROOT / "src" / "everlearn").iterdir() if p.is_dir() and p.name != "__pycache__"}
    named = set(re.findall(r"^[├└]── (\w+)/", README, re.MULTILINE))
    assert named == rooms


def test_decisions_are_numbered_without_a_gap():
    numbers = sorted(int(p.name[:4]) for p in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_papers_name_files_that_exist():
    page = (ROOT / "docs" / "papers.md").read_text("utf-8")
    for path in re.findall(r"`([\w/]+\.py)`", page):
        assert (ROOT / path).exists() or (ROOT / "src" / "everlearn" / path).exists(), path
