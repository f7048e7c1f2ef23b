"""The table of the scenarios: kept as JSON in this folder, and written into the page with the agents."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coders import CODERS, HERE, Coder

__all__ = ["PAGE", "merged", "page", "render", "results", "store"]

#: The page that shows the table and the agents.
PAGE = HERE.parents[1] / "docs" / "explanation" / "compared.md"

_RESULTS = HERE / "results.json"


def results() -> dict[str, Any]:
    """Return what the scenarios printed last: the rows and versions of each coder."""
    found: dict[str, Any] = json.loads(_RESULTS.read_text()) if _RESULTS.is_file() else {}
    return found


def merged(
    old: Mapping[str, Any], columns: Mapping[str, Mapping[str, str]], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return results in which what was run now replaces what was run before.

    Args:
        old: the results so far.
        columns: the cells of each coder, by its name and the name of the row.
        versions: of each coder.
    """
    before = old.get("columns", {})
    return {
        "ran": f"{datetime.now(UTC):%d %B %Y}, Python {platform.python_version()}",
        "versions": {**old.get("versions", {}), **versions},
        "columns": {
            name: {**before.get(name, {}), **columns.get(name, {})}
            for name in CODERS
            if name in before or name in columns
        },
    }


def store(found: Mapping[str, Any]) -> None:
    """Keep results, and write them into the page."""
    _RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(PAGE.read_text(), found))


def render(found: Mapping[str, Any]) -> str:
    """Return results as a Markdown table."""
    columns = found["columns"]
    names = list(columns)
    rows = list(dict.fromkeys(row for name in names for row in columns[name]))
    table = [
        ["", *(CODERS[name].title for name in names)],
        ["---"] * (len(names) + 1),
        ["versions", *(found["versions"][name] for name in names)],
        *([row, *(columns[name].get(row, "not run") for name in names)] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def page(text: str, found: Mapping[str, Any]) -> str:
    """Return the text of the page with the table and the agents of now."""
    text = _between(text, "table", f"Run on {found['ran']}.\n\n{render(found)}")
    return _between(text, "agents", "\n\n".join(_agent(each) for each in CODERS.values()))


def _agent(coder: Coder) -> str:
    code = (HERE / coder.agent).read_text().rstrip()
    return f"### {coder.title}\n\n<!-- not run: it needs a model -->\n```python\n{code}\n```"


def _between(text: str, mark: str, content: str) -> str:
    """Return a text with other content between the lines of a mark."""
    before, _, rest = text.partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- end of the {mark} -->\n")
    return f"{before}<!-- {mark} -->\n{content}\n<!-- end of the {mark} -->\n{after}"
