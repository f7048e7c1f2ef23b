"""The labels of a run: names with values that people give it, to find it by them.

``run.labelled`` events change the labels; the last value of a name counts. A branch has the labels of
the events that it shares with its parent, until it changes them itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from kando.errors import InvalidData
from kando.schema.events import RUN_LABELLED, KandoEvent, make_event

__all__ = [
    "LABELS",
    "MAX_LABELS",
    "Labels",
    "check_changes",
    "check_labels",
    "labelled",
    "labels_event",
    "parse_labels",
]

#: The labels of a run: values by name.
Labels = dict[str, str]

#: Field of a ``run.labelled``: the new values by name; null removes a label.
LABELS = "labels"

#: How many labels a run has at most.
MAX_LABELS = 32

_MAX_VALUE = 200
_NAME = re.compile(r"[a-z][a-z0-9._/-]{0,62}")


def labels_event(changes: Mapping[str, str | None], actor: str) -> KandoEvent:
    """Return the event that changes the labels of a run.

    Args:
        changes: the new values by name; None removes a label.
        actor: who changes them.
    """
    return make_event(RUN_LABELLED, "", actor, [], {LABELS: dict(changes)})


def labelled(labels: Labels, event: KandoEvent) -> Labels:
    """Return the labels of a run after the next event of its ledger.

    A ledger may come from anywhere: what could not be recorded here is ignored.

    Args:
        labels: before the event; unchanged.
        event: a ``run.labelled``.
    """
    changes = event.data.get(LABELS)
    if not isinstance(changes, dict):
        return labels
    # The order of the names is that of JSON, and decides nothing: removed labels make room first.
    found = {name: value for name, value in labels.items() if changes.get(name, "") is not None}
    for name, value in changes.items():
        if _problem(name, value) is None and (name in found or len(found) < MAX_LABELS):
            found[name] = value
    return found


def check_changes(changes: object, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return changes of labels, after a check.

    Args:
        changes: the new values by name; None removes a label.
        labels: that the run has.

    Raises:
        InvalidData: there are none, a name or a value is malformed, or the run would have more than
            `MAX_LABELS` labels.
    """
    if not isinstance(changes, Mapping) or not changes:
        msg = "The labels to change are missing."
        raise InvalidData(msg, hint='Give values by name, such as {"tenant": "a"}.')
    for name, value in changes.items():
        _check(name, "" if value is None else value)
    found = {name: value for name, value in changes.items() if value is not None}
    kept = {name for name in labels or () if name not in changes}
    if len(kept) + len(found) > MAX_LABELS:
        msg = f"The run would have {len(kept) + len(found)} labels."
        raise InvalidData(msg, hint=f"A run has at most {MAX_LABELS} labels: remove some.")
    return dict(changes)


def check_labels(labels: Mapping[str, str] | None) -> Labels:
    """Return the labels of a new run, or those that runs are to have, after a check.

    Args:
        labels: values by name.

    Raises:
        InvalidData: as for `check_changes`; a value cannot be None, and there may be no labels.
    """
    for name, value in (labels or {}).items():
        _check(name, value)
    return check_changes(labels) if labels else {}


def parse_labels(texts: Iterable[str], *, removes: bool = False) -> dict[str, Any]:
    """Return labels that are given as texts: ``NAME=VALUE``.

    Args:
        texts: one for each label.
        removes: whether ``NAME-`` removes a label: its value is None.

    Raises:
        InvalidData: a text is malformed, or a label is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, is_assigned, value = text.partition("=")
        is_removed = removes and not is_assigned and name.endswith("-")
        if not is_assigned and not is_removed:
            msg = f"{text!r:.80} is not a label."
            how = "NAME=VALUE, or NAME- to remove one" if removes else "NAME=VALUE"
            raise InvalidData(msg, hint=f"Write {how}.")
        name = name.removesuffix("-") if is_removed else name
        if name in found:
            msg = f"Label {name!r:.80} is given twice."
            raise InvalidData(msg, hint="Give it once.")
        _check(name, value)
        found[name] = None if is_removed else value
    return found


def _check(name: object, value: object) -> None:
    problem = _problem(name, value)
    if problem is not None:
        msg, hint = problem
        raise InvalidData(msg, hint=hint)


def _problem(name: object, value: object) -> tuple[str, str] | None:
    """Return what is wrong with a label, and how to mend it; or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"{name!r:.80} is not the name of a label."
        return msg, "Use 1 to 63 of a-z, 0-9, '.', '_', '-' and '/', starting with a letter."
    if not isinstance(value, str):
        return f"The value of label {name} is not text: {value!r:.80}.", "Write it as text."
    if len(value) > _MAX_VALUE:
        msg = f"The value of label {name} has {len(value)} characters."
        return msg, f"Use at most {_MAX_VALUE} characters."
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in value):
        msg = f"The value of label {name} contains a control character: {value!r:.80}."
        return msg, "Use printable characters."
    return None
