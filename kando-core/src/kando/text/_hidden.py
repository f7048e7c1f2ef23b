"""Which elements of an HTML page a reader does not see.

Known are elements, attributes and inline styles. Style sheets are not read: they would need a
browser. The module imports the standard library only, since it is loaded by the process that parses
documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["Look", "is_styled_block", "look_of"]

# fmt: off
_HIDDEN = frozenset({
    "annotation", "annotation-xml", "applet", "audio", "canvas", "datalist", "defs", "desc", "head",
    "iframe", "metadata", "noembed", "noframes", "noscript", "rp", "script", "style", "symbol",
    "template", "title", "video",
})
_STYLING = frozenset({"background", "bgcolor", "color", "style", "text"})
# fmt: on
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_TOKEN = re.compile(r""""[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|\([^)]*(?:\)|\Z)|[^;"'(]+|;""")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z%]*)\s*")
_FONT_SIZE = re.compile(r"0|[+-]?[\d.]+(?:[a-z]+|%)")
_ZERO_SCALE = re.compile(r"scale(?:x|y|3d)?\(\s*[+-]?0*\.?0*%?\s*[,)]|translate\w*\([^)]*-\d{4,}")
_EMPTY_CLIP = re.compile(
    r"rect\(\s*(?:[01](?:px)?[\s,]*){4}\)|circle\(\s*0|inset\(\s*(?:[5-9]\d|100)%"
)
_EMPTY_FILTER = re.compile(r"opacity\(\s*0*\.?0*%?\s*\)")
_RGB = re.compile(r"(?:rgb|hsl)a?\(([^)]*)\)")
_HEX = re.compile(r"#([0-9a-f]{3,8})")

# Lengths below this, in the unit given, show nothing that could be read.
_PIXELS = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "em": 16.0,
    "rem": 16.0,
    "ex": 8.0,
    "ch": 8.0,
}
_PIXELS |= {"in": 96.0, "cm": 37.8, "mm": 3.78, "q": 0.945, "%": 0.16, "vw": 10.0, "vh": 8.0}
_MIN_FONT_PIXELS = 2.0
_MIN_BOX_PIXELS = 2.0
_OFF_SCREEN_PIXELS = -900.0
_MIN_OPACITY = 0.05
_MIN_CONTRAST = 16

_NAMED = {
    **{"white": (255, 255, 255), "black": (0, 0, 0), "red": (255, 0, 0), "lime": (0, 255, 0)},
    **{
        "blue": (0, 0, 255),
        "yellow": (255, 255, 0),
        "gray": (128, 128, 128),
        "grey": (128, 128, 128),
    },
    **{"green": (0, 128, 0), "navy": (0, 0, 128), "silver": (192, 192, 192), "maroon": (128, 0, 0)},
    **{"snow": (255, 250, 250), "ivory": (255, 255, 240), "whitesmoke": (245, 245, 245)},
    **{"ghostwhite": (248, 248, 255), "floralwhite": (255, 250, 240), "purple": (128, 0, 128)},
}
_Colour = tuple[int, ...]


class Look:
    """How text in an element looks, as far as attributes and inline styles say.

    Attributes:
        is_gone: hidden with everything within.
        is_invisible: hidden, but an element within can be visible again.
        is_tiny: in a font that is too small to be read.
        is_indented: its first line begins outside the screen.
        colour: of the text; None if unknown, empty if transparent.
        background: behind the text; None if unknown.
    """

    __slots__ = ("background", "colour", "is_gone", "is_indented", "is_invisible", "is_tiny")

    def __init__(self, *, has_style_sheet: bool) -> None:
        self.is_gone = self.is_invisible = self.is_tiny = self.is_indented = False
        # A style sheet may give the page any colours.
        self.colour: _Colour | None = None if has_style_sheet else (0, 0, 0)
        self.background: _Colour | None = None if has_style_sheet else (255, 255, 255)

    def within(self) -> Look:
        """Return the look of an element within, without attributes."""
        look = Look(has_style_sheet=True)
        for name in self.__slots__:
            setattr(look, name, getattr(self, name))
        return look

    def is_seen(self) -> bool:
        """Whether a reader sees text here."""
        if self.is_gone or self.is_invisible or self.is_tiny or self.is_indented:
            return False
        if self.colour is None:
            return True
        if not self.colour:
            return False
        if not self.background:
            return True
        pairs = zip(self.colour, self.background, strict=True)
        return max(abs(ours - theirs) for ours, theirs in pairs) >= _MIN_CONTRAST


