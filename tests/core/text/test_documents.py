"""Reading input files: which become documents, which are skipped and why, and how texts are split."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import pdf, zipped
from kando.text.documents import (
    MAX_PART_CHARS,
    Document,
    Passage,
    Skipped,
    passages,
    read_documents,
)

OFFICE_CURE = "Office support is not installed: pip install 'kando-core[office]'"

texts = st.text(
    st.one_of(st.sampled_from(" \n\t.!?#-=`~a。』\r\u00a0\u2028"), st.characters()), max_size=400
)


def read(*paths: str | Path) -> list[Document | Skipped]:
    return list(read_documents(paths))


def read_bytes(folder: Path, name: str, data: bytes) -> Document | Skipped:
    path = folder / name
    path.write_bytes(data)
    (found,) = read(path)
    return found


def text_of(found: Document | Skipped) -> str:
    assert isinstance(found, Document), found
    return found.text


def reason_of(found: Document | Skipped) -> str:
    assert isinstance(found, Skipped), found
    return found.reason


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, so that paths can be relative."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Fields of a document


def test_a_document_carries_the_path_as_named_and_the_hash_of_the_raw_bytes(here: Path) -> None:
    data = b"\xef\xbb\xbfone\r\ntwo\rthree\n"
    (here / "note.md").write_bytes(data)

    assert read("./note.md") == [
        Document(
            path="./note.md",
            sha256=hashlib.sha256(data).hexdigest(),
            media_type="text/markdown",
            text="one\ntwo\nthree\n",
        )
    ]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.txt", "text/plain"),
        ("a.RST", "text/plain"),
        ("a.csv", "text/plain"),
        ("a.markdown", "text/markdown"),
        ("a.HTM", "text/html"),
        ("a.unheard-of", "text/plain"),
        ("README", "text/plain"),
    ],
)
def test_a_named_file_has_the_media_type_of_its_suffix_or_is_tried_as_text(
    tmp_path: Path, name: str, media_type: str
) -> None:
    found = read_bytes(tmp_path, name, b"text")

    assert isinstance(found, Document)
    assert found.media_type == media_type


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf_8_and_utf_16_with_a_byte_order_mark_are_read(tmp_path: Path, encoding: str) -> None:
    found = read_bytes(tmp_path, "a.txt", "কাণ্ড 🙂".encode(encoding))

    assert text_of(found) == "কাণ্ড 🙂"


@pytest.mark.parametrize("name", ["a.txt", "a.html"])
def test_terminal_escapes_and_control_characters_are_removed_from_a_text(
    tmp_path: Path, name: str
) -> None:
    data = "\x1b]0;owned\x07a \x1b[1;31mred\x1b[0m \x9b2Jb\x00\x08\x7f\x85c"

    text = text_of(read_bytes(tmp_path, name, data.encode()))

    assert text.split() == ["a", "red", "b", "c"]


def test_unprintable_characters_of_a_file_name_are_escaped(here: Path) -> None:
    (here / "a\x1b[2J.txt").write_text("text")

    assert [found.path for found in read("a\x1b[2J.txt")] == ["a\\x1b[2J.txt"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff", "unknown type: PNG image"),
        (b"\x7f\0\1\2\xff\xfe\xfd\0", "binary file"),
        (bytes(range(256)), "binary file"),
        (b"PK\3\4 an archive that is cut", "unknown type: ZIP archive"),
        (b"{\\rtf1 text}", "unknown type: RTF"),
        (
            zipped({"mimetype": "application/vnd.oasis.opendocument.text"}),
            "unknown type: OpenDocument",
        ),
    ],
)
def test_a_file_without_readable_text_is_skipped_with_the_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    assert reason_of(read_bytes(tmp_path, "a.txt", data)) == reason


# Long texts


@pytest.mark.parametrize("character", ["x", "🙂", '"'])
def test_a_long_text_is_split_into_parts_that_fit_into_an_event(
    tmp_path: Path, character: str
) -> None:
    text = f"{character * 99}\n" * 5_000

    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    parts = [found for found in read(tmp_path / "long.txt") if isinstance(found, Document)]

    assert "".join(part.text for part in parts) == text
    assert [(part.part, part.parts) for part in parts] == [
        (number, len(parts)) for number in range(1, len(parts) + 1)
    ]
    for part in parts:
        assert len(part.text) <= MAX_PART_CHARS
        assert len(msgspec.json.encode(part.text)) <= 700 * 1024
        assert part.text.endswith("\n")


def test_five_megabytes_without_a_boundary_are_read_in_full(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 5_000_000)

    parts = [text_of(found) for found in read(tmp_path / "long.txt")]

    assert [len(part) for part in parts] == [MAX_PART_CHARS] * 25


def test_a_part_ends_after_a_paragraph_when_there_is_one(tmp_path: Path) -> None:
    paragraph = "line\n" * 100 + "\n"
    (tmp_path / "long.txt").write_text(paragraph * 500)

    parts = [text_of(found) for found in read(tmp_path / "long.txt")]

    assert len(parts) > 1
    assert all(part.endswith("\n\n") for part in parts)


def test_a_file_over_the_limit_is_skipped(tmp_path: Path) -> None:
    with open(tmp_path / "huge.txt", "wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)

    (found,) = read(tmp_path / "huge.txt")

    assert reason_of(found) == "larger than 50 MiB"


# Files that are not files


@pytest.mark.parametrize("path", ["missing.txt", "", "nul\0.txt", "half\ud800.txt", "a.txt/b.txt"])
def test_a_path_that_does_not_exist_is_skipped(here: Path, path: str) -> None:
    (here / "a.txt").write_text("text")

    (found,) = read(path)

    assert reason_of(found) == "no such file"
    msgspec.json.encode(found.path)


def test_a_pipe_is_skipped_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")

    assert [reason_of(found) for found in read(tmp_path / "pipe.txt", tmp_path)] == [
        "not a regular file"
    ]


def test_devices_and_sockets_are_skipped(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")

        assert [reason_of(found) for found in read("/dev/null", "socket")] == [
            "not a regular file"
        ] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_and_a_folder_without_permission_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "b").chmod(0)

    found = read(tmp_path)
    (tmp_path / "b").chmod(0o700)

    assert [reason_of(each) for each in found] == ["permission denied"] * 2


def test_a_symlink_to_itself_is_skipped(here: Path) -> None:
    (here / "loop.txt").symlink_to("loop.txt")

    assert read("loop.txt") == [Skipped("loop.txt", "symlink loop")]


# Folders


def test_a_folder_is_read_in_the_order_of_the_paths_in_it(here: Path) -> None:
    for name in ["docs/b.txt", "docs/a/z.txt", "docs/a.txt", "docs/a-b.txt"]:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)

    paths = [found.path for found in read("docs/", "./docs/a")]

    assert paths == ["docs/a-b.txt", "docs/a.txt", "docs/a/z.txt", "docs/b.txt"]


def test_inputs_come_in_the_order_they_are_named(here: Path) -> None:
    for name in "abc":
        (here / name).write_text(name)

    assert [found.path for found in read("b", here / "c", "a")] == ["b", f"{here}/c", "a"]


def test_hidden_files_and_packages_in_a_folder_are_named_and_read_only_if_given(
    here: Path,
) -> None:
    hidden = [".git", ".hidden.txt", "__pycache__", "node_modules"]
    names = [".hidden.txt", ".git/a.txt", "__pycache__/a.txt", "node_modules/a.md"]
    for name in names:
        (here / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "top" / name).write_text(name)

    assert read("top") == [
        Skipped("top/.git", "hidden folder, read only if it is named"),
        Skipped("top/.hidden.txt", "hidden file, read only if it is named"),
        Skipped("top/__pycache__", "folder, read only if it is named"),
        Skipped("top/node_modules", "folder, read only if it is named"),
    ]
    found = read("top", *(f"top/{name}" for name in names))
    assert [text_of(each) for each in found[len(hidden) :]] == names


def test_files_without_a_suffix_are_read_by_their_content(here: Path) -> None:
    (here / "Makefile").write_text("all:")
    (here / "page").write_text("<!doctype html><p hidden>no<p>seen")
    (here / "report.txt").write_text("\n<!-- x --><html><p>seen too")
    (here / "note.html").write_text("%PDF is a format.")

    found = [each for each in read(".") if isinstance(each, Document)]

    assert [(each.path, each.media_type, each.text) for each in found] == [
        ("./Makefile", "text/plain", "all:"),
        ("./note.html", "text/html", "%PDF is a format."),
        ("./page", "text/html", "seen"),
        ("./report.txt", "text/html", "seen too"),
    ]


def test_unknown_types_in_a_folder_are_named(here: Path) -> None:
    (here / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    (here / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))

    assert read(".") == [
        Skipped("./old.doc", "unknown type: Office document in the old or an encrypted format"),
        Skipped("./photo.jpg", "unknown type: JPEG image"),
    ]


def test_a_file_reached_twice_is_read_once(here: Path) -> None:
    (here / "docs").mkdir()
    (here / "docs/a.txt").write_text("a")
    (here / "docs/b.txt").symlink_to("a.txt")

    found = read("docs/a.txt", here / "docs", "docs", "docs/b.txt")

    assert [each.path for each in found] == ["docs/a.txt"]


def test_symlinks_that_leave_the_folder_are_skipped_and_those_that_stay_are_followed(
    here: Path,
) -> None:
    (here / "outside").mkdir()
    (here / "outside/secret.txt").write_text("secret")
    (here / "docs/.data").mkdir(parents=True)
    (here / "docs/.data/a.txt").write_text("a")
    (here / "docs/a.txt").symlink_to(".data/a.txt")
    (here / "docs/b.txt").symlink_to(here / "outside/secret.txt")
    (here / "docs/c").symlink_to(here / "outside")

    hidden, a, b, c = read("docs")

    assert hidden == Skipped("docs/.data", "hidden folder, read only if it is named")
    assert text_of(a) == "a"
    assert b == Skipped("docs/b.txt", "symlink that leaves the folder")
    assert c == Skipped("docs/c", "symlink that leaves the folder")


def test_a_symlink_to_a_folder_around_it_is_skipped(here: Path) -> None:
    (here / "docs/a").mkdir(parents=True)
    (here / "docs/a/up").symlink_to("..")
    (here / "docs/b.txt").write_text("b")

    loop, b = read("docs")

    assert loop == Skipped("docs/a/up", "symlink loop")
    assert text_of(b) == "b"


def test_folders_that_link_to_each_other_are_entered_once(here: Path) -> None:
    for number in range(40):
        (here / f"docs/{number}").mkdir(parents=True)
        for name in "ab":
            (here / f"docs/{number}/{name}").symlink_to(f"../{number + 1}")
    (here / "docs/40").mkdir()
    (here / "docs/40/note.txt").write_text("note")

    assert [text_of(found) for found in read("docs")] == ["note"]


def test_folders_nested_deeper_than_the_recursion_limit_are_read(here: Path) -> None:
    depth = 1_200
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("deep.txt").write_text("deep")
    os.chdir(here)

    (found,) = read("d")

    assert text_of(found) == "deep"
    # The removal of the folder may not be able to go as deep.
    os.chdir("/".join(["d"] * depth))
    os.remove("deep.txt")
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("d")


# HTML


def test_only_the_visible_text_of_a_web_page_is_read(tmp_path: Path) -> None:
    page = b"""<!DOCTYPE html><html><head><title>The  title</title><style>p {}</style>
        <script>if (a < b) { alert("<p>no</p>") }</script></head>
        <body><h1>Head&amp;line</h1><p>One <b>bold</b>
        word&#33;<p hidden>no<p>Two<br>lines<!-- no --><template><p>no</p></template>
        <ul><li>first<li>second</ul><table><tr><td>1<td>2<tr><td>3<td>4</table>
        <pre>  kept
    as is</pre><script>no"""

    assert text_of(read_bytes(tmp_path, "a.html", page)) == (
        "The title\n\nHead&line\n\nOne bold word!\n\nTwo\nlines\n\nfirst\nsecond\n\n"
        "1\t2\n3\t4\n\n  kept\n    as is"
    )


@pytest.mark.parametrize(
    "page",
    [
        "<head><title>t</title><body>seen",
        "<head><title>t</title>seen",
        "<title>t</title></head></div></p>seen",
        "<![if IE]><![unknown[ x><title>t</title><p>seen",
        "<head><title>t</title></head><body>seen<a href='",
    ],
)
def test_malformed_pages_are_read(tmp_path: Path, page: str) -> None:
    assert text_of(read_bytes(tmp_path, "a.html", page.encode())).split() == ["t", "seen"]


@pytest.mark.parametrize("unclosed", ["<a ", "<!--", '<a x=">" ', "</", "<?", "<div>", "<b></i>"])
def test_a_page_of_unclosed_markup_is_read_in_reasonable_time(
    tmp_path: Path, unclosed: str
) -> None:
    page = "<p>seen" + unclosed * 50_000

    assert text_of(read_bytes(tmp_path, "a.html", page.encode())) == "seen"


def test_a_page_without_visible_text_is_skipped(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, "a.html", b"<script>1</script>")

    assert reason_of(found) == "HTML without visible text"


# PDF


def test_the_pages_of_a_pdf_are_separated_by_a_blank_line(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")

    found = read_bytes(tmp_path, "a.pdf", pdf("First page.", "Second page."))

    assert text_of(found) == "First page.\n\nSecond page."
    assert isinstance(found, Document)
    assert found.media_type == "application/pdf"


def test_damaged_and_textless_pdfs_are_skipped_without_output_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pypdf")

    damaged = read_bytes(tmp_path, "damaged.pdf", pdf("text")[:200])
    scanned = read_bytes(tmp_path, "scanned.pdf", pdf(""))

    assert reason_of(damaged).startswith("damaged PDF")
    assert reason_of(scanned).startswith("PDF without text")
    assert reason_of(read_bytes(tmp_path, "empty.pdf", b"")) == "empty"
    assert capfd.readouterr() == ("", "")


def test_an_encrypted_pdf_is_skipped_unless_it_opens_without_a_password(tmp_path: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    (tmp_path / "plain.pdf").write_bytes(pdf("text"))
    for name, password in [("locked.pdf", "secret"), ("restricted.pdf", "")]:
        writer = pypdf.PdfWriter(clone_from=tmp_path / "plain.pdf")
        writer.encrypt(password, "owner", algorithm="RC4-128")
        writer.write(tmp_path / name)

    locked, restricted = read(tmp_path / "locked.pdf", tmp_path / "restricted.pdf")

    assert reason_of(locked) == "encrypted PDF"
    assert text_of(restricted) == "text"


def test_pages_of_a_pdf_without_text_are_noted(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")

    found = read_bytes(tmp_path, "a.pdf", pdf("One.", "", "", "Four.", ""))

    assert isinstance(found, Document)
    assert found.notes == ["no text on pages 2-3, 5"]


@pytest.mark.parametrize(
    ("name", "data", "cure"),
    [
        ("a.pdf", pdf("text"), "PDF support is not installed: pip install 'kando-core[pdf]'"),
        ("a.docx", zipped({"word/document.xml": "<a/>"}), OFFICE_CURE),
        ("a.pptx", zipped({"ppt/presentation.xml": "<a/>"}), OFFICE_CURE),
        ("a.xlsx", zipped({"xl/workbook.xml": "<a/>"}), OFFICE_CURE),
    ],
)
def test_without_the_library_of_a_format_a_file_is_skipped_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, cure: str
) -> None:
    # The parsing process searches where this one does.
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])

    assert reason_of(read_bytes(tmp_path, name, data)) == cure


# Passages


def quoted(text: str, max_chars: int) -> list[str]:
    return [passage.text for passage in passages(text, max_chars)]


@given(texts, st.integers(1, 60))
def test_passages_are_exact_and_short_and_cover_every_visible_character_once(
    text: str, max_chars: int
) -> None:
    found = passages(text, max_chars)

    for passage in found:
        assert text[passage.start : passage.end] == passage.text
        assert passage.text.strip()
        assert len(passage.text) <= max_chars
    starts = [passage.start for passage in found]
    ends = [passage.end for passage in found]
    between = zip([0, *ends], [*starts, len(text)], strict=True)
    assert all(end <= start and not text[end:start].strip() for end, start in between)


def test_short_paragraphs_share_a_passage_and_longer_ones_are_split_between_paragraphs() -> None:
    text = "One.\n\nTwo.\n\n\nThree is longer.\n"

    assert passages(text) == [Passage(0, 29, text.strip())]
    assert quoted(text, 16) == ["One.\n\nTwo.", "Three is longer."]


@pytest.mark.parametrize("heading", ["# Next", "   ### Next", "Next\n====", "Next\n---"])
def test_a_markdown_heading_begins_a_passage(heading: str) -> None:
    assert quoted(f"Before.\n\n{heading}\n\nAfter.", 1200) == [
        "Before.",
        f"{heading.strip()}\n\nAfter.",
    ]


def test_a_comment_in_a_code_block_is_not_a_heading() -> None:
    text = "```sh\n# comment\nls\n```\n# Heading\nText."

    assert quoted(text, 1200) == ["```sh\n# comment\nls\n```", "# Heading\nText."]


def test_a_long_paragraph_is_split_after_sentences_then_lines_then_words_then_anywhere() -> None:
    assert quoted("It costs 1.5. Is it? “Yes.” So.", 16) == [
        "It costs 1.5.",
        "Is it? “Yes.”",
        "So.",
    ]
    assert quoted("一二三。四五。六", 5) == ["一二三。", "四五。六"]
    assert quoted("a,b c\nd,e f\ng,h i", 12) == ["a,b c\nd,e f", "g,h i"]
    assert quoted("one two three", 8) == ["one two", "three"]
    assert quoted("abcdefgh", 3) == ["abc", "def", "gh"]


def test_a_blank_text_has_no_passages() -> None:
    assert passages("") == passages(" \n\t\n") == []


def test_a_maximum_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        passages("text", 0)
