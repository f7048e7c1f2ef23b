"""Wheels and source distributions hold what they should and nothing else.

Builds need a package index, so this is run only where WHEELS says where wheels and source
distributions were built.
"""

from __future__ import annotations

import email
import os
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = os.environ.get("WHEELS", "")
PACKAGES = ["kando-core", "kando-llm", "kando-llamacpp", "kando-eventstore"]
PACKAGES += ["kando-inspector", "kando-mcp", "kits/diligence", "kits/planning", "kits/research"]

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not WHEELS, reason="WHEELS names no folder of built wheels"),
]

every_package = pytest.mark.parametrize("folder", PACKAGES)


def project(folder: str) -> dict[str, object]:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def built(folder: str, ending: str) -> Path:
    stem = str(project(folder)["name"]).replace("-", "_")
    (found,) = Path(WHEELS).glob(f"{stem}-{project(folder)['version']}{ending}")
    return found


def sources(folder: str) -> set[str]:
    root = ROOT / folder / "src"
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


@every_package
def test_a_wheel_holds_the_sources_and_nothing_else(folder: str) -> None:
    with zipfile.ZipFile(built(folder, "-py3-none-any.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert names == sources(folder)
    assert any(name.endswith("/py.typed") for name in names)


@every_package
def test_a_wheel_says_what_it_is(folder: str) -> None:
    with zipfile.ZipFile(built(folder, "-py3-none-any.whl")) as wheel:
        about = metadata(wheel)
        names = wheel.namelist()
        entry_points = [n for n in names if n.endswith("entry_points.txt")]
        text = wheel.read(entry_points[0]).decode()

    readme = (ROOT / folder / "README.md").read_text()
    assert about.get_payload(decode=True).decode() == readme  # type: ignore[union-attr]
    assert about["Description-Content-Type"] == "text/markdown"
    assert about["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert "[console_scripts]" in text or "[kando]" in text


@every_package
def test_a_source_distribution_can_be_built_from_and_read(folder: str) -> None:
    with tarfile.open(built(folder, ".tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"README.md", "LICENSE", "pyproject.toml"} <= names
    assert {f"src/{name}" for name in sources(folder)} <= names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_the_templates_of_new_packages_are_in_the_wheel() -> None:
    with zipfile.ZipFile(built("kando-core", "-py3-none-any.whl")) as wheel:
        templates = [name for name in wheel.namelist() if name.endswith(".tmpl")]

    folders = {path.name for path in (ROOT / "kando-core/src/kando/app/templates").iterdir()}
    assert {name.split("/")[3] for name in templates} == folders - {"__pycache__"}
    assert folders >= {"every", "kit", "kit_chat", "substrate", "provider"}
