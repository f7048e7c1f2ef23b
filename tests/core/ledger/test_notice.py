"""Who works on a ledger, and whether they still can."""

import os
import subprocess
import sys

import attrs

from kando.ledger.notice import Worker, this_process


def test_this_process_is_alive() -> None:
    assert this_process().may_be_alive()


def test_a_process_that_has_ended_is_not_alive_even_if_its_parent_took_no_note_of_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended = attrs.evolve(this_process(), pid=child.pid)
    is_told_by_the_system = os.path.exists(f"/proc/{child.pid}/stat")

    assert ended.may_be_alive() is not is_told_by_the_system

    child.wait()
    assert not ended.may_be_alive()


def test_nobody_can_look_at_a_process_of_another_machine() -> None:
    assert Worker("some-other-machine", 1).may_be_alive()
