"""The files of the page: complete, up to date, and without anything that its policy forbids."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

STATIC = Path(str(files("kando_inspector") / "static"))
PAGE = Path(__file__).parents[2] / "kando-inspector" / "page"
BUILT = ("app.css", "app.js", "index.html", "licences.txt")


@pytest.mark.parametrize("name", BUILT)
def test_the_page_is_built(name: str) -> None:
    assert (STATIC / name).stat().st_size > 0


def test_the_package_holds_no_source_map() -> None:
    assert not [each for each in STATIC.iterdir() if each.suffix == ".map"]
    for name in ("app.js", "app.css"):
        assert "sourceMappingURL" not in (STATIC / name).read_text("utf-8")


def test_the_page_has_no_inline_script_or_style() -> None:
    html = (STATIC / "index.html").read_text("utf-8")
    assert re.findall(r"<script[^>]*>", html) == ['<script src="app.js">']
    assert "<style" not in html
    assert not re.search(r"\s(on\w+|style)=", html)


def test_the_page_names_no_address_that_it_could_load_from() -> None:
    for name in ("app.css", "index.html"):
        text = (STATIC / name).read_text("utf-8")
        assert not re.search(r"(?:url\(|src=|href=)[\"']?(?:https?:)?//", text)
    assert "innerHTML" not in _own_sources()


def test_the_licence_of_each_library_is_listed() -> None:
    text = (STATIC / "licences.txt").read_text("utf-8")
    assert re.search(r"^preact \d+\.\d+\.\d+ \(MIT\)$", text, re.MULTILINE)
    assert "Permission is hereby granted" in text


@pytest.mark.skipif(
    shutil.which("node") is None or not (PAGE / "node_modules" / "esbuild").exists(),
    reason="needs node and the build tools of the page: make page",
)
def test_the_built_page_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run(["node", "build.mjs", "--out", str(tmp_path)], cwd=PAGE, check=True, timeout=300)
    for name in BUILT:
        built = (tmp_path / name).read_bytes()
        assert built == (STATIC / name).read_bytes(), f"{name} is stale: run `make page`"


def _own_sources() -> str:
    return "\n".join(each.read_text("utf-8") for each in (PAGE / "src").rglob("*.ts*"))
