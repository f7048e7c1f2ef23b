"""A file is written as a whole, where its path leads to; links, modes, pipes and devices stay."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.ledger.files import own_descriptor, write_whole


def broken() -> Iterator[bytes]:
    yield b"half"
    msg = "no more"
    raise ValueError(msg)


def test_a_link_stays_and_the_file_that_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "first").symlink_to("../target")
    (tmp_path / "link").symlink_to("folder/first")
    (tmp_path / "target").write_text("old")

    write_whole(tmp_path / "link", [b"new", b"er"])

    assert (tmp_path / "target").read_text() == "newer"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "first").is_symlink()


def test_a_link_to_a_missing_file_creates_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")

    write_whole(tmp_path / "link", [b"new"])

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]


def test_a_loop_of_links_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(OSError, match="a"):
        write_whole(tmp_path / "a", [b"new"])

    assert (tmp_path / "a").is_symlink()


def test_all_names_of_a_file_keep_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")

    write_whole(tmp_path / "a", [b"new"])

    assert (tmp_path / "b").read_text() == "new"


@pytest.mark.parametrize("names", [1, 2])
def test_a_file_whose_new_contents_fail_stays_as_it_was(tmp_path: Path, names: int) -> None:
    (tmp_path / "file").write_text("old")
    if names == 2:
        os.link(tmp_path / "file", tmp_path / "name")
    before = sorted(os.listdir(tmp_path))

    with pytest.raises(ValueError, match="no more"):
        write_whole(tmp_path / "file", broken())

    assert (tmp_path / "file").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == before


def test_a_replaced_file_keeps_its_mode_and_a_new_one_gets_the_given_mode(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o664)

    write_whole(tmp_path / "old", [b"new"])
    write_whole(tmp_path / "new", [b"new"])
    write_whole(tmp_path / "folder" / "new", [b"new"], mode=0o640, make_folder=True)

    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o664
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder" / "new").stat().st_mode) == 0o640


def test_a_named_pipe_is_written_directly_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()

    write_whole(pipe, [b"a", b"b"])

    reader.join(10)
    assert read == [b"ab"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_open_file_is_written_at_its_position_through_links(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before ")
        file.flush()
        name = f"/dev/fd/{file.fileno()}"
        (tmp_path / "link").symlink_to(name)

        assert own_descriptor(tmp_path / "link") == own_descriptor(name) == file.fileno()
        write_whole(tmp_path / "link", [b"new"])
        file.write(b" after")

    assert (tmp_path / "file").read_text() == "before new after"
    assert (tmp_path / "link").is_symlink()


def test_a_full_device_is_an_error_and_stays_a_device() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole("/dev/full", [b"new"])

    write_whole("/dev/null", [b"new"])

    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
