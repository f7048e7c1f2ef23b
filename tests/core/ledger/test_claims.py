"""Whether the process that has claimed a ledger is still alive."""

import os
import subprocess
import sys

import attrs

from kando.ledger.claims import Worker, this_process


def test_this_process_is_alive() -> None:
    assert this_process().may_be_alive()


def test_a_process_that_has_ended_is_not_alive_even_if_it_was_not_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended = attrs.evolve(this_process(), pid=child.pid)
    is_known_to_the_system = os.path.exists(f"/proc/{child.pid}/stat")

    assert ended.may_be_alive() is not is_known_to_the_system

    child.wait()
    assert not ended.may_be_alive()


def test_a_process_that_has_the_id_of_one_that_ended_is_another() -> None:
    me = this_process()

    assert not me.started or not attrs.evolve(me, started="1").may_be_alive()
    assert attrs.evolve(me, started="1", boot="another").may_be_alive() is bool(me.boot)


def test_a_process_on_another_machine_counts_as_alive() -> None:
    assert Worker("some-other-machine", 1).may_be_alive()
