"""The visible text of a page: text that elements, attributes or inline styles hide is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.text.html import visible_text

HIDING_STYLES = [
    "display:none",
    "DISPLAY : None ! important ; display : block",
    "color: red; /* ; */ display/**/:/**/none",
    r"d\69splay: non\65",
    "content: ';'; background: url(a;b); display:none",
    "visibility:hidden",
    "visibility: collapse",
    "content-visibility:hidden",
    "opacity:0",
    "opacity: 0.01",
    "font-size:0",
    "font-size: 1px",
    "font: 0/0 a",
    "font: bold 1px/2 serif",
    "color: transparent",
    "color: rgba(1, 2, 3, 0)",
    "color: #12345600",
    "color: #fff",
    "color: white; background: white",
    "color: rgb(250 250 250)",
    "background: black",
    "color: navy; background-color: #000080",
    "position:absolute; left:-9999px",
    "position: fixed; top: -100em",
    "text-indent: -9999px",
    "margin-left: -9999px",
    "height:0; overflow:hidden",
    "max-width: 1px; overflow-x: hidden",
    "clip: rect(0, 0, 0, 0)",
    "clip: rect(1px 1px 1px 1px)",
    "clip-path: inset(50%)",
    "transform: scale(0)",
    "transform: translateX(-9999px)",
    "filter: opacity(0%)",
]
SEEN_STYLES = [
    "",
    "display:block",
    "display: none; display: block",
    "display: block !important; display: none",
    "/* display:none */",
    "content: 'display:none'",
    "display: no/**/ne",
    "visibility:visible",
    "opacity:.5",
    "font-size:small",
    "font: 12px/0 serif",
    "color:white; background:#000",
    "color:white; background-image:url(dark.png)",
    "color:red",
    "position:absolute; left:10px",
    "text-indent:2em",
    "height:0",
    "overflow:hidden",
    "transform: scale(0.5)",
    "margin-left:-1px",
]
HIDING_ELEMENTS = [
    "<p hidden>{}</p>",
    "<p HIDDEN=until-found>{}</p>",
    "<p aria-hidden=true>{}</p>",
    "<p aria-hidden='TRUE '>{}</p>",
    "<div popover>{}</div>",
    "<template>{}</template>",
    "<noscript>{}</noscript>",
    "<dialog>{}</dialog>",
    "<details>{}</details>",
    "<details>{}<summary>seen</summary></details>",
    "<details><summary>seen</summary><summary>{}</summary></details>",
    "<details hidden><summary>{}</summary></details>",
    "<script>{}</script>",
    "<style>{}</style>",
    "<iframe>{}</iframe>",
    "<noframes>{}</noframes>",
    "<video>{}</video>",
    "<canvas>{}</canvas>",
    "<datalist><option>{}</datalist>",
    "<svg><title>{}</title><desc>{}</desc></svg>",
    "<body><title>{}</title>",
    "<!-- {} -->",
    "<input type=hidden value='{}'>",
    "<img alt='{}'>",
    "<font color=white>{}</font>",
    "<table bgcolor=#000000><td><font color=black>{}</font></table>",
    "<p hidden hidden=false>{}</p>",
    "<p style='display:none' style=''>{}</p>",
]


@pytest.mark.parametrize("style", HIDING_STYLES)
def test_text_that_an_inline_style_hides_is_not_read(style: str) -> None:
    page = f'<p>One</p><div style="{style}">no<p>no <b>no</b></p></div><p>two'

    assert visible_text(page).split() == ["One", "two"]


@pytest.mark.parametrize("style", SEEN_STYLES)
def test_text_that_an_inline_style_leaves_visible_is_read(style: str) -> None:
    assert visible_text(f'<p>One</p><div style="{style}">two</div>').split() == ["One", "two"]


@pytest.mark.parametrize("markup", HIDING_ELEMENTS)
def test_text_that_an_element_or_attribute_hides_is_not_read(markup: str) -> None:
    page = "<p>One</p>" + markup.replace("{}", "no<i>no</i>") + "<p>two"

    assert [word for word in visible_text(page).split() if word != "seen"] == ["One", "two"]


def test_open_details_dialogs_and_first_summaries_are_read() -> None:
    page = (
        "<details open><summary>a</summary>b</details><details>no<summary>c</summary>no</details>"
    )

    assert visible_text(page + "<dialog open>d</dialog>").split() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "page",
    [
        "<div style='visibility:hidden'>no<p style='visibility:visible'>seen</p>no</div>",
        "<div style='font-size:0'>no<p style='font-size:12px'>seen</p>no</div>",
        "<div style='text-indent:-9999px'>no<p style='text-indent:0'>seen</p>no</div>",
        "<div style='color:transparent'>no<p style='color:black'>seen</p>no</div>",
        "<div style='color:white'>no<p style='background:black'>seen</p>no</div>",
    ],
)
def test_text_within_that_is_visible_again_is_read(page: str) -> None:
    assert visible_text(page).split() == ["seen"]


def test_what_is_hidden_with_everything_within_stays_hidden() -> None:
    page = (
        "<div style='display:none'>no<p style='display:block;visibility:visible'>no</p></div>seen"
    )

    assert visible_text(page) == "seen"


def test_colours_that_a_style_sheet_may_change_hide_nothing() -> None:
    page = "<style>body { background: black }</style><p style='color:white'>seen"

    assert visible_text(page) == "seen"


def test_words_of_different_blocks_cells_and_controls_stay_apart() -> None:
    page = (
        "a<br>b<hr>c<div>d</div>e<ul><li>f<li>g</ul><table><tr><td>h<td>i<tr><th>j</table>"
        "<span style='display:block'>k</span><span style='display:block'>l</span>"
        "<button>m</button><button>n</button>o<img src=x>p<select><option>q<option>r</select>"
    )

    assert visible_text(page).split() == list("abcdefghijklmnopqr")


def test_a_word_with_markup_in_it_stays_one_word() -> None:
    assert visible_text("<p>an<b>vi</b>l<wbr>s <span>hea</span>vy") == "anvils heavy"


@given(st.text(st.sampled_from("<>/=\"'-! abpdiv\n;:&\\(){}#"), max_size=300))
def test_no_markup_makes_reading_raise(markup: str) -> None:
    visible_text(markup)
    visible_text(f'<p style="{markup}">x')
