"""A file that does not hold a whole model is an error that names the cause."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gguf_files import METADATA, gguf_bytes, write_gguf
from kando.errors import ConfigurationError, ProviderError
from kando.plugins import Plugins
from kando.providers import open_provider
from kando_llamacpp.provider import open_llamacpp


def error_of(argument: str | Path, **environ: str) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        open_llamacpp(str(argument), environ)
    return raised.value


def test_a_provider_without_a_file_says_how_to_name_one() -> None:
    error = error_of("")

    assert error.message == "Provider 'llamacpp' needs a GGUF file."
    assert error.hint == "Name the file of a model: llamacpp:FILE.gguf."


def test_a_file_that_does_not_exist_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = error_of(tmp_path / "missing.gguf")
    folder = error_of(tmp_path)

    assert missing.message == f"Model '{tmp_path}/missing.gguf' does not exist."
    assert folder.message == f"Model '{tmp_path}' cannot be read: Is a directory."
    assert "cannot be read: " in error_of("a\0b.gguf").message
    assert "does not exist" in error_of("~no-such-user/m.gguf").message


def test_another_file_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("An event log.")

    assert error_of(tmp_path / "notes.txt").message.endswith("notes.txt' is not a GGUF file.")


@pytest.mark.parametrize("kept", [5, 23, 60, 500, -150])
def test_a_file_that_was_not_downloaded_as_a_whole_is_truncated(tmp_path: Path, kept: int) -> None:
    content = gguf_bytes(METADATA)
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: kept if kept > 0 else len(content) + kept - 50])

    error = error_of(path)

    assert f"is truncated: its {path.stat().st_size:,} bytes are not" in error.message
    assert error.hint == "Download the file again; its size must be that of the original."


def test_a_version_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.gguf").write_bytes(gguf_bytes(METADATA, version=1))

    assert "has version 1 of GGUF" in error_of(tmp_path / "old.gguf").message


def test_a_header_that_announces_too_much_is_damaged(tmp_path: Path) -> None:
    content = bytearray(gguf_bytes(METADATA))
    content[16:24] = b"\xff" * 8
    (tmp_path / "huge.gguf").write_bytes(content)

    assert "is damaged: its header announces" in error_of(tmp_path / "huge.gguf").message


def test_a_file_of_something_else_than_a_language_model_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "adapter.gguf", llama__context_length=None)

    assert error_of(path).message.endswith("adapter.gguf' holds no language model.")


@given(at=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_header_is_an_error_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    content = bytearray(gguf_bytes(METADATA))
    content[at] = byte
    path = tmp_path_factory.mktemp("damaged") / "m.gguf"
    path.write_bytes(content)

    with suppress(ProviderError):
        open_llamacpp(str(path), {})


def test_without_llama_cpp_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    error = error_of(write_gguf(tmp_path / "m.gguf"))

    assert error.message.endswith("the package xllamacpp is not installed.")
    assert error.hint == "Install it: pip install 'kando-llamacpp[xllamacpp]'."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KANDO_LLAMACPP_CONTEXT", "many"),
        ("KANDO_LLAMACPP_CONTEXT", "10"),
        ("KANDO_LLAMACPP_THREADS", "0"),
        ("KANDO_LLAMACPP_LOG", "loud"),
    ],
)
def test_a_malformed_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    path = write_gguf(tmp_path / "m.gguf")

    with pytest.raises(ConfigurationError, match=f"^{name} must be .* not '{value}'"):
        open_llamacpp(str(path), {name: value})


def test_a_context_that_the_model_was_not_trained_for_is_refused(tmp_path: Path) -> None:
    error = error_of(write_gguf(tmp_path / "m.gguf"), KANDO_LLAMACPP_CONTEXT="4096")

    assert "asks for 4,096 tokens, and the model 'm.gguf' was trained for 2,048" in error.message
    assert error.hint == "Set KANDO_LLAMACPP_CONTEXT to at most 2048."


def test_only_a_person_names_the_file(tmp_path: Path) -> None:
    specs = {each.spec.name: each.spec for each in Plugins(environ={}).providers()}
    assert specs["llamacpp"].reads_file
    assert specs["llamacpp"].is_offline

    with pytest.raises(ProviderError, match="does not exist"):
        open_provider(f"llamacpp:{tmp_path}/none.gguf", {})
