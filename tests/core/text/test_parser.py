"""The process that parses documents: its limits, its end, and what it knows of this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from threading import Thread

import pytest

from documents import pdf
from kando.text._parser import Parser
from kando.text.documents import (
    Document,
    Limits,
    Skipped,
    Unreadable,
    extract_text,
    read_documents,
)

PAGE = b"<html><p>seen"


def heavy_pdf(pages: int) -> bytes:
    """Return a PDF of a few kilobytes whose pages share a stream of a megabyte."""
    stream = zlib.compress(b"BT /F1 12 Tf 20 200 Td " + b"(a line) Tj 0 -1 Td " * 60_000 + b"ET", 9)
    kids = b" ".join(b"%d 0 R" % (5 + number) for number in range(pages))
    page = b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>/Contents 4 0 R>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(stream), stream),
        *[page] * pages,
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\n" % (len(objects) + 1)
    return data + table + trailer + b"startxref\n%d\n%%%%EOF" % len(data)


def child_of(parser: Parser) -> subprocess.Popen[bytes]:
    parser.parse(PAGE)
    assert parser._process is not None
    return parser._process


def test_one_process_parses_many_documents() -> None:
    with Parser() as parser:
        first = child_of(parser).pid
        for _ in range(20):
            assert parser.parse(PAGE).text == "seen"

        assert child_of(parser).pid == first


def test_text_in_utf_8_needs_no_process() -> None:
    with Parser() as parser:
        assert parser.parse("Größe".encode()).text == "Größe"
        assert parser._process is None


def test_a_small_pdf_that_takes_long_is_cut_or_refused_in_time() -> None:
    pytest.importorskip("pypdf")

    try:
        found = extract_text(heavy_pdf(400), limits=Limits(seconds=2))
        reason = found.notes[-1]
        assert len(found.text) <= 1_000_000
    except Unreadable as error:
        reason = str(error)

    assert "2 s" in reason or "1,000,000 characters" in reason


def test_a_page_that_takes_long_is_cut_and_named() -> None:
    page = b"<html><p>seen" + b"<i>a" * 2_000_000

    try:
        reason = extract_text(page, limits=Limits(seconds=1)).notes[-1]
    except Unreadable as error:
        reason = str(error)

    assert reason in ("cut after 1 s", "no text found after 1 s", "took longer than 1 s to read")


def test_memory_is_limited() -> None:
    data = b"<html><p>" + b"x\xe9" * 20_000_000

    with Parser() as parser:
        with pytest.raises(Unreadable, match="needs more than 150 MiB of memory"):
            parser.parse(data, charset="windows-1252", limits=Limits(memory=150 * 1024**2))

        assert parser.parse(PAGE).text == "seen"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_killed_process_costs_its_own_document_only() -> None:
    with Parser() as parser:
        os.kill(child_of(parser).pid, signal.SIGSTOP)
        stopped = child = parser._process
        assert child is not None
        killer = Thread(target=lambda: (time.sleep(0.3), os.kill(child.pid, signal.SIGKILL)))
        killer.start()

        with pytest.raises(Unreadable, match="the process that parsed it was ended by SIGKILL"):
            parser.parse(PAGE)
        killer.join()

        assert parser.parse(PAGE).text == "seen"
        assert parser._process is not stopped


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_process_that_hangs_is_ended_at_the_limit() -> None:
    with Parser() as parser:
        os.kill(child_of(parser).pid, signal.SIGSTOP)

        with pytest.raises(Unreadable, match=r"took longer than 0\.1 s to read"):
            parser.parse(PAGE, limits=Limits(seconds=0.1))

        assert parser.parse(PAGE).text == "seen"


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from kando.text._parser import Parser
        parser = Parser()
        parser.parse(b"<html>x")
        print(parser._process.pid, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    assert ends(pid, within=10)


def ends(pid: int, within: float) -> bool:
    """Whether a process ends in some seconds; one that waits to be reaped has ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_process_is_closed_when_reading_ends(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.html").write_bytes(PAGE)
    reading = read_documents([tmp_path])
    next(reading)

    reading.close()  # type: ignore[attr-defined]

    assert len([each for each in read_documents([tmp_path]) if isinstance(each, Document)]) == 3


def test_documents_are_parsed_in_threads_and_without_a_main_guard(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import threading\n"
        "from kando.text.documents import extract_text\n"
        "def work(): print(extract_text(b'<html><p hidden>no<p>seen').text, flush=True)\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[each.start() for each in threads]\n"
        "[each.join() for each in threads]\n"
    )
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["seen"] * 3


def test_no_module_in_the_folder_of_the_documents_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "html", "pypdf", "sitecustomize", "charset_normalizer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    (tmp_path / "a.html").write_bytes("<html>caf\xe9".encode("cp1252"))
    monkeypatch.chdir(tmp_path)

    found = [each for each in read_documents(["a.html"]) if isinstance(each, Document)]

    assert [each.text for each in found] == ["café"]


def test_keys_and_tokens_stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    with Parser() as parser:
        environment = Path(f"/proc/{child_of(parser).pid}/environ")
        if not environment.exists():
            pytest.skip("no /proc")

        assert b"secret" not in environment.read_bytes()


def test_a_process_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(Unreadable, match="no process to parse it could be started"):
        extract_text(PAGE)


def test_what_a_document_does_to_a_library_does_not_end_the_reading(tmp_path: Path) -> None:
    deep = json.dumps({"nbformat": 4}).removesuffix("}").encode() + b', "cells": ' + b"[" * 100_000
    (tmp_path / "a.ipynb").write_bytes(deep)
    (tmp_path / "b.html").write_bytes(PAGE)
    (tmp_path / "c.pdf").write_bytes(pdf("text")[:150])

    a, b, c = read_documents([tmp_path])

    assert isinstance(a, Skipped)
    assert a.reason.startswith("damaged notebook")
    assert isinstance(b, Document)
    assert isinstance(c, Skipped)
