"""`kando eval`: a kit is measured on cases with known answers."""

import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

KIT = """
    import os
    import signal

    from kando.emit import ask, create
    from kando.evaluation import Case, Evaluation, Share, asked_in
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("adder", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Document")
    def on_document(event, world):
        text = event.data["data"]["text"]
        if "crash" in text:
            raise ValueError("cannot add this")
        yield ask([{"role": "user", "content": f"Add {text}"}], about=event)

    @kit.responder("llm.response")
    def on_answer(event, world):
        yield create("Sum", {"text": event.data["text"]})

    def cases(seed):
        for n in range(8):
            lines = f"{n} {seed}\\n"
            yield Case(f"case-{n}", "Add", {"numbers.txt": lines, "empty.txt": ""}, truth=n + seed)

    def crashing(seed):
        yield Case("good", "Add", {"numbers.txt": "1 1"}, truth=2)
        yield Case("bad", "Add", {"numbers.txt": "crash"}, truth=0)

    def oracle(case, request, mistakes):
        assert asked_in(request).startswith("Add ")
        with open("journal", "a") as file:
            file.write(case.name + "\\n")
        if os.environ.get("TEST_DIES_AT") == case.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return "wrong" if mistakes.happens() else str(case.truth)

    def score(case, run):
        sums = run.world.objects_of("Sum")
        right = sum(each.data["text"] == str(case.truth) for each in sums)
        skipped = len(run.world.objects_of("SkippedDocument"))
        return {"right": Share(right, 1), "skipped": skipped}

    evaluation = Evaluation(cases, oracle, score)
    crashes = Evaluation(crashing, oracle, score)

    @hookimpl
    def kando_kits():
        return [
            KitSpec("adder", "adder_plugin:kit", evaluation="adder_plugin:evaluation"),
            KitSpec("crasher", "adder_plugin:kit", evaluation="adder_plugin:crashes"),
            KitSpec("unmeasured", "adder_plugin:kit"),
            KitSpec("mistaken", "adder_plugin:kit", evaluation="adder_plugin:kit"),
        ]
"""


@pytest.fixture
def adder(install: Callable[[str, str], Path]) -> Path:
    return install("adder", KIT)


def test_a_table_shows_the_scores_at_each_rate_of_errors(kando: Run, adder: Path) -> None:
    done = kando("eval", "adder", "--errors", "0,1")

    assert (done.returncode, done.stderr) == (0, "")
    assert _rows(done.stdout) == {
        "cases": ["8", "8"],
        "ended in an error": ["0", "0"],
        "right": ["8 of 8 (100%)", "0 of 8 (0%)"],
        "skipped": ["8", "8"],
        "requests": ["8", "8"],
        "USD": ["0.0000", "0.0000"],
    }


def _rows(table: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.split("  ") if cell] for line in table.splitlines()]
    return {name: cells for name, *cells in lines[1:]}


def test_the_json_holds_totals_and_means(kando: Run, adder: Path) -> None:
    done = kando("eval", "adder", "--cases", "5", "--errors", "0.5", "--seed", "3", "--json")

    found = json.loads(done.stdout)
    assert (found["kit"], found["seed"]) == ("adder", 3)
    [answerer] = found["answerers"]
    right = answerer["scores"]["right"]
    assert (answerer["provider"], answerer["errors"], answerer["cases"]) == ("oracle", 0.5, 5)
    assert right["of"] == 5
    assert right["mean"] == right["total"] / 5
    assert answerer["scores"]["skipped"] == {"total": 5, "of": None, "mean": 1}


def test_the_same_seed_gives_the_same_scores_and_more_mistakes_never_help(
    kando: Run, adder: Path
) -> None:
    def right(rate: str) -> int:
        done = kando("eval", "adder", "--errors", rate, "--json")
        total: int = json.loads(done.stdout)["answerers"][0]["scores"]["right"]["total"]
        return total

    assert right("0.5") == right("0.5")
    assert 8 == right("0") >= right("0.2") >= right("0.5") >= right("1") == 0


