"""Untrusted text in Markdown is shown verbatim and acts as no markup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.text.markdown import one_line, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 3.5 percent (about)", "plain words, 3.5 percent (about)"),
        ("**bold** _it_ `code` ~~no~~ $x$", r"\*\*bold\*\* \_it\_ \`code\` \~\~no\~\~ \$x\$"),
        ("[click](http://x.test)", r"\[click\](http\://x.test)"),
        ("cited [1] and [12].", "cited [1] and [12]."),
        ("[1](x) [2]: x [3][y]", r"\[1\](x) \[2\]: x \[3\]\[y\]"),
        ("</script><b onclick=x>&lt;", "&lt;/script&gt;&lt;b onclick=x&gt;&amp;lt;"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("7. item", r"7\. item"),
        ("a\n\n# b\r\n> c", r"a \# b &gt; c"),
        ("me@x.test www.x.test", r"me\@x.test www\.x.test"),
        ("\x1b[2J\x07red\u202eder\u200b", r"\[2J red der"),
        ("a | b", r"a \| b"),
        ("\u0995\u09be\u09a3\u09cd\u200d\u09a1", "\u0995\u09be\u09a3\u09cd\u200d\u09a1"),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_markup_is_shown_verbatim(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(alphabet=st.sampled_from("ab1 [](){}<>&!#*_`~|\\$:/@.-+=\n\x1b\u2028\u202e")))
def test_every_character_that_could_start_markup_is_escaped(text: str) -> None:
    shown = plain(text)

    assert not set(shown) & set("<>\n\x1b\u2028\u202e")
    bare = [c for before, c in zip(f" {shown}", shown, strict=False) if before != "\\"]
    assert not set(bare) & set("*_`~|$#@")
    assert "](" not in shown.replace(r"\](", "")


@given(st.text(max_size=300), st.integers(1, 50))
def test_a_line_is_printable_and_within_the_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)

    assert len(line) <= limit
    assert all(c.isprintable() or c in "\u200c\u200d" for c in line)


def test_only_the_beginning_of_a_huge_text_is_processed() -> None:
    assert len(plain("x" * 10_000_000, 100)) == 100
