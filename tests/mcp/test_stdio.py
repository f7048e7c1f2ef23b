"""Stdin and stdout are reserved for the protocol, even if a kit reads or prints."""

from pathlib import Path

from mcp_host import Place
from mcp_wire import wire

NOISY = '''
"""A kit that prints by every means, and reads stdin."""

import atexit
import os
import subprocess
import sys
import threading

from kando.kit import Kit
from kando.plugins import KitSpec, hookimpl
from kando.schema.events import make_event


def make_noise():
    print("noise: print")
    sys.stdout.write("noise: no end of line")
    sys.__stdout__.write("noise: the first stdout\\n")
    os.write(1, b"noise: past Python\\n")
    subprocess.run(["echo", "noise: a child"], check=True)
    left = subprocess.run(["cat"], stdout=subprocess.PIPE, check=True).stdout
    assert left == b"", "a child has read the protocol"
    assert sys.stdin.read() == "", "the kit has read the protocol"


make_noise()
atexit.register(make_noise)
kit = Kit("noisy", version="1")


@kit.seeds
def seeds(goal, run_id):
    thread = threading.Thread(target=make_noise)
    thread.start()
    thread.join()
    data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
    return [make_event("object.created", f"run:{run_id}", "cli", [], data)]


@kit.responder("object.created")
def on_goal(event, world):
    make_noise()
    return ()


@hookimpl
def kando_kits():
    return [KitSpec("noisy", "noisy_kit:kit", "makes noise")]
'''


def test_output_of_a_kit_its_threads_and_its_children_does_not_reach_the_host(
    place: Place, tmp_path: Path
) -> None:
    installed = place.root / "installed"
    (installed / "noisy_kit.py").write_text(NOISY)
    info = installed / "noisy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kando]\nnoisy = noisy_kit\n")
    log = tmp_path / "stderr"
    # Every line on stdout is parsed as a message, until the server ends.
    with log.open("w") as stderr, wire(place, stderr=stderr) as server:
        listed = server.ask("tools/call", name="list_kits", arguments={})
        assert "noisy" in str(listed["result"]["structuredContent"]["kits"])
        arguments = {"kit": "noisy", "goal": "g", "wait_s": 45}
        started = server.ask("tools/call", name="start_run", arguments=arguments)
        assert started["result"]["structuredContent"]["state"] != "failed"
    output = log.read_text()
    assert "noise: past Python" in output
    assert "noise: a child" in output
    assert "has read the protocol" not in output
