"""Decode text: by byte order mark, then declaration, then detection; each loss and guess is noted.

The module imports the standard library only, since it is loaded by the process that parses documents.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["Binary", "decode"]

_BOMS = (  # UTF-32 first: its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# The charsets of https://encoding.spec.whatwg.org, with the codec of Python that reads each. No other
# codec is used: "punycode" takes time in the square of the text, others execute escapes.
_CODECS = {
    "utf-8": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "windows-874": "cp874",
    **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "ibm866": "cp866",
    "ibm437": "cp437",
    "ibm850": "cp850",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
}
_LABELS = {
    **dict.fromkeys(("utf8", "unicode-1-1-utf-8", "unicode11utf8"), "utf-8"),
    **dict.fromkeys(("unicode", "ucs-2", "iso-10646-ucs-2"), "utf-16"),
    # Browsers read these as the code page of Windows, which contains them.
    **dict.fromkeys(
        ("ascii", "us-ascii", "ansi_x3.4-1968", "iso-8859-1", "iso8859-1"), "windows-1252"
    ),
    **dict.fromkeys(
        ("iso_8859-1", "latin1", "latin-1", "l1", "cp1252", "x-cp1252"), "windows-1252"
    ),
    **dict.fromkeys(("iso-8859-9", "iso8859-9", "latin5", "l5", "cp1254"), "windows-1254"),
    **dict.fromkeys(("iso-8859-11", "tis-620", "dos-874"), "windows-874"),
    **dict.fromkeys(("latin2", "latin-2", "l2"), "iso-8859-2"),
    **dict.fromkeys(("latin-9", "latin9", "l9"), "iso-8859-15"),
    **dict.fromkeys(("koi8", "koi"), "koi8-r"),
    **dict.fromkeys(("cp866", "866"), "ibm866"),
    **dict.fromkeys(("cp437", "437"), "ibm437"),
    **dict.fromkeys(("cp850", "850"), "ibm850"),
    **dict.fromkeys(("mac", "x-mac-roman", "mac-roman"), "macintosh"),
    **dict.fromkeys(("gb2312", "gb_2312-80", "gbk", "x-gbk", "cp936", "chinese"), "gb18030"),
    **dict.fromkeys(("big5-hkscs", "cn-big5", "x-x-big5", "cp950"), "big5"),
    **dict.fromkeys(
        ("sjis", "shift-jis", "x-sjis", "ms_kanji", "windows-31j", "cp932"), "shift_jis"
    ),
    **dict.fromkeys(("x-euc-jp", "eucjp"), "euc-jp"),
    **dict.fromkeys(("ks_c_5601-1987", "korean", "euckr", "cp949", "windows-949", "uhc"), "euc-kr"),
}
# Candidates for undeclared bytes. Fewer of them make the detection of short texts right.
_DETECTED = {
    _CODECS[name]: name
    for name in (
        *(
            "windows-1252",
            "windows-1250",
            "windows-1251",
            "koi8-r",
            "shift_jis",
            "euc-jp",
            "gb18030",
        ),
        *("windows-1253", "windows-1254", "windows-1255", "windows-1256", "euc-kr", "big5"),
    )
}

_XML = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w.:-]{1,40})["']""")
_META = re.compile(rb"""<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_DECLARED_WITHIN = 4096

_SAMPLE_BYTES = 32 * 1024
_SNIFFED_BYTES = 8 * 1024
_CONTROL = bytes({*range(32)} - {*b"\b\t\n\v\f\r\x1b"})
_WIDE = (
    # Codec, width of a unit, offset of the byte that is zero in Latin text.
    ("utf-32-le", 4, 3),
    ("utf-32-be", 4, 0),
    ("utf-16-le", 2, 1),
    ("utf-16-be", 2, 0),
)
_WIDE_ZEROS = 0.7
_MAX_LOST = 0.02


class Binary(ValueError):
    """The data is not text."""


def decode(
    data: bytes, *, charset: str | None = None, is_markup: bool = False
) -> tuple[str, list[str]]:
    """Return the text in `data`, and notes: what was guessed and what was lost.

    Args:
        data: of a text in any encoding.
        charset: declared outside the data, for example by an HTTP header.
        is_markup: whether to look for a declaration of HTML or XML in the data.

    Raises:
        Binary: the data is not text.
    """
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return _lenient(data, codec, codec.removesuffix("-sig"), [])
    notes: list[str] = []
    for declared, is_inside in ((charset, False), (_declared(data) if is_markup else None, True)):
        found = _decode_declared(data, declared, notes, is_inside) if declared else None
        if found is not None:
            return found[0], [*notes, *found[1]]
    text, more = _undeclared(data)
    return text, [*notes, *more]


def _declared(data: bytes) -> str | None:
    """Return the charset that a page or an XML document declares in itself."""
    start = _COMMENT.sub(b"", data[:_DECLARED_WITHIN])
    found = _XML.match(start) or _META.search(start)
    return found[1].decode("ascii", "replace") if found else None


def _decode_declared(
    data: bytes, declared: str, notes: list[str], is_inside: bool
) -> tuple[str, list[str]] | None:
    """Decode by a declared charset; None, with a note, if the data is in another one."""
    label = declared.strip().lower()
    name = _LABELS.get(label, label)
    if name not in _CODECS:
        notes.append(f"unknown charset {declared[:40]!r}")
        return None
    # A declaration that could be read as ASCII is not in a wide encoding.
    if is_inside and name.startswith(("utf-16", "utf-32")):
        name = "utf-8"
    if b"\0" in data[:_SNIFFED_BYTES] and not name.startswith(("utf-16", "utf-32")):
        return None
    text, lost = _lenient(data, _CODECS[name], name, [])
    if lost and (name == "utf-8" or text.count("\ufffd") > _MAX_LOST * len(text)):
        if name == "utf-8" and _is_mostly_utf_8(data, text):
            return text, lost
        notes.append(f"not in the declared charset {name}")
        return None
    return text, lost


def _undeclared(data: bytes) -> tuple[str, list[str]]:
    wide = _wide_codec(data)
    if wide:
        text, lost = _lenient(data, wide, wide, [])
        if text.count("\ufffd") <= _MAX_LOST * len(text):
            return text, [f"no encoding declared, read as {wide}", *lost]
    if b"\x1b$B" in data or b"\x1b$@" in data:
        try:
            return data.decode("iso2022_jp"), ["no encoding declared, read as iso-2022-jp"]
        except UnicodeDecodeError:
            pass
    text, lost = _lenient(data, "utf-8", "utf-8", [])
    if not lost:
        return text, []
    head = data[:_SNIFFED_BYTES]
    is_binary = b"\0" in head or len(head.translate(None, _CONTROL)) < 0.9 * len(head)
    if is_binary:
        raise Binary("binary file")
    if _is_mostly_utf_8(data, text):
        return text, lost
    name = _detected(data)
    return _lenient(data, _CODECS[name], name, [f"no encoding declared, read as {name}"])


def _lenient(data: bytes, codec: str, name: str, notes: list[str]) -> tuple[str, list[str]]:
    """Decode what can be decoded, with a note if there was more."""
    try:
        return data.decode(codec), notes
    except UnicodeDecodeError:
        text = data.decode(codec, "replace")
    lost = text.count("\ufffd")
    what = "1 character that is" if lost == 1 else f"{lost:,} characters that are"
    return text, [*notes, f"U+FFFD replaces {what} not valid {name}"]


def _is_mostly_utf_8(data: bytes, text: str) -> bool:
    """Whether data that is not UTF-8 as a whole has more good than bad characters beyond ASCII."""
    bad = text.count("\ufffd")
    good = len(text) - len(text.encode("ascii", "ignore")) - bad
    return good > 2 * bad


def _wide_codec(data: bytes) -> str | None:
    """Return the codec of text in UTF-16 or UTF-32 without a byte order mark."""
    head = data[:_SNIFFED_BYTES]
    for codec, width, offset in _WIDE:
        units = len(head) // width
        if units < 2 or len(data) % width or head[offset::width].count(0) < _WIDE_ZEROS * units:
            continue
        try:
            text = head[: units * width].decode(codec)
        except UnicodeDecodeError:
            continue  # as UTF-16 read as UTF-32 is, and a pair of surrogates cut in two
        if "\0" not in text:
            return codec
    return None


def _detected(data: bytes) -> str:
    """Return the charset that fits the text best."""
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # pragma: no cover - a dependency; text is read even if it is broken
        return "windows-1252"
    found = from_bytes(_sample(data), cp_isolation=list(_DETECTED))
    best = found.best()
    if best is None:
        return "windows-1252"
    # Central European texts and Western ones look alike, and the latter are far more common.
    for each in found:
        is_as_good = each.chaos <= best.chaos and each.coherence >= best.coherence
        if "cp1252" in each.could_be_from_charset and is_as_good:
            return "windows-1252"
    return _DETECTED.get(best.encoding, "windows-1252")


def _sample(data: bytes) -> bytes:
    """Return whole lines or words around the first character that is not ASCII."""
    if len(data) <= _SAMPLE_BYTES:
        return data
    found = re.search(rb"[\x80-\xff]", data)
    first = found.start() if found else 0
    start = max(data.rfind(b"\n", 0, first), data.rfind(b" ", 0, first)) + 1
    sample = data[start : start + _SAMPLE_BYTES]
    end = max(sample.rfind(b"\n"), sample.rfind(b" "))
    return sample[:end] if end > _SAMPLE_BYTES // 2 else sample
