"""Run many random programs; print each failure with its seed and its smallest program.

Run as a program: ``python tests/model/soak.py --programs 20000 --seed 1``.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from machine import KNOWN, run_program
from programs import generate
from shrink import check_of, shrunk, text_of

__all__ = ["main"]


def main() -> None:
    """Run the programs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first program")
    parser.add_argument("--stop-after", type=int, default=5, help="failures of different checks")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--also", default="", help="known faults to look for, or `all`")
    options = parser.parse_args()
    also = set(KNOWN) if options.also == "all" else set(options.also.split(","))
    for name in also & KNOWN.keys():
        del KNOWN[name]
    started, failures = time.monotonic(), Counter[str]()
    taken: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.programs):
        program = generate(seed)
        try:
            taken += run_program(program).taken
        except Exception as error:
            check = check_of(error)
            failures[check] += 1
            if failures[check] == 1:
                print(f"seed {seed}: {error!s:.1500}", flush=True)
                if not options.no_shrink:
                    print(text_of(shrunk(program, check)), flush=True)
            if len(failures) >= options.stop_after:
                break
        if (done := seed - options.seed + 1) % 1000 == 0:
            print(f"{done} programs, {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    done = seed - options.seed + 1
    steps = ", ".join(f"{count} {name}" for name, count in sorted(taken.items()))
    print(f"{done} programs from seed {options.seed} in {seconds:.0f} s: {steps}")
    print(f"differences: {dict(failures) or 'none'}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
