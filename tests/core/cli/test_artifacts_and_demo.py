"""`kando artifacts`, and `kando run --demo`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

WRITER = """
    from kando.emit import ask, create
    from kando.kit import Demo, Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("writer", version="1", demo=Demo("writer_package", "Write two"))

    @kit.seeds
    def seeds(goal, run_id):
        data = {"type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Goal")
    def on_goal(event, world):
        yield ask([{"role": "user", "content": event.data["data"]["text"]}], about=event)

    @kit.responder("llm.response", type="Goal")
    def on_answer(event, world):
        for word in event.data["text"].split():
            data = {"name": f"{word}.md", "media_type": "text/markdown"}
            yield create("Page", data | {"text": f"# {word}\\\\n\\\\x1b[2Jend\\\\ttab"})

    @hookimpl
    def kando_kits():
        return [KitSpec("writer", "writer_plugin:kit", "writes pages")]
"""


@pytest.fixture
def writer(install: Callable[[str, str], Path], tmp_path: Path) -> None:
    demo = tmp_path / "site" / "writer_package" / "demo"
    (demo / "documents").mkdir(parents=True)
    (demo.parent / "__init__.py").touch()
    (demo / "documents" / "a.md").write_text("Invented.")
    script = {"answers": [{"contains": "two", "text": "one other"}], "default": "only"}
    (demo / "answers.json").write_text(json.dumps(script))
    install("writer", WRITER.replace("\\\\", "\\"))


pytestmark = pytest.mark.usefixtures("writer")


def test_a_demo_needs_no_goal_no_key_and_no_provider(kando: Run) -> None:
    done = kando("run", "writer", "--demo")

    assert done.returncode == 0, done.stderr
    status = json.loads(kando("status", "@last", "--json").stdout)
    assert (status["state"], status["goal"]) == ("finished", "Write two")
    assert status["objects"] == {"Document": 1, "Goal": 1, "Page": 2}


def test_a_demo_asks_no_provider_whose_key_is_set(
    kando: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANDO_LLM", "nobody")

    assert kando("run", "writer", "--demo").returncode == 0
    assert kando("run", "writer", "--demo", "--llm", "nobody").returncode == 3


def test_a_branch_of_a_demo_continues_as_a_demo(
    kando: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kando("run", "writer", "--demo", "--goal", "Say it")
    kando("fork", "@last", "--at", "3")
    monkeypatch.setenv("KANDO_LLM", "nobody")

    assert kando("resume", "@last").returncode == 0
    assert kando("diff", "@last~1", "@last").stdout == "no changes\n"


def test_without_a_demo_the_goal_is_needed_and_a_kit_without_one_says_so(
    kando: Run, tiny: Path
) -> None:
    assert kando("run", "writer").returncode == 2
    refused = kando("run", "tiny", "--demo")
    assert refused.returncode == 3
    assert "Kit 'tiny' has no demo" in refused.stderr
    assert json.loads(kando("runs", "--json").stdout)["items"] == []


def test_the_only_artifact_is_printed_with_control_characters_escaped(kando: Run) -> None:
    kando("run", "writer", "--demo", "--goal", "one")

    assert kando("artifacts", "@last").stdout == "# only\n\\u001b[2Jend tab\n"
    (listed,) = json.loads(kando("artifacts", "@last", "--json").stdout)["items"]
    assert (listed["name"], listed["object_type"]) == ("only.md", "Page")
    assert listed["text"] == "# only\n\x1b[2Jend\ttab"


def test_an_artifact_is_written_through_a_link_and_to_stdout(kando: Run, tmp_path: Path) -> None:
    kando("run", "writer", "--demo", "--goal", "one")
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")

    assert kando("artifacts", "@last", "-o", "link").returncode == 0
    done = kando("artifacts", "@last", "-o", "-")

    assert (tmp_path / "link").is_symlink()
    assert done.stdout == (tmp_path / "target").read_text() == "# only\n\x1b[2Jend\ttab"


def test_several_artifacts_are_listed_and_each_is_printed_by_its_name_or_id(kando: Run) -> None:
    kando("run", "writer", "--demo")

    listed = kando("artifacts", "@last").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "one.md", "other.md"]
    assert kando("artifacts", "@last", "one.md").stdout.startswith("# one\n")
    assert kando("artifacts", "@last", listed[2].split()[-1]).stdout.startswith("# other\n")
    assert json.loads(kando("artifacts", "@last", "one.md", "--json").stdout)["name"] == "one.md"


def test_a_file_gets_the_unchanged_text(kando: Run, tmp_path: Path) -> None:
    kando("run", "writer", "--demo")
    target = tmp_path / "out.md"

    done = kando("artifacts", "@last", "one.md", "-o", target)

    assert (done.returncode, done.stdout) == (0, "")
    assert target.read_bytes() == b"# one\n\x1b[2Jend\ttab"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["@last", "none.md"], 3, "one.md, other.md"),
        (["@last", "-o", "x.md"], 3, "Name one of: one.md, other.md"),
        (["@last", "one.md", "-o", "no/such/folder.md"], 2, "no/such/folder.md"),
        (["@last@3"], 3, "has written no artifact"),
        (["nobody"], 3, "nobody"),
    ],
)
def test_a_missing_artifact_or_folder_is_an_error_with_a_cure(
    kando: Run, arguments: list[str], code: int, says: str
) -> None:
    kando("run", "writer", "--demo")

    done = kando("artifacts", *arguments)

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stdout == ""


def test_an_artifact_is_written_as_a_page(kando: Run, tmp_path: Path) -> None:
    kando("run", "writer", "--demo", "--goal", "one")

    printed = kando("artifacts", "@last", "--format", "html").stdout
    kando("artifacts", "@last", "--format", "html", "-o", str(tmp_path / "a.html"))

    assert "<h1>only</h1>" in printed
    assert (tmp_path / "a.html").read_text() == printed
    assert kando("artifacts", "@last", "--format", "html", "--json").returncode == 2
