"""Random programs on Kando agree with the reference: a bounded number of them.

`tests/model/soak.py` runs as many as there is time for, and shrinks what fails.
"""

from __future__ import annotations

import json
import time

import pytest

from machine import run_program
from programs import generate
from reference import is_answer, open_intents, spent
from shrink import check_of, shrunk, text_of

PROGRAMS = 150
#: Seconds after which no further program is begun.
ENOUGH = 5.0


@pytest.mark.parametrize("part", range(3))
def test_random_programs_agree_with_the_reference(part: int) -> None:
    started = time.monotonic()
    for seed in range(part, PROGRAMS, 3):
        if time.monotonic() - started > ENOUGH:
            break
        try:
            run_program(generate(seed))
        except Exception as error:
            smallest = text_of(shrunk(generate(seed), check_of(error), attempts=60))
            pytest.fail(f"seed {seed}: {error}\n{smallest}")


@pytest.mark.parametrize("seed", [94, 3000763, 4001237, 4002842, 5003783, 7001800, 10004979])
def test_programs_that_once_differed_agree_with_the_reference(seed: int) -> None:
    run_program(generate(seed))


def test_a_program_is_a_function_of_its_seed() -> None:
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)
    assert json.loads(json.dumps(generate(7))) == generate(7)


def test_the_reference_counts_no_event_of_a_bystander_as_an_answer() -> None:
    asked = _event(0, "llm.request", {"messages": []})
    mine = _event(1, "llm.response", {"answers": False, "cost_usd": 8.0}, ["llm.request-0"])

    assert not is_answer(mine)
    assert open_intents([asked, mine]) == ["llm.request-0"]
    assert spent([asked, mine])["llm_cost_usd"] == 0


def _event(position: int, type: str, data: dict[str, object], cause: tuple[str, ...] = ()) -> dict:
    id = f"{type}-{position}"
    return {"id": id, "type": type, "data": data, "cause": list(cause), "position": position}
