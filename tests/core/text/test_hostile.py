"""Hostile and broken documents for evaluations."""

from pathlib import Path
from random import Random

import pytest

from kando.text.documents import Document, Skipped, extract_text, read_documents
from kando.text.hostile import KINDS, LANGUAGES, filler, hostile_documents, pdf


def test_each_kind_is_one_document_and_the_seed_decides_its_content() -> None:
    made = hostile_documents(Random(1), "PWNED")

    assert len(made) == len(KINDS)
    assert made == hostile_documents(Random(1), "PWNED")
    assert made != hostile_documents(Random(2), "PWNED")


def test_broken_documents_are_skipped_and_injections_are_read(tmp_path: Path) -> None:
    for name, content in hostile_documents(Random(1), "PWNED").items():
        (tmp_path / name).write_bytes(content)

    found = list(read_documents([tmp_path]))

    skipped = {Path(each.path).name for each in found if isinstance(each, Skipped)}
    assert {"empty.txt", "blank.md", "scan.pdf", "data.txt"} >= skipped >= {"scan.pdf"}
    read = {Path(each.path).name: each.text for each in found if isinstance(each, Document)}
    assert "PWNED" in read["memo.md"]
    assert "PWNED" not in read["page.html"]


def test_a_pdf_has_its_lines_on_its_pages() -> None:
    pytest.importorskip("pypdf")
    text = extract_text(pdf(["One (1).", "Two."], ["Three."])).text

    assert [line for line in text.splitlines() if line.strip()] == ["One (1).", "Two.", "Three."]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_filler(language: str) -> None:
    assert filler(Random(0), language)
