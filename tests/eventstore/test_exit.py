"""A command against a server ends by itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventstore_exits import run_commands


def test_the_end_of_a_process_waits_for_threads_of_grpc() -> None:
    code = """
import atexit, threading, time
atexit.register(lambda: print([each.name for each in threading.enumerate() if "(_run)" in each.name]))
from kando_eventstore._client import client_library
client_library()
is_over = threading.Event()
def _run():
    is_over.wait()
threading.Thread(target=_run, daemon=True).start()
later = threading.Timer(0.3, is_over.set)
later.daemon = True
later.start()
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_every_command_against_a_server_ends(tmp_path: Path) -> None:
    assert "6 commands ended" in run_commands(6, tmp_path)
