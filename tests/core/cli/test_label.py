"""`kando label`, and `--label` of other commands."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny")


def listed(kando: Run, *labels: str) -> list[str]:
    options = [word for each in labels for word in ("--label", each)]
    return [
        each["run_id"] for each in json.loads(kando("runs", "--json", *options).stdout)["items"]
    ]


def test_runs_are_labelled_and_listed_by_their_labels(kando: Run) -> None:
    start = ("run", "tiny", "--llm", "parrot", "--goal", "hello", "--label", "tenant=a")
    one = kando(*start, "--label", "team=x = y").stdout.strip()
    two = kando(*start).stdout.strip()

    assert listed(kando, "tenant=a") == [two, one]
    assert listed(kando, "tenant=a", "team=x = y") == [one]
    done = kando("label", two, "tenant-", "team=z", "empty=")
    assert (done.returncode, done.stdout) == (0, f"{two}\n")
    assert done.stderr == "kando: labels: empty=, team=z\n"
    assert listed(kando, "tenant=a") == [one]
    assert "labels    team=x = y, tenant=a\n" in kando("status", one).stdout
    assert json.loads(kando("status", two, "--json").stdout)["labels"] == {"empty": "", "team": "z"}
    shown = kando("runs").stdout.splitlines()
    assert shown[0].split()[4:] == ["PARENT", "CREATED", "LABELS", "GOAL"]
    assert "empty=, team=z" in shown[1]
    none = kando("runs", "--label", "tenant=c")
    assert (none.stdout, none.stderr) == ("", "kando: no run has the labels tenant=c\n")


def test_a_branch_is_labelled_as_it_is_forked(kando: Run) -> None:
    run = kando("run", "tiny", "--goal", "hello", "--label", "tenant=a").stdout.strip()
    branch = kando("fork", run, "--at", "3", "--label", "trial=1").stdout.strip()

    labels = json.loads(kando("status", branch, "--json").stdout)["labels"]
    assert labels == {"tenant": "a", "trial": "1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["label", "@last", "tenant"], "'tenant' is not a label. Write NAME=VALUE, or NAME- to"),
        (["label", "@last", "a=1", "a-"], "Label 'a' is given twice."),
        (["label", "@last", "A=1"], "'A' is not the name of a label. Use 1 to 63 of"),
        (["label", "@last"], "Missing argument 'LABEL...'"),
        (["runs", "--label", "tenant-"], "'tenant-' is not a label. Write NAME=VALUE."),
        (["run", "tiny", "--goal", "x", "--label", "=a"], "'' is not the name of a label."),
    ],
)
def test_a_malformed_label_is_wrong_usage(kando: Run, words: list[str], said: str) -> None:
    kando("run", "tiny", "--goal", "hello")
    done = kando(*words)

    assert done.returncode == 2
    assert said in done.stderr
    assert len(listed(kando)) == 1
