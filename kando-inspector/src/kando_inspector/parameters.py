"""Parameters that several operations have."""

from __future__ import annotations

from kando_inspector.table import Parameter

__all__ = ["AT", "CURSOR", "RUN", "limit"]

RUN = Parameter(
    "run", "Id of a run or branch, a unique prefix of one, @last, or demo.", is_in_path=True
)

AT = Parameter(
    "at",
    "Number of the run's first events that count; all of them if omitted.",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
)

CURSOR = Parameter("cursor", "The next of the previous page.")


def limit(most: int, default: int) -> Parameter:
    """Return the parameter for the size of a page.

    Args:
        most: the highest number.
        default: what the operation takes without it.
    """
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", "Maximum number of items.", schema)
