"""The examples of the documentation run, and its references are complete."""

import importlib
import pkgutil
import re
from pathlib import Path

import attrs
import click
import pytest

from doc_examples import Page, anchors_in, blocks_in, code_spans_in, links_in, match
from kando.app.status import RunStatus
from kando.cli.exit_codes import EXIT_CODES, report
from kando.cli.main import cli
from kando.cli.plugin_commands import plugin_commands
from kando.errors import KandoError
from kando.schema import events

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LANGUAGES = {"console", "html", "json", "markdown", "python", "text", "toml"}
# Options that each command may have, described once for all.
COMMON = {"-q", "--debug", "--json", "--ledger", "--prefer", "--quiet"}
# A statement of plugins, and a variable that shell completion sets: not settings of Kando.
NO_SETTINGS = {"KANDO_COMPLETE", "KANDO_PLUGIN_API"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def rows_in(markdown: str) -> list[list[str]]:
    """Return the cells of a page's tables."""
    lines = re.findall(r"^\| (.*) \|$", markdown, re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def sections_of(markdown: str) -> dict[str, str]:
    parts = re.split(r"^#{2,3} (.+)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options_of(command: click.Command) -> set[str]:
    parameters = [each for each in command.params if isinstance(each, click.Option)]
    return {name for each in parameters for name in (*each.opts, *each.secondary_opts)}


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def command_named(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    return command


# Those of plugins are described by their packages.
COMMANDS = [
    each for each in cli.list_commands(click.Context(cli)) if each not in plugin_commands(set())
]


@every_page
def test_every_example_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    with Page(page, tmp_path) as running:
        running.run()


@every_page
def test_every_block_names_its_language(page: Path) -> None:
    for block in blocks_in(page.read_text()):
        assert block.language in LANGUAGES, f"{page.name}:{block.line}"
    assert page.read_text().count("\n```") == 2 * len(blocks_in(page.read_text()))


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links_in(page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_in(target.read_text()), link
        if page.parent != ROOT:
            assert DOCS in target.resolve().parents, f"{link} leaves docs/"


def test_every_page_can_be_reached_from_the_first() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            names = [link.partition("#")[0] for link in links_in(page.read_text())]
            waiting += [(page.parent / name).resolve() for name in names if name.endswith(".md")]

    assert reached == set(PAGES) - {ROOT / "README.md"}


@every_page
def test_every_command_that_is_mentioned_exists_with_its_options(page: Path) -> None:
    for span in code_spans_in(page.read_text()):
        words = span.split()
        if words[0] != "kando" or len(words) == 1 or words[1] == "COMMAND":
            continue
        known, rest = options_of(cli) | {"-h", "--help"}, words[1:]
        if not rest[0].startswith("-"):
            known |= options_of(command_named(rest[0]))
        assert options_in(" ".join(rest)) <= known, span


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_in_the_reference_with_its_usage_and_all_its_options(name: str) -> None:
    section = sections_of((REFERENCE / "cli.md").read_text())[f"kando {name}"]
    command = command_named(name)
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))

    assert blocks_in(section)[0].text == f"kando {name} {usage}\n"
    described = {each for row in rows_in(section) for each in options_in(row[0])}
    assert described == options_of(command) - COMMON
    assert "--json" in options_of(command)


def test_the_reference_has_no_other_command_and_the_common_options() -> None:
    sections = sections_of((REFERENCE / "cli.md").read_text())

    commands = [title.removeprefix("kando ") for title in sections if title.startswith("kando ")]
    assert sorted(commands) == sorted(COMMANDS)
    common = " ".join(row[0] for row in rows_in(sections["Options of every command"]))
    assert options_in(common) == options_of(cli) | COMMON | {"-h", "--help"}


def test_the_reference_has_every_exit_code_and_every_field_of_a_state() -> None:
    sections = sections_of((REFERENCE / "cli.md").read_text())

    codes = {int(row[0]): row[1] for row in rows_in(sections["Exit codes"]) if row[0].isdecimal()}
    assert codes == EXIT_CODES
    rows = rows_in(sections["State of a run"])
    fields = [name for row in rows for name in names_in(row[0])]
    assert fields == [field.name for field in attrs.fields(RunStatus)]


def test_the_reference_has_every_environment_variable() -> None:
    sources = list(ROOT.glob("kando-*/src/**/*.py"))
    named = {
        name
        for path in sources
        for name in re.findall(
            r"\b(?:KANDO_[A-Z_]+|[A-Z]+_API_KEY|EVENTSTORE_URL)\b", path.read_text()
        )
    }
    section = sections_of((REFERENCE / "cli.md").read_text())["Environment variables"]
    described = {name for row in rows_in(section) for name in names_in(row[0])}

    assert described == named - NO_SETTINGS


def test_the_reference_has_every_event_type_and_no_other() -> None:
    words = {getattr(events, name) for name in events.__all__ if name.isupper()}
    constants = {word for word in words if isinstance(word, str) and "." in word}
    titles = re.findall(r"^### `(.+)`$", (REFERENCE / "events.md").read_text(), re.MULTILINE)

    assert sorted(titles) == sorted(constants)


def error_classes() -> dict[str, type[KandoError]]:
    for package in ("kando", "kando_llm", "kando_mcp", "kando_eventstore", "kando_inspector"):
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            importlib.import_module(module.name)
    found, waiting = {}, [KandoError]
    while waiting:
        cls = waiting.pop()
        if cls.__module__.startswith("kando"):
            found[cls.__name__] = cls
            waiting += cls.__subclasses__()
    return found


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    tree = next(
        block.text
        for block in blocks_in((REFERENCE / "errors.md").read_text())
        if block.text.startswith("KandoError\n")
    )
    shown: set[tuple[str, str]] = set()
    above: list[str] = []
    for line in tree.splitlines():
        name, *builtin = re.findall(r"\w+", line)
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [name]
        shown |= {(name, parent) for parent in [*above[depth - 1 : depth], *builtin]}

    bases = {(c.__name__, b.__name__) for c in error_classes().values() for b in c.__bases__}
    assert shown == bases - {("KandoError", "Exception")}


def test_the_reference_has_the_code_and_the_exit_code_of_every_error() -> None:
    rows = rows_in((REFERENCE / "errors.md").read_text())
    described = {row[0]: (row[1], row[2]) for row in rows if row[1].startswith("`")}

    actual = {}
    for name, cls in error_classes().items():
        error = cls.__new__(cls)
        error.message, error.hint = "what happened", None
        actual[f"`{name}`"] = (f"`{cls.code}`", str(report(error, [])))
    del actual["`KandoError`"]
    assert described == actual


def test_the_example_of_the_specification_stands_as_it_is() -> None:
    example = (ROOT / "tests" / "workspace" / "spec_example.py").read_text()
    start, end = example.index("from kando.runtime"), example.index("\nassert ")
    blocks = blocks_in((DOCS / "how-to" / "use-from-python.md").read_text())

    assert example[start:end].strip() in [block.text.strip() for block in blocks]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("3 events", "3 events"),
        ("a ... z", "a b\nc z"),
        ("at 2026-01-02T03:04:05.678Z", "at 2027-11-12T13:14:15.123456Z"),
        ("kando 0.1.0", "kando 1.20.3"),
        ("run m7wtynhxbj", "run h75azkydry"),
        ("5 passed in 0.87s", "5 passed in 12.01s"),
        ("a  b", "a    b"),
    ],
)
def test_what_differs_from_run_to_run_matches(shown: str, printed: str) -> None:
    assert match(shown, printed, {})


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("3 events", "4 events"),
        ("3 events", "3 events\nand more"),
        ("question-1a02ea02", "question-1a02ea03"),
        ("at 2026-01-02T03:04:05Z", "at noon"),
        ("m7wtynhxbj of m7wtynhxbj", "h75azkydry of rkt2b10rf7"),
        ("m7wtynhxbj of rkt2b10rf7", "h75azkydry of h75azkydry"),
    ],
)
def test_what_decides_does_not_match(shown: str, printed: str) -> None:
    assert not match(shown, printed, {})


def test_an_id_stands_for_one_run_throughout_a_page() -> None:
    ids: dict[str, str] = {}

    assert match("m7wtynhxbj", "h75azkydry", ids)
    assert match("m7wtynhxbj", "h75azkydry", ids)
    assert not match("m7wtynhxbj", "rkt2b10rf7", ids)
    assert not match("rkt2b10rf7", "h75azkydry", ids)


@pytest.mark.parametrize(
    "broken",
    [
        "```console\n$ kando status demo\nrun  nothing\n```\n",
        "```console\n$ kando status nowhere\n```\n",
        "```python\nassert False\n```\n",
        "```python\nprint(1)\n```\n\n<!-- output -->\n```text\n2\n```\n",
    ],
    ids=["output", "exit code", "exception", "print"],
)
def test_an_example_that_does_not_do_what_it_says_fails(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(broken)

    with Page(path, tmp_path) as running, pytest.raises(AssertionError, match=r"page\.md:\d"):
        running.run()
