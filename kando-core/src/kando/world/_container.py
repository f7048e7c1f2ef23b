"""The format of a stored snapshot: a header, and sections that are unpacked one by one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import attrs
import msgspec

__all__ = ["Container", "Header", "Installed", "Rest", "pack", "unpack"]

# Every snapshot of this format begins with these bytes.
_MAGIC = b"kando snapshot 7\n"

# They are followed by the length of the header and its checksum, 4 bytes each.
_PREFIX = len(_MAGIC) + 8

_FASTEST = 1


class Installed(msgspec.Struct, frozen=True):
    """The installation of a kit when it was imported: while this is unchanged, so is the kit.

    Attributes:
        folders: of the modules on which the version of the kit may depend.
        digest: of the sizes and times of their files and of the metadata of all distributions.
    """

    folders: tuple[str, ...]
    digest: str


class Rest(msgspec.Struct, frozen=True):
    """Records that the run was idle: its responders had nothing left to do.

    Attributes:
        position: the length of the ledger at that time.
        digest: its chained hash at that position, as hexadecimal digits.
        kit: name, version and distribution of the kit that was idle.
        installed: its installation; None if that is unknown, or if events have upcasters.
    """

    position: int
    digest: str
    kit: dict[str, str | None]
    installed: Installed | None = None


class Header(msgspec.Struct, frozen=True):
    """The header of a snapshot.

    Attributes:
        ledger: name of the stream that it belongs to.
        position: number of events that its sections are a projection of.
        digest: the ledger's chained hash at that position, as hexadecimal digits.
        versions: the versions that event types with upcasters were read in.
        sections: names and packed lengths, in order.
        rest: set if the run was idle.
    """

    ledger: str
    position: int
    digest: str
    versions: dict[str, int] = {}
    sections: list[tuple[str, int]] = []
    rest: Rest | None = None


_decode_header = msgspec.json.Decoder(Header).decode


@attrs.frozen
class Container:
    """A snapshot whose header is decoded.

    Attributes:
        header: of the snapshot.
        body: the whole snapshot.
        start: offset of the first section.
    """

    header: Header
    body: bytes = attrs.field(repr=False)
    start: int

    def section(self, name: str) -> bytes | None:
        """Return one section, unpacked, or None if it does not exist.

        Raises:
            ValueError: it is damaged.
        """
        start = self.start
        for each, length in self.header.sections:
            if each == name:
                try:
                    return zlib.decompress(memoryview(self.body)[start : start + length])
                except zlib.error as error:
                    raise ValueError(str(error)) from error
            start += length
        return None

    def resting(self, rest: Rest) -> bytes:
        """Return the same snapshot with another `Rest`."""
        header = msgspec.structs.replace(self.header, rest=rest)
        return _headed(header, self.body[self.start :])


def pack(header: Header, sections: Mapping[str, bytes]) -> bytes:
    """Return a snapshot as it is stored.

    Args:
        header: without sections.
        sections: by name; each is packed separately.
    """
    packed = {name: zlib.compress(body, _FASTEST) for name, body in sections.items()}
    lengths = [(name, len(body)) for name, body in packed.items()]
    header = msgspec.structs.replace(header, sections=lengths)
    return _headed(header, b"".join(packed.values()))


def _headed(header: Header, rest: bytes) -> bytes:
    encoded = msgspec.json.encode(header)
    prefix = len(encoded).to_bytes(4, "big") + zlib.crc32(encoded).to_bytes(4, "big")
    return b"".join((_MAGIC, prefix, encoded, rest))


def unpack(body: bytes) -> Container | None:
    """Read the header of a stored snapshot; its sections stay packed.

    Returns:
        None if it has another format.

    Raises:
        ValueError: it is damaged.
    """
    if not body.startswith(_MAGIC):
        return None
    length = int.from_bytes(body[len(_MAGIC) : len(_MAGIC) + 4], "big")
    start = _PREFIX + length
    encoded = body[_PREFIX:start]
    if zlib.crc32(encoded).to_bytes(4, "big") != body[_PREFIX - 4 : _PREFIX]:
        msg = "the checksum of its header does not match"
        raise ValueError(msg)
    header = _decode_header(encoded)
    if start + sum(length for _, length in header.sections) != len(body):
        msg = "its length does not match its header"
        raise ValueError(msg)
    return Container(header, body, start)
