"""Formats of `kando export` that plugins offer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.app.export import FORMATS

Run = Callable[..., Any]

#: Offers a format whose file names the events of a run.
NAMES = """
    from kando.plugins import ExporterSpec, hookimpl

    def export(run, at):
        yield f"{run.id}\\n".encode()
        for event in run.events(at=at):
            yield f"{event.id}\\n".encode()

    @hookimpl
    def kando_exporters():
        return [ExporterSpec("names", "%s_plugin:export", ("names", "ids"), "Names of events")]
"""


@pytest.fixture
def names(install: Callable[[str, str], Path]) -> None:
    """Install a plugin that offers the format ``names``."""
    install("names", NAMES % "names")


@pytest.mark.parametrize("options", [["run.names"], ["run.ids"], ["run.txt", "--format", "names"]])
@pytest.mark.usefixtures("names")
def test_a_plugin_writes_a_format_that_the_option_or_the_extension_names(
    kando: Run, tmp_path: Path, options: list[str]
) -> None:
    done = kando("export", "demo@2", "-o", *options)

    assert done.stdout.startswith("exported: 2 events")
    names = (tmp_path / options[0]).read_text().split()
    assert names == ["demo", "object.created-0", "object.created-1"]


@pytest.mark.usefixtures("names")
def test_the_formats_of_plugins_are_listed(kando: Run) -> None:
    assert "names" in kando("plugins").stdout
    assert "exporter" in kando("plugins").stdout
    assert "names" in kando("export", "demo", "-o", "out", "--format", "pdf").stderr


@pytest.mark.usefixtures("names")
def test_an_extension_that_two_plugins_claim_needs_the_option(
    kando: Run, install: Callable[[str, str], Path], tmp_path: Path
) -> None:
    install("other", NAMES % "other")

    refused = kando("export", "demo", "-o", "run.names")
    chosen = kando("export", "demo", "-o", "run.names", "--format", "other/names")

    assert refused.returncode == 2
    assert "--format other/names" in refused.stderr
    assert (chosen.returncode, (tmp_path / "run.names").exists()) == (0, True)


@pytest.mark.parametrize(
    ("name", "form"), [("run.svg", "svg"), ("run.DOT", "dot"), ("run.mmd", "mermaid")]
)
def test_the_extension_names_a_format(kando: Run, tmp_path: Path, name: str, form: str) -> None:
    kando("export", "demo", "-o", name)
    kando("export", "demo", "-o", "other", "--format", form)

    assert (tmp_path / name).read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("name", ["run.jsonl", "run", "run.txt", ".svg"])
def test_a_file_of_another_name_is_json_lines(kando: Run, tmp_path: Path, name: str) -> None:
    kando("export", "demo", "-o", name)

    assert json.loads((tmp_path / name).read_text().splitlines()[0])["kando"] == "ledger"


@pytest.mark.parametrize("options", [["run.html"], ["run", "--format", "html"]])
def test_a_page_needs_a_package_that_the_error_names(
    kando: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str]
) -> None:
    monkeypatch.setenv("KANDO_DISABLE_PLUGINS", "kando-inspector")

    done = kando("export", "demo", "-o", *options)

    assert done.returncode == 2
    assert "pip install kando-inspector" in done.stderr
    assert not (tmp_path / options[0]).exists()


def test_an_unknown_format_names_the_known_ones(kando: Run) -> None:
    done = kando("export", "demo", "-o", "out", "--format", "pdf")

    assert done.returncode == 2
    assert all(form in done.stderr for form in FORMATS)
