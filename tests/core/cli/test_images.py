"""Images in what the commands take and show."""

import json
from base64 import b64encode
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1_000)
SHOWN = f"[image image/png {len(PNG):,} bytes]"


def test_send_reads_the_image_that_the_person_names_and_events_show_its_size(
    kando, tiny, tmp_path: Path
) -> None:
    (tmp_path / "scan.png").write_bytes(PNG)
    run = kando("run", "tiny", "--goal", "Acme").stdout.split()[0]
    content = ["Look.", {"type": "image", "path": str(tmp_path / "scan.png")}]

    kando("send", run, "--type", "a.message", "--data", json.dumps({"content": content}))
    kando("resume", run)

    shown = kando("events", run).stdout
    events = [json.loads(line) for line in kando("events", run, "--json").stdout.splitlines()]
    (sent,) = (each for each in events if each["type"] == "a.message")
    assert SHOWN in shown
    assert "base64" not in shown
    assert sent["data"]["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "image", "media_type": "image/png", "data": b64encode(PNG).decode()},
    ]


def test_send_names_the_image_that_it_cannot_read(kando, tiny) -> None:
    run = kando("run", "tiny", "--goal", "Acme").stdout.split()[0]
    data = json.dumps({"content": [{"type": "image", "path": "none.png"}]})

    done = kando("send", run, "--type", "a.message", "--data", data)

    assert done.returncode != 0
    assert "The image 'none.png' does not exist." in done.stderr


def test_send_attaches_images_and_files_to_a_message(kando, tiny, tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(PNG)
    (tmp_path / "rules.md").write_text("# Rules")
    run = kando("run", "tiny", "--goal", "Acme").stdout.split()[0]
    files = ["--attach", tmp_path / "scan.png", "--attach", tmp_path / "rules.md"]

    kando("send", run, "--text", "Look.", *files)
    kando("resume", run)
    refused = kando("send", run, "--type", "a.message", *files)

    events = [json.loads(line) for line in kando("events", run, "--json").stdout.splitlines()]
    (sent,) = (each for each in events if each["type"] == "human.message")
    assert sent["data"]["text"] == "Look."
    assert [each["type"] for each in sent["data"]["content"]] == ["text", "image", "file"]
    assert sent["data"]["content"][2]["name"] == "rules.md"
    assert refused.returncode == 2
    assert "--attach needs --text" in refused.stderr
