"""The table: each line is a ratio of two quantities measured in the same run, and its goal."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import attrs

from measuring import Figure

__all__ = ["Goal", "Line", "costs", "missing", "rates", "render", "write"]

_HEAD = ("benchmark", "size", "quantity", "Kando", "against", "theirs", "ratio", "range", "goal")

#: The lines of a file between which `write` puts the table.
_BEGIN, _END = "<!-- table -->", "<!-- end of the table -->"


@attrs.frozen
class Goal:
    """The bounds that a ratio should be within; either may be None."""

    least: float | None = None
    most: float | None = None

    def is_met_by(self, ratio: float) -> bool:
        """Whether a ratio is within the bounds."""
        is_enough = self.least is None or ratio >= self.least
        return is_enough and (self.most is None or ratio <= self.most)

    def __str__(self) -> str:
        if self.least is None:
            return f"<= {self.most:g}"
        return f">= {self.least:g}" if self.most is None else f"{self.least:g} to {self.most:g}"


@attrs.frozen
class Line:
    """One line of the table.

    Attributes:
        benchmark: its name.
        size: of what, and how much of it, was measured.
        quantity: what is compared, with its unit.
        ours: Kando's, one number per repetition.
        against: what it is compared with.
        theirs: its numbers, in the order of the repetitions; none if it is not there.
        goal: what the ratio should be, if anything was promised.
    """

    benchmark: str
    size: str
    quantity: str
    ours: Sequence[float]
    against: str
    theirs: Sequence[float]
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """Kando's over theirs, repetition by repetition, so that a slow moment hits both."""
        pairs = zip(self.ours, self.theirs, strict=bool(self.theirs))
        return [ours / theirs for ours, theirs in pairs]


def costs(
    benchmark: str,
    size: str,
    ours: Sequence[Figure],
    against: str,
    theirs: Sequence[Figure],
    *,
    cpu_goal: Goal | None = None,
) -> list[Line]:
    """Return two lines, CPU and wall time in milliseconds: less is better."""
    return [
        Line(
            benchmark,
            size,
            f"{name} ms",
            [1000 * getattr(figure, name) for figure in ours],
            against,
            [1000 * getattr(figure, name) for figure in theirs],
            goal,
        )
        for name, goal in (("cpu", cpu_goal), ("wall", None))
    ]


def rates(
    benchmark: str,
    size: str,
    count: int,
    ours: Sequence[Figure],
    against: str,
    theirs: Sequence[Figure],
    *,
    wall_goal: Goal | None = None,
) -> list[Line]:
    """Return two lines, how many of `count` per CPU second and per second: more is better."""
    return [
        Line(
            benchmark,
            size,
            f"per {name} s",
            [count / getattr(figure, name) for figure in ours],
            against,
            [count / getattr(figure, name) for figure in theirs],
            goal,
        )
        for name, goal in (("cpu", None), ("wall", wall_goal))
    ]


def missing(benchmark: str, size: str, what: str) -> Line:
    """Return the line that says that what Kando is compared with is not there."""
    return Line(benchmark, size, "-", [], what, [])


def render(lines: Iterable[Line]) -> str:
    """Return the table, and below it what was measured on what."""
    rows = [(*_HEAD, "met"), *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))
    table = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return f"{table}\n\n{_conditions()}"


def write(path: Path, lines: Sequence[Line], *, keeps_others: bool) -> None:
    """Put the lines as a Markdown table into a file, between its markers.

    Args:
        path: of the file, which has `_BEGIN` and `_END` on lines of their own.
        lines: what was measured; they replace the rows of the same quantities.
        keeps_others: whether the other rows of the table stay.
    """
    before, _, rest = path.read_text().partition(f"{_BEGIN}\n")
    old, _, after = rest.partition(f"{_END}\n")
    rows: dict[tuple[str, ...], str] = {}
    for row in old.splitlines() if keeps_others else ():
        if row.startswith("| "):
            rows[_key(row.strip("| ").split(" | "))] = row
    head = (*_HEAD, "met")
    for cells in (head, ("---",) * len(head), *(_cells(line) for line in lines)):
        rows[_key(cells)] = f"| {' | '.join(cells)} |"
    top = [rows.pop(_key(head)), rows.pop(_key(("---",) * len(head)))]
    table = "\n".join([*top, *rows.values()])
    today = f"{datetime.now(UTC):%B %Y}"
    path.write_text(f"{before}{_BEGIN}\n{today}. {_conditions()}\n\n{table}\n{_END}\n{after}")


def _key(cells: Sequence[str]) -> tuple[str, ...]:
    """Return what distinguishes a row: benchmark, size, quantity and what it is compared with."""
    benchmark, size, quantity, _, against, *_ = cells
    return benchmark, size, quantity, against


def _cells(line: Line) -> tuple[str, ...]:
    ratios = line.ratios
    if not ratios:
        return (line.benchmark, line.size, line.quantity, "-", line.against, *"-----")
    ratio = median(ratios)
    return (
        line.benchmark,
        line.size,
        line.quantity,
        _number(median(line.ours)),
        line.against,
        _number(median(line.theirs)),
        f"{ratio:.2f}",
        f"{min(ratios):.2f}-{max(ratios):.2f}",
        str(line.goal) if line.goal is not None else "-",
        "-" if line.goal is None else "yes" if line.goal.is_met_by(ratio) else "NO",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _conditions() -> str:
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors. "
        "Medians; ratio: Kando over theirs."
    )
