"""Messages, help texts, docstrings, comments, names of tests and pages are in plain English.

It finds phrases that a reader stumbles over, each with what to write instead. It proves no text
good: read aloud what you write.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from english import Text, texts_of

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

#: A pattern, and what to write instead.
PHRASES = {
    r"\b(?:nobody|somebody|whoever)\b": "name who: the run, a worker, the caller, a person",
    r"(?<!\bthere )\b(?:is|are|was|were|be) (?-i:none)\b": "is not a ..., is malformed, is missing",
    r"(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more than\b|less than\b)[a-z]": "is not a ...",
    r"\bbesides?\b": "in addition to, next to, concurrently with",
    r"\b(?:go|goes|going|gone|went) on\b": "continue, resume, proceed",
    r"\btold\b": "reported, given, notified",
    r"(?<!can )(?<!cannot )\btells? (?:of|that|what|which|where|whether|why|how)\b": "reports, shows",
    r"\b(?:comes|come|came) to\b(?! be\b)": "results in, costs, amounts to",
    r"\bbehind (?:the (?:fork|name|path|position|end|last)|it|them|this|what)\b": "after",
    r"\bone's own\b": "your own, its own",
    r"\b(?:stands?|stood) (?:in|there)\b": "is in, is listed in",
    r"\b(?:is|are|was|were) there\b(?! (?:a|an|any)\b)(?! to\b)": "exists",
    r"\b(?:what|who) there (?:is|are|was|were)\b": "what exists, all",
    r"\b(?:is|was|not|as) said\b": "is specified, is given",
}
#: How a sentence must not start, unless it is a question. Begin with the subject.
STARTS = re.compile(
    r"(?:^|[.!?:][\"')*]* )((?:What|Whoever|Of what|Of which|Who)\b[^.?!]*)(?:[.!]|$)(?!\?)"
)
#: Texts that must use a phrase, with the reason.
ALLOWED: dict[tuple[str, str], str] = {}

KINDS = re.compile(r"(?:\.(?:ini|md|py|toml|ya?ml)(?:\.tmpl)?|\AMakefile)\Z")
SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "node_modules", "site"}


def files() -> Iterator[Path]:
    """Yield the sources, pages and templates of the repository."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(
            name for name in inner if not name.startswith(".") and name not in SKIPPED_FOLDERS
        )
        for path in map(Path(folder).joinpath, sorted(names)):
            if KINDS.search(path.name) and path != Path(__file__):
                yield path


def problems_in(text: Text) -> Iterator[str]:
    """Yield the phrases of a text that must not be there, with what to write instead."""
    line = " ".join(text.text.split())
    for pattern, instead in PHRASES.items():
        for found in re.finditer(pattern, line, re.IGNORECASE):
            around = line[max(found.start() - 30, 0) : found.end() + 20]
            yield f"{text.line}: '...{around}...': write: {instead}"
    for found in STARTS.finditer(line):
        yield f"{text.line}: '{found[1][:60]}': begin with the subject"


@pytest.mark.parametrize("path", [*files()], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_no_phrase_that_readers_stumble_over(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    problems = [problem for text in texts_of(path) for problem in problems_in(text)]
    allowed = [phrase for file, phrase in ALLOWED if file == name]

    assert [each for each in problems if not any(phrase in each for phrase in allowed)] == []


def test_every_exception_is_still_needed() -> None:
    for (file, phrase), reason in ALLOWED.items():
        texts = texts_of(ROOT / file)
        assert reason
        assert any(phrase in problem for text in texts for problem in problems_in(text)), file


@pytest.mark.parametrize(
    "text",
    [
        "Raised if nobody answers.",
        "A cursor that is none.",
        "A number is no limit.",
        "Kept beside the ledger.",
        "The run goes on with it.",
        "The subscriber is told of it.",
        "It tells what a kit is made of.",
        "What is sent again is ignored.",
        "Nothing happens. What the caller passed is dropped.",
        "What a branch came to.",
        "The events behind the fork.",
        "A process of one's own.",
        "It stands in the table.",
        "Skipped if the file is there.",
        "All that is needed, in what there is.",
        "In seconds where not said otherwise.",
    ],
)
def test_a_phrase_is_found(text: str) -> None:
    assert list(problems_in(Text(1, text)))


@pytest.mark.parametrize(
    "text",
    [
        "What is a ledger? It is a log.",
        "Returns what is pending.",
        "The process is no longer alive, and there is no event.",
        "Empty if there is none.",
        "A process cannot tell whether a call was answered.",
        "A worker that falls behind by a minute, behind a proxy.",
        "Returns the functions behind the tools.",
        "Is there any open intent?",
        "The value is None.",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert list(problems_in(Text(1, text))) == []


def test_texts_are_found_where_readers_meet_them(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        '"""Module."""\n# one\n# two\nx = "data"\nclass A:\n    """Class."""\n'
        "def test_a_name_is_read(n):\n"
        '    msg = f"message {n}"\n    raise ValueError("raised", hint="hint")\n'
    )
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\nText with `code`\nin [lines](a.md).\n\n```python\nx\n```\n- item\n| cell |\n"
    )

    assert [text.text for text in texts_of(source)] == [
        "one two",
        "Module.",
        "Class.",
        "test a name is read",
        "message {}",
        "raised",
        "hint",
    ]
    assert [(text.line, text.text) for text in texts_of(page)] == [
        (3, "Text with ``\nin [lines``."),
        (9, "- item"),
        (10, "| cell |"),
    ]
