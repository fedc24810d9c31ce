"""Documents: every kind is read with its titles and places, and what cannot be read is explained."""

from __future__ import annotations

import io
import zipfile

import docx
import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from everlearn.corpus.documents import documents_in, read_document
from everlearn.errors import FileFormatError


def pdf_bytes(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text a page."""
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = {
            NameObject("/F1"): DictionaryObject(
                {
                    NameObject("/Type"): NameObject("/Font"),
                    NameObject("/Subtype"): NameObject("/Type1"),
                    NameObject("/BaseFont"): NameObject("/Helvetica"),
                }
            )
        }
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject(font)})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def blocks(path):
    return [(b.titles, b.text, b.first, b.last) for b in read_document(path).blocks]


def test_plain_text_is_paragraphs_with_their_lines(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("\ufeffFirst line\nand second.\n\n\nThird.\n", encoding="utf-8")
    assert read_document(path).title == "notes"
    assert blocks(path) == [((), "First line\nand second.", 1, 2), ((), "Third.", 5, 5)]


def test_markdown_is_blocks_under_headings(tmp_path):
    path = tmp_path / "a.md"
    text = "---\nlayout: x\n---\n# Handbook\nHello.\n\n"
    text += "## Refunds\n- one\n- two\n\n```py\n# no heading\n```\n## Hours\nNine.\n"
    path.write_text(text, encoding="utf-8")
    assert read_document(path).title == "Handbook"
    assert blocks(path) == [
        (("Handbook",), "Hello.", 5, 5),
        (("Handbook", "Refunds"), "- one\n- two", 8, 9),
        (("Handbook", "Refunds"), "```py\n# no heading\n```", 11, 13),
        (("Handbook", "Hours"), "Nine.", 15, 15),
    ]


def test_html_is_what_a_person_reads(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(
        "<html><head><title>Shop</title><style>p{}</style></head><body><nav>Menu</nav>"
        "<h1>Help</h1><div>Loose <b>text</b>"
        "<p>Para &amp; more</p></div><ul><li>a</li><li>b</li></ul><script>x()</script>"
        "<table><tr><th>k</th><td>v</td></tr></table></body></html>",
        encoding="utf-8",
    )
    assert read_document(path).title == "Shop"
    assert [b[:2] for b in blocks(path)] == [
        (("Help",), "Loose text"),
        (("Help",), "Para & more"),
        (("Help",), "- a\n- b"),
        (("Help",), "k | v"),
    ]


def test_html_names_its_encoding(tmp_path):
    path = tmp_path / "a.htm"
    path.write_bytes('<meta charset="iso-8859-1"><p>Bäckerei</p>'.encode("latin-1"))
    assert blocks(path)[0][1] == "Bäckerei"


def test_pdf_is_paragraphs_with_their_pages(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_bytes("Hello there", "", "Bye"))
    assert blocks(path) == [((), "Hello there", 1, 1), ((), "Bye", 3, 3)]
    assert read_document(path).skipped == ("Page 2 has no text.",)


def test_word_is_paragraphs_and_tables_under_headings(tmp_path):
    path = tmp_path / "a.docx"
    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_heading("Refunds", 1)
    document.add_paragraph("Ten days.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "k", "v"
    document.save(str(path))
    assert [b[:2] for b in blocks(path)] == [(("Handbook", "Refunds"), "Ten days."), (("Handbook", "Refunds"), "k | v")]


PYTHON = '''"""Doc."""
import os

X = 1


# About bake.
@cache
def bake(loaf):
    def inner():
        pass
    return "def no(): class No"


class Oven:
    """Hot."""

    def heat(self):
        return 1
'''


def test_python_is_functions_and_classes(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(PYTHON, encoding="utf-8")
    assert [(b[0], b[2], b[3]) for b in blocks(path)] == [
        ((), 1, 4),
        (("bake",), 7, 12),
        (("Oven",), 15, 16),
        (("Oven", "heat"), 18, 19),
    ]


@pytest.mark.parametrize(
    ("name", "text", "titles"),
    [
        ("a.js", "import x;\nfunction bake(a) {\n  return f(a);\n}\nclass Oven {\n  heat() {}\n}\n", ["bake", "Oven"]),
        (
            "a.go",
            "package main\n\nfunc Bake(a int) int {\n\treturn f(a)\n}\n\ntype Oven struct {\n}\n",
            ["Bake", "Oven"],
        ),
        ("a.rs", "fn bake(a: i32) -> i32 {\n    f(a)\n}\nstruct Oven {}\n", ["bake", "Oven"]),
        ("a.java", "public class Oven {\n    int heat() { return f(); }\n}\n", ["Oven"]),
    ],
)
def test_other_languages_have_their_definitions_found(tmp_path, name, text, titles):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = [t for each in blocks(path) for t in each[0]]
    assert [t for t in titles if t in found] == titles
    assert "f" not in found
    assert "".join("".join(b[1].split()) for b in blocks(path)) == "".join(text.split())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n\n", "holds no text"),
        ("a.txt", b"a\x00b", "is not text"),
        ("a.md", "Bäcker".encode("latin-1"), "is not UTF-8"),
        ("a.bin", b"\x7fELF\x00\x00", "is not text"),
        ("a.txt", b"PK\x03\x04xx", "zip archive"),
        ("a.html", b"<p>\x00\x00", "NUL bytes"),
        ("a.pdf", b"%PDF-1.4 nothing", "is damaged, or no PDF"),
        ("a.pdf", pdf_bytes("", ""), "2 pages, none with text; it seems to be scanned"),
        ("a.pdf", pdf_bytes("Secret", password="x"), "is encrypted"),
        ("a.docx", b"PK\x03\x04 nothing", "is damaged, or no .docx"),
        ("a.docx", b"\xd0\xcf\x11\xe0 old", "old form"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, name, data, says):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=says) as raised:
        read_document(path)
    assert raised.value.hint


def test_no_file_is_an_error_and_large_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileFormatError, match="No such file"):
        read_document(tmp_path / "none.txt")
    monkeypatch.setattr("everlearn.corpus.documents.MOST_BYTES", 3)
    (tmp_path / "a.txt").write_text("four")
    with pytest.raises(FileFormatError, match="4 bytes, at most 3"):
        read_document(tmp_path / "a.txt")


def test_a_word_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("everlearn.corpus.word_documents._MOST_UNPACKED_BYTES", 10)
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", "x" * 100)
    with pytest.raises(FileFormatError, match="unpacks to 100 bytes"):
        read_document(tmp_path / "a.docx")


def test_a_folder_is_walked_without_what_nobody_means(tmp_path):
    for name in ("b/z.txt", "a.md", ".git/config", "node_modules/x.js", "b/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [str(p.relative_to(tmp_path)) for p in documents_in(tmp_path)] == ["a.md", "b/z.txt"]
    assert PdfReader(io.BytesIO(pdf_bytes("x"))).pages