def look_of(tag: str, attributes: Mapping[str, str], outer: Look) -> Look:
    """Return how the text of an element looks.

    Args:
        tag: of the element, in lower case.
        attributes: of the element, by name in lower case.
        outer: the look of the element around it.
    """
    is_removed = _is_removed(tag, attributes)
    if outer.is_gone or not (is_removed or tag == "a" or attributes.keys() & _STYLING):
        return outer
    look = outer.within()
    look.is_gone = is_removed
    if tag == "a":  # in the colours of links
        look.colour = None
    if tag == "font":
        _set_colour(look, attributes.get("color"))
    if tag == "body":
        _set_colour(look, attributes.get("text"))
    if "background" in attributes:
        look.background = None
    elif "bgcolor" in attributes:
        look.background = _colour(attributes["bgcolor"])
    if "style" in attributes:
        _style(look, _declarations(attributes["style"]))
    return look


def is_styled_block(attributes: Mapping[str, str]) -> bool:
    """Whether an inline style puts an element on lines of its own."""
    style = attributes.get("style")
    if style is None or "display" not in style.lower():
        return False
    display = _declarations(style).get("display", "")
    return display.startswith(("block", "flex", "grid", "table", "list-item", "flow-root"))


def _is_removed(tag: str, attributes: Mapping[str, str]) -> bool:
    if tag in _HIDDEN or "hidden" in attributes or "popover" in attributes:
        return True
    if attributes.get("aria-hidden", "").strip().lower() == "true":
        return True
    return tag == "dialog" and "open" not in attributes


def _declarations(style: str) -> dict[str, str]:
    """Return the values of an inline style by property, in lower case and without escapes."""
    found: dict[str, str] = {}
    important: set[str] = set()
    for declaration in _split(_COMMENT.sub(" ", style)):
        name, colon, value = declaration.partition(":")
        name, value = _unescaped(name).strip().lower(), _unescaped(value).strip().lower()
        value, mark, _ = value.partition("!")
        if not colon or not value.strip() or (name in important and not mark):
            continue
        found[name] = " ".join(value.split())
        if mark:
            important.add(name)
    return found


def _split(style: str) -> Iterator[str]:
    """Split an inline style at its semicolons, except those in strings and brackets."""
    declaration = ""
    for token in _TOKEN.findall(style):
        if token == ";":
            yield declaration
            declaration = ""
        else:
            declaration += token
    yield declaration


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        code = int(match[1], 16) if match[1] else ord(match[2])
        return chr(code) if 0 < code < 0xD800 else "\ufffd"

    return _ESCAPE.sub(plain, text)


def _style(look: Look, style: Mapping[str, str]) -> None:
    get = style.get
    if _is_out_of_sight(style):
        look.is_gone = True
    if "visibility" in style:
        look.is_invisible = style["visibility"] in ("hidden", "collapse")
    _set_font(look, style)
    indent = _pixels(get("text-indent"))
    if indent is not None:
        look.is_indented = indent <= _OFF_SCREEN_PIXELS
    _set_colour(look, get("color"))
    _set_colour(look, get("-webkit-text-fill-color"))
    shorthand = get("background", "")
    if "url(" in shorthand or "gradient(" in shorthand or get("background-image", "none") != "none":
        look.background = None
    else:
        _set_background(look, shorthand)
        _set_background(look, get("background-color", ""))


def _set_background(look: Look, value: str) -> None:
    if value in ("", "none", "inherit", "unset", "initial"):
        return
    found = (_colour(each) for each in (value, *value.split()))
    colour = next((each for each in found if each is not None), None)
    if colour is None or colour:  # a transparent one shows the one around it
        look.background = colour


