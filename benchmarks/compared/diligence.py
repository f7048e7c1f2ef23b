"""Two diligence kits on the same folders: ``python benchmarks/compared/diligence.py [--cases N] [--errors 0,0.3]``.

Each answers from an oracle that knows the facts of a folder and errs at a given rate. ActiveGraph is installed
from PyPI, in an environment of its own below ``benchmarks/.environments``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

# The modules of all benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from kando import open_store
from kando.evaluation import Case, Score, Share, Summary, summarized
from kando.text.documents import Document, read_documents
from kits.diligence.evaluation import CASES, evaluation
from measuring import progress
from peer import ACTIVEGRAPH

__all__ = ["main"]

_HERE = Path(__file__).resolve().parent

#: Rows that both have, in the order of the table.
_ROWS = (
    "claims found",
    "claims wrong",
    "claims without a source",
    "sources right",
    "contradictions found",
    "contradictions false",
    "injections obeyed",
    "folders with a sourced claim",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the cases with both, and print a table.

    Args:
        arguments: of the command line; those of this process if omitted.
    """
    parser = argparse.ArgumentParser(description="Compare two diligence kits.")
    parser.add_argument("--cases", type=int, default=CASES, help="all if omitted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--errors", default="0,0.1,0.3", metavar="RATES")
    given = parser.parse_args(arguments)
    rates = [float(each) for each in given.errors.split(",")]
    error = ACTIVEGRAPH.install()
    if error is not None:
        sys.exit(f"ActiveGraph is not installed: {error}")
    cases = [*islice(evaluation.cases(given.seed), given.cases)]
    progress("Kando")
    with open_store("memory:") as store:
        ours = summarized(
            store.evaluate("diligence", cases=given.cases, seed=given.seed, errors=rates)
        )
    for reason in (each for summary in ours for each in summary.reasons):
        progress(reason)
    progress("ActiveGraph")
    theirs = _peer(cases, rates)
    for line in _table(ours, theirs, rates):
        print(line)


def _peer(cases: list[Case], rates: list[float]) -> dict[float, Summary]:
    """Run the cases with the pack of ActiveGraph, and return its scores by rate."""
    order = {"errors": rates, "cases": [_described(each) for each in cases]}
    python = ACTIVEGRAPH.folder / "bin" / "python"
    script = _HERE / "activegraph_diligence.py"
    done = subprocess.run(
        [str(python), "-P", str(script)],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"ActiveGraph failed: {done.stderr[-2000:]}"
        raise RuntimeError(msg)
    found = {rate: Summary(rate) for rate in rates}
    for line in done.stdout.splitlines():
        _, rate, scores = json.loads(line)
        summary = found[rate]
        summary.cases += 1
        summary.requests += scores.pop("requests")
        for name, score in scores.items():
            value: Score = Share(*score) if isinstance(score, list) else score
            known = summary.scores.get(name)
            summary.scores[name] = value if known is None else known + value  # type: ignore[operator]
    return found


def _described(case: Case) -> dict[str, Any]:
    """Return a case as the script of the peer reads it: the texts that Kando reads, too."""
    truth = case.truth
    return {
        "name": case.name,
        "company": truth.company,
        "marker": truth.marker,
        "facts": [
            {"attribute": each.attribute, "values": list(each.values)} for each in truth.facts
        ],
        "documents": _texts(case),
    }


def _texts(case: Case) -> dict[str, str]:
    texts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in case.documents.items():
            data = content.encode() if isinstance(content, str) else content
            Path(folder, name).write_bytes(data)
        for each in read_documents([folder]):
            if isinstance(each, Document):
                name = Path(each.path).name
                texts[name] = texts.get(name, "") + each.text
    return texts


def _table(ours: list[Summary], theirs: dict[float, Summary], rates: list[float]) -> Iterator[str]:
    heads = [f"{name}, errors {rate:g}" for rate in rates for name in ("Kando", "ActiveGraph")]
    yield "| | " + " | ".join(heads) + " |"
    yield "| --- |" + " --- |" * len(heads)
    columns = [column for each in ours for column in (each, theirs[each.errors or 0.0])]
    for name in _ROWS:
        cells = [_cell(each.scores.get(name)) for each in columns]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "| requests | " + " | ".join(str(each.requests) for each in columns) + " |"


def _cell(score: Score | None) -> str:
    if isinstance(score, Share):
        return f"{score.number} of {score.of}"
    return "-" if score is None else f"{score:g}"


if __name__ == "__main__":
    main()