def test_a_case_that_ends_in_an_error_is_counted_with_the_reason(kando: Run, adder: Path) -> None:
    done = kando("eval", "crasher", "--errors", "0", "--json")

    assert done.returncode == 6
    [answerer] = json.loads(done.stdout)["answerers"]
    assert (answerer["cases"], answerer["failed"]) == (2, 1)
    assert answerer["reasons"] == ["bad: ValueError: cannot add this"]
    assert answerer["scores"]["right"]["of"] == 2
    assert "kando: bad with oracle 0: ValueError: cannot add this" in done.stderr


def test_a_provider_answers_in_the_place_of_the_oracle(kando: Run, adder: Path, tiny: Path) -> None:
    done = kando("eval", "adder", "--cases", "2", "--llm", "parrot:0", "--json")

    [answerer] = json.loads(done.stdout)["answerers"]
    assert (answerer["provider"], answerer["errors"]) == ("parrot:0", None)
    assert answerer["scores"]["right"] == {"total": 1, "of": 2, "mean": 0.5}
    assert answerer["cost_usd"] == 1.0


def test_the_runs_are_kept_in_a_file_only_if_it_is_named(
    kando: Run, adder: Path, tmp_path: Path
) -> None:
    kando("eval", "adder", "--cases", "2", "--errors", "0")
    assert json.loads(kando("runs", "--json").stdout)["items"] == []

    kando("eval", "adder", "--cases", "2", "--errors", "0", "--db", "kept runs%.db")

    listed = kando("--ledger", "sqlite:kept%20runs%25.db", "runs", "--json")
    assert [each["state"] for each in json.loads(listed.stdout)["items"]] == ["finished"] * 2
    assert (tmp_path / "kept runs%.db").exists()


def test_an_evaluation_that_was_killed_is_resumed_and_repeats_no_case(
    kando: Run, process: Run, adder: Path, tmp_path: Path
) -> None:
    command = ("eval", "adder", "--errors", "0.5", "--db", "kept.db")
    killed = process(*command, TEST_DIES_AT="case-3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = process(*command)

    asked = (tmp_path / "journal").read_text().split()
    assert asked == [f"case-{n}" for n in (0, 1, 2, 3, 3, 4, 5, 6, 7)]
    rows = _rows(resumed.stdout)
    assert rows.pop("taken over") == ["4"]
    assert rows == _rows(kando("eval", "adder", "--errors", "0.5").stdout)
    listed = kando("--ledger", "sqlite:kept.db", "runs", "--json")
    assert [each["state"] for each in json.loads(listed.stdout)["items"]] == ["finished"] * 8


def test_a_damaged_run_is_not_taken_over_and_the_others_are(
    kando: Run, adder: Path, tmp_path: Path
) -> None:
    command = ("eval", "adder", "--cases", "2", "--errors", "0", "--db", "kept.db", "--json")
    assert kando(*command).returncode == 0
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("UPDATE events SET body = x'00' WHERE address >> 32 = 1")

    again = kando(*command)

    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["answerers"][0]["taken_over"] == 1


def test_only_runs_of_equal_cases_are_taken_over(kando: Run, adder: Path) -> None:
    command = ("eval", "adder", "--cases", "2", "--errors", "0", "--db", "kept.db", "--json")

    def taken_over(*options: str) -> int:
        found: int = json.loads(kando(*command, *options).stdout)["answerers"][0]["taken_over"]
        return found

    assert [taken_over(), taken_over(), taken_over("--cases", "3")] == [0, 2, 2]
    assert taken_over("--seed", "1") == taken_over("--budget-usd", "1") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["unmeasured"], 3, "Kit 'unmeasured' has no evaluation."),
        (["mistaken"], 2, "The evaluation of kit 'mistaken' is a Kit."),
        (["absent"], 3, "absent"),
        (["adder", "--errors", "2"], 2, "is not a list of numbers between 0 and 1"),
        (["adder", "--errors", "many"], 2, "is not a list of numbers between 0 and 1"),
        (["adder", "--errors", "0", "--llm", "echo"], 2, "--errors excludes --llm"),
        (["adder", "--cases", "0"], 2, "0"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_words(
    kando: Run, adder: Path, arguments: list[str], code: int, says: str
) -> None:
    done = kando("eval", *arguments)

    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""
