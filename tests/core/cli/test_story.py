"""A run from its start to its branches, through the command line alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.world._container import pack, unpack
from kando.world.snapshot import WORLD_STATE

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny")


def started(kando: Run, *options: str) -> str:
    done = kando("run", "tiny", "--goal", "Say hello", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def as_json(kando: Run, *arguments: str) -> Any:
    done = kando(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def events_of(kando: Run, run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in kando("events", run, "--json").stdout.splitlines()]


def test_run_prints_only_the_id_and_explains_on_stderr_how_to_get_answers(
    kando: Run,
) -> None:
    done = kando("run", "kits/tiny", "--goal", "Say hello")

    (run_id,) = done.stdout.split()
    assert as_json(kando, "status", run_id)["state"] == "waiting"
    assert "1 request is unanswered" in done.stderr
    for key in ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        assert key in done.stderr
    assert f"kando resume {run_id}" in done.stderr


def test_pending_requests_are_answered_when_the_run_is_resumed_with_a_provider(kando: Run) -> None:
    run_id = started(kando)

    done = kando("resume", "@last", "--llm", "parrot")

    assert done.stdout.strip() == run_id
    status = as_json(kando, "status", run_id)
    assert (status["state"], status["llm_answered"], status["llm_cost_usd"]) == ("finished", 1, 0.5)
    claims = [o for o in as_json(kando, "world", run_id)["objects"] if o["type"] == "Claim"]
    assert claims[0]["data"] == {"status": "completed", "text": "Say hello"}


def test_resuming_with_another_version_of_the_kit_is_recorded_once(
    process: Run, tiny: Path
) -> None:
    run = process("run", "tiny", "--goal", "Why?").stdout.strip()
    tiny.write_text(tiny.read_text().replace('version="1"', 'version="22"'))

    for _ in range(2):
        assert process("resume", run, "--llm", "parrot").returncode == 0

    events = [json.loads(line) for line in process("events", run, "--json").stdout.splitlines()]
    loaded = [(e["actor"], e["data"]["version"]) for e in events if e["type"] == "kit.loaded"]
    assert loaded == [("cli", "1"), ("runtime", "22")]
    assert process("verify", run).returncode == process("replay", run, "--strict").returncode == 0


def test_events_are_json_lines_with_seven_fields_and_a_position(kando: Run) -> None:
    run_id = started(kando, "--llm", "parrot")

    lines = kando("events", run_id, "--json").stdout.splitlines()

    events = [json.loads(line) for line in lines]
    fields = ["id", "type", "source", "actor", "cause", "timestamp", "data", "position"]
    assert all(list(event) == fields for event in events)
    assert [event["position"] for event in events] == list(range(len(events)))
    assert {event["source"] for event in events} == {f"run:{run_id}"}
    assert events[0]["type"] == "kit.loaded"
    about = {"name": "tiny", "version": "1", "distribution": "tiny", "fills_defaults": True}
    assert events[0]["data"] == {**about, "responders": ["tiny.on_goal", "tiny.on_answer"]}
    short = kando("events", run_id).stdout
    assert "responder.fired" not in short
    assert "responder.fired" in kando("events", run_id, "--all").stdout


def test_a_run_is_selected_by_a_unique_prefix_or_by_its_age(kando: Run) -> None:
    first, second = started(kando), started(kando)

    assert as_json(kando, "status", first[:8])["run_id"] == first
    assert as_json(kando, "status", "@last")["run_id"] == second
    assert as_json(kando, "status", "@last~1")["run_id"] == first
    listed = as_json(kando, "runs")
    assert [item["run_id"] for item in listed["items"]] == [second, first]
    assert listed["next_cursor"] is None


def test_lists_are_paged_by_a_cursor(kando: Run) -> None:
    runs = [started(kando) for _ in range(3)]

    page = as_json(kando, "runs", "--limit", "2")
    rest = as_json(kando, "runs", "--limit", "2", "--cursor", page["next_cursor"])

    assert [item["run_id"] for item in page["items"] + rest["items"]] == runs[::-1]
    assert rest["next_cursor"] is None


def test_an_event_or_object_is_traced_to_its_goal(kando: Run) -> None:
    run_id = started(kando, "--llm", "parrot")

    steps = as_json(kando, "trace", "claim", "--run", run_id)["items"]

    assert [step["id"] for step in steps] == ["object.created-3", "object.created-1"]
    text = kando("trace", "object.patched-11", "--run", run_id).stdout.splitlines()
    assert text[0].startswith("object.patched-11 ")
    assert text[-1].startswith("object.created-1 (root)")


def test_a_fork_shares_its_prefix_can_be_compared_and_resumed(kando: Run) -> None:
    run_id = started(kando, "--llm", "parrot")

    branch = kando("fork", run_id, "--at", "2").stdout.strip()

    found = as_json(kando, "diff", run_id, branch)
    assert [o["id"] for o in found["removed_objects"]] == ["claim"]
    assert found["summary"] == "-1 objects, -1 relations"
    assert kando("diff", run_id, f"{run_id}@99").returncode == 3
    assert as_json(kando, "fork", f"{run_id}@2")["fork_position"] == 2
    resumed = kando("resume", branch, "--llm", "parrot:other")
    assert resumed.returncode == 0
    again = as_json(kando, "status", branch)
    # The parent sent the same request, so its answer is served from the cache.
    assert (again["llm_cached"], again["llm_cost_usd"]) == (1, 0.0)
    assert as_json(kando, "diff", run_id, branch)["summary"] == "no changes"


def test_a_fork_with_a_change_is_resumed_at_once_and_asks_only_new_requests(
    kando: Run, tmp_path: Path
) -> None:
    run_id = started(kando, "--llm", "parrot")
    (tmp_path / "note.jsonl").write_text('{"type": "note"}\n{"type": "note", "data": {"n": 2}}\n')

    same = kando("fork", run_id, "--at", "2", "--run", "--llm", "parrot")
    other = kando("fork", run_id, "--at", "2", "--run", "--llm", "parrot:other")
    changed = kando(
        *("fork", run_id, "--at", "2", "--run", "--llm", "parrot"),
        *("--patch", "goal", '{"text": "Say bye"}', "--event", "note.jsonl"),
    )

    for done, summary in ((same, "no changes"), (other, "~1 objects patched")):
        assert done.returncode == 0, done.stderr
        assert as_json(kando, "diff", run_id, done.stdout.strip())["summary"] == summary
    branch = changed.stdout.strip()
    kinds = [json.loads(e)["type"] for e in kando("events", branch, "--json").stdout.splitlines()]
    assert kinds[2:7] == ["branch.created", "branch.changed", "object.patched", "note", "note"]
    assert as_json(kando, "status", branch)["goal"] == "Say hello"
    tree = kando("branches", branch).stdout.splitlines()
    assert tree[0].startswith(run_id)
    assert [line[:3] for line in tree[1:]] == ["|- ", "|- ", "`- "]
    assert tree[3].startswith(f"`- {branch} @2  ")


def test_replay_projects_and_strict_replay_compares(kando: Run, tiny: Path, process: Run) -> None:
    run_id = started(kando, "--llm", "parrot")

    assert "projected" in kando("replay", run_id).stdout
    assert "identical" in kando("replay", run_id, "--strict").stdout
    tiny.write_text(tiny.read_text().replace('"completed"', '"done"').replace('"1"', '"2"'))
    changed = process("replay", run_id, "--strict")

    assert changed.returncode == 5
    assert "data.patch.status of object.patched-11" in changed.stderr
    assert "'done', recorded as 'completed'" in changed.stderr


def test_the_world_can_be_shown_at_any_position(kando: Run) -> None:
    run_id = started(kando, "--llm", "parrot")

    assert as_json(kando, "world", run_id, "--at", "2")["objects"][0]["id"] == "goal"
    assert len(as_json(kando, "world", f"{run_id}@2")["objects"]) == 1
    assert len(as_json(kando, "world", run_id, "--type", "Claim")["objects"]) == 1


def test_snapshots_are_kept_in_the_configured_folder(process: Run, tmp_path: Path) -> None:
    folder = str(tmp_path / "snapshots")
    done = process("run", "tiny", "--goal", "x", "--llm", "parrot", KANDO_SNAPSHOT_DIR=folder)
    run_id = done.stdout.strip()

    (snapshot,) = (tmp_path / "snapshots").iterdir()
    stored = unpack(snapshot.read_bytes())
    assert stored is not None
    world = (stored.section(WORLD_STATE) or b"").replace(b'"x"', b'"from the snapshot"')
    snapshot.write_bytes(pack(stored.header, {WORLD_STATE: world}))

    shown = process("world", run_id, "--json", KANDO_SNAPSHOT_DIR=folder).stdout
    assert "from the snapshot" in shown
    assert "from the snapshot" not in process("world", run_id, "--json").stdout
    verified = process("verify", run_id, KANDO_SNAPSHOT_DIR=folder)
    assert (verified.returncode, process("verify", run_id).returncode) == (4, 0)
    assert "snapshot at position" in verified.stdout


def test_the_substrate_is_an_option_or_a_variable(process: Run, tmp_path: Path, home: Path) -> None:
    url = f"sqlite:{tmp_path}/mine.sqlite"
    run_id = process("--ledger", url, "run", "tiny", "--goal", "x").stdout.strip()

    assert process("status", run_id, KANDO_LEDGER=url).returncode == 0
    assert process("status", run_id).returncode == 3
    assert process("--ledger", "memory:", "run", "tiny", "--goal", "x").returncode == 0
    assert list(home.iterdir()) == []


def test_an_exhausted_run_is_reported_and_resumed_with_a_higher_limit(kando: Run) -> None:
    done = kando("run", "tiny", "--goal", "x", "--llm", "parrot", "--budget-events", "5")
    run_id = done.stdout.strip()

    assert done.returncode == 7
    assert "max_events" in done.stderr
    assert as_json(kando, "status", run_id)["state"] == "exhausted"
    assert kando("resume", run_id, "--llm", "parrot", "--budget-events", "50").returncode == 0
    assert as_json(kando, "status", run_id)["state"] == "finished"


def test_a_run_keeps_its_limits_in_every_process(kando: Run) -> None:
    limits = ("--budget-events", "5", "--budget-usd", "2")
    run_id = kando("run", "tiny", "--goal", "x", "--llm", "parrot", *limits).stdout.strip()

    again = kando("resume", run_id, "--llm", "parrot")
    assert again.returncode == 7
    assert "--budget-events N" in again.stderr
    assert as_json(kando, "status", run_id)["limits"] == {"max_events": 5, "max_llm_cost_usd": 2.0}
    assert "limits    max_events 5, max_llm_cost_usd 2.0" in kando("status", run_id).stdout

    # A given limit replaces that of the run, and no other.
    assert kando("resume", run_id, "--llm", "parrot", "--budget-events", "50").returncode == 0
    kept = {"max_events": 50, "max_llm_cost_usd": 2.0}
    assert as_json(kando, "status", run_id)["limits"] == kept
    recorded = [e for e in events_of(kando, run_id) if e["type"] == "budget.set"]
    assert [e["data"]["limits"] for e in recorded] == [
        {"max_events": 5, "max_llm_cost_usd": 2.0},
        kept,
    ]

    # The same limit again changes nothing, and a branch inherits the limits.
    length = len(events_of(kando, run_id))
    kando("resume", run_id, "--llm", "parrot", "--budget-events", "50")
    assert len(events_of(kando, run_id)) == length
    branch = as_json(kando, "fork", run_id, "--at", "4")["branch_id"]
    assert as_json(kando, "status", branch)["limits"] == {"max_events": 5, "max_llm_cost_usd": 2.0}
    assert kando("resume", branch, "--llm", "parrot").returncode == 7


def test_limits_are_removed_on_request(kando: Run) -> None:
    limits = ("--budget-events", "5")
    run_id = kando("run", "tiny", "--goal", "x", "--llm", "parrot", *limits).stdout.strip()

    assert kando("resume", run_id, "--llm", "parrot", "--no-budget").returncode == 0
    assert as_json(kando, "status", run_id)["limits"] == {}
    assert as_json(kando, "status", run_id)["state"] == "finished"
    assert kando("replay", run_id, "--strict").returncode == 0


def test_sent_events_are_recorded_by_the_process_that_works_on_the_run(kando: Run) -> None:
    run_id = started(kando)
    note = ("send", run_id, "--type", "note", "--data", '{"a": 1}', "--key", "k")

    assert kando(*note).returncode == 0
    assert "was sent before" in kando(*note).stderr
    kando("resume", run_id)
    kando("cancel", run_id)
    kando("resume", run_id)

    types = [json.loads(e)["type"] for e in kando("events", run_id, "--json").stdout.splitlines()]
    assert types[-2:] == ["note", "run.cancelled"]
    assert as_json(kando, "status", run_id)["state"] == "cancelled"
    assert "was cancelled" in kando("resume", run_id).stderr
    assert kando("verify", run_id).stdout.startswith("intact: ")


@pytest.mark.parametrize(
    ("hook", "record", "named"),
    [
        ("kits", 'KitSpec("odd", "json:dumps")', "kit odd"),
        ("kits", 'KitSpec("odd", "json:gone")', "kit odd"),
        ("kits", 'KitSpec("odd", "nowhere.at_all:kit")', "kit odd"),
        ("providers", 'ProviderSpec("odd", "json:__name__")', "provider odd"),
        ("substrates", 'SubstrateSpec("odd", "json:gone", ("odd",))', "substrate odd"),
        ("commands", 'CommandSpec("odd", "json:gone", "does odd things")', "command odd"),
    ],
)
def test_doctor_finds_offers_whose_target_is_missing_or_wrong(
    kando: Run, install: Run, hook: str, record: str, named: str
) -> None:
    plugin = f"from kando.plugins import *\n@hookimpl\ndef kando_{hook}():\n    return [{record}]\n"
    install("odd", plugin)

    done = kando("doctor", "--json")

    failed = {each["what"] for each in json.loads(done.stdout)["items"] if each["state"] == "fail"}
    assert (done.returncode, failed) == (1, {named})


def test_plugins_and_doctor_list_what_is_installed(kando: Run, install: Run) -> None:
    rows = as_json(kando, "plugins")["items"]
    offered = {(row["kind"], row["name"], row["state"]) for row in rows}
    assert {("kit", "tiny", "ok"), ("substrate", "sqlite", "ok")} <= offered
    assert kando("doctor").returncode == 0

    install("broken", "raise RuntimeError('no good')")

    assert kando("plugins", "--check").returncode == 1
    doctor = kando("doctor")
    assert doctor.returncode == 1
    assert "no good" in doctor.stdout
    assert started(kando, "--llm", "parrot")


def test_observers_receive_every_event_and_one_that_raises_affects_nothing(
    kando: Run, install: Run, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    install(
        "watch",
        f"""
        from kando.plugins import hookimpl

        @hookimpl
        def kando_event_recorded(event, position):
            with open({str(log)!r}, "a") as file:
                file.write(f"{{position}} {{event.type}}\\n")
            raise RuntimeError("observer")
        """,
    )

    done = kando("run", "tiny", "--goal", "Say hello", "--llm", "parrot")

    run_id = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    assert "Observer watch:watch raised for" in done.stderr
    assert ("observer", "watch") in {
        (row["kind"], row["name"]) for row in as_json(kando, "plugins")["items"]
    }
    events = [json.loads(e) for e in kando("events", run_id, "--json").stdout.splitlines()]
    assert log.read_text().splitlines() == [f"{e['position']} {e['type']}" for e in events]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(kando: Run, shell: str) -> None:
    assert "_KANDO_COMPLETE" in kando("completion", shell).stdout


def test_status_and_runs_mention_unread_messages(kando: Run) -> None:
    run_id = started(kando, "--llm", "parrot")
    assert "NOTE" not in kando("runs").stdout
    kando("send", run_id, "--type", "other", "--data", "{}")

    assert "unread    1 message waits in the inbox" in kando("status", run_id).stdout
    listed = kando("runs").stdout.splitlines()
    assert listed[0].split()[:3] == ["RUN", "STATE", "NOTE"]
    assert listed[1].split()[:4] == [run_id, "stopped", "1", "unread"]
    (item,) = as_json(kando, "runs")["items"]
    assert (item["state"], item["unread"], item["parked"]) == ("stopped", 1, 0)
    assert item == as_json(kando, "status", run_id)