def _set_font(look: Look, style: Mapping[str, str]) -> None:
    size = style.get("font-size")
    if size is None and "font" in style:
        # The size is the first length; a line height may follow it.
        lengths = (word.partition("/")[0] for word in style["font"].split())
        size = next((word for word in lengths if _FONT_SIZE.fullmatch(word)), None)
    if size is None:
        return
    number = _NUMBER.fullmatch(size)
    if number is None:
        # A keyword: "small" is readable, and "inherit", "smaller" and calc() change little.
        look.is_tiny = look.is_tiny and size in ("inherit", "smaller", "larger", "unset")
    elif not (number[2] in ("em", "%", "ex", "ch") and look.is_tiny):
        look.is_tiny = float(number[1]) * _PIXELS.get(number[2], 1.0) < _MIN_FONT_PIXELS


def _is_out_of_sight(style: Mapping[str, str]) -> bool:
    """Whether a style hides an element and everything within."""
    get = style.get
    if get("display") == "none" or get("content-visibility") == "hidden":
        return True
    opacity = _NUMBER.fullmatch(get("opacity", "1"))
    if opacity and float(opacity[1]) * (0.01 if opacity[2] == "%" else 1.0) < _MIN_OPACITY:
        return True
    if _EMPTY_CLIP.search(get("clip", "")) or _EMPTY_CLIP.search(get("clip-path", "")):
        return True
    if _ZERO_SCALE.search(get("transform", "")) or get("scale", "1") in ("0", "0%", "0 0"):
        return True
    if _EMPTY_FILTER.search(get("filter", "")):
        return True
    clips = any("hidden" in get(name, "") or "clip" in get(name, "") for name in _OVERFLOWS)
    if clips and any(_is_below(get(name), _MIN_BOX_PIXELS) for name in _BOXES):
        return True
    is_placed = get("position") in ("absolute", "fixed", "relative")
    placed = _PLACES if is_placed else ()
    return any(_is_below(get(name), _OFF_SCREEN_PIXELS) for name in (*placed, *_MARGINS))


_OVERFLOWS = ("overflow", "overflow-x", "overflow-y")
_BOXES = ("width", "height", "max-width", "max-height")
_PLACES = ("left", "top", "right", "bottom", "inset-inline-start", "inset-block-start")
_MARGINS = ("margin-left", "margin-top", "margin-inline-start")


def _is_below(value: str | None, limit: float) -> bool:
    pixels = _pixels(value)
    return pixels is not None and pixels < limit


def _pixels(value: str | None) -> float | None:
    number = _NUMBER.fullmatch(value) if value else None
    if number is None:
        return None
    # A percentage is of the box around it, which is about a thousand pixels wide.
    scale = 10.0 if number[2] == "%" else _PIXELS.get(number[2], 1.0)
    return float(number[1]) * scale


def _set_colour(look: Look, value: str | None) -> None:
    if value and value.strip().lower() not in ("inherit", "currentcolor", "unset"):
        look.colour = _colour(value)


def _colour(value: str) -> _Colour | None:
    """Return a colour as red, green and blue, empty if transparent; None if it is unknown."""
    value = value.strip().lower()
    if value == "transparent":
        return ()
    if value in _NAMED:
        return _NAMED[value]
    digits = _HEX.fullmatch(value)
    if digits:
        return _of_digits(digits[1])
    function = _RGB.fullmatch(value)
    if function is None:
        return None
    words = re.split(r"[\s,/]+", function[1].strip())
    if len(words) == 4 and (_number(words[3]) or 0.0) < _MIN_OPACITY:
        return ()
    if value.startswith("hsl") or len(words) < 3:
        return None
    scaled = [(_number(word) or 0.0) * (255 if word.endswith("%") else 1) for word in words[:3]]
    return round(scaled[0]), round(scaled[1]), round(scaled[2])


def _of_digits(digits: str) -> _Colour | None:
    if len(digits) in (3, 4):
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) not in (6, 8):
        return None
    if len(digits) == 8 and int(digits[6:], 16) < 255 * _MIN_OPACITY:
        return ()
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _number(word: str) -> float | None:
    number = _NUMBER.fullmatch(word)
    if number is None:
        return None
    return float(number[1]) / (100 if number[2] == "%" else 1)
