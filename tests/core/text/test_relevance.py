"""Relevance: BM25 over stems, in the language of each text."""

import pytest

from kando.text.portions import parts_of, placed_passages, within_budget
from kando.text.relevance import Recall, holder_of, languages_of, most_relevant, words_in


@pytest.mark.parametrize(
    ("query", "texts", "expected"),
    [
        ("claims", ["nothing", "one claim", "claimed claims"], [2, 1]),
        ("What is the tide?", ["what is the", "a TIDE."], [1]),
        ("rare common", ["common", "common", "rare"], [2, 0]),
        ("জলের দাম", ["আলো", "জলের, কথা।"], [1]),
        ("Umsatz", ["Der Umsatz ist hoch.", "Die Umsätze der Firma.", "Das Wetter."], [0, 1]),
        ("資本金", ["他の話です", "会社の資本金は百万円です"], [1]),
        ('a "quoted" OR (word) NEAR *', ["word", "OR NEAR", "no"], [0, 1]),
        ("", ["first", "second"], [0]),
        ("word", [], []),
    ],
)
def test_a_text_is_relevant_for_the_words_that_it_shares(query, texts, expected):
    assert most_relevant(query, texts, 2) == expected


BRIDGE = ["The bridge is closed.", "The deck of the bridge has 60 planks.", "60 planks"]


@pytest.mark.parametrize(
    ("statement", "texts", "expected"),
    [
        ("The deck has 60 planks.", BRIDGE, 1),
        ("The bridge has a deck with planks and rails.", BRIDGE, 1),
        ("The deck has 61 planks.", BRIDGE, None),
        ("The bridge is closed.", BRIDGE, None),
        ("A river with trout and pike passes the bridge.", BRIDGE, None),
        ("Der Steg hat Bohlen aus Eiche.", ["Nichts.", "Die Bohlen des Stegs sind aus Eiche."], 1),
        ("", BRIDGE, None),
    ],
)
def test_the_holder_of_a_statement_has_most_of_its_words_and_all_of_its_figures(
    statement, texts, expected
):
    assert holder_of(statement, texts) == expected


def test_a_short_text_counts_more_than_a_long_one_with_the_same_word():
    assert most_relevant("tide", ["tide " + "water " * 50, "the tide", "x", "y"], 1) == [1]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The company was founded in 1949.", "english"),
        ("Die Firma wurde im Jahr 1949 gegründet.", "german"),
        ("La société a été fondée en 1949 par une famille.", "french"),
        ("Компания была основана в 1949 году.", "russian"),
        ("1949", "english"),
    ],
)
def test_a_language_is_recognized_by_its_frequent_words(text, language):
    assert languages_of([text]) == [language]


def test_words_of_one_stem_are_equal_and_frequent_words_are_left_out():
    assert words_in("the years of founding") == words_in("founded in a year") == {"year", "found"}
    assert words_in("die Umsätze", ["german"]) == words_in("der Umsatz", ["german"]) == {"umsatz"}


def test_another_measure_alternates_with_the_words():
    class Backwards(Recall):
        def rank(self, query, texts):
            return [*reversed(range(len(texts)))]

    texts = ["tide", "tide low", "moon", "sea"]

    assert most_relevant("tide", texts, 3, recall=Backwards()) == [0, 3, 1]


def test_a_document_within_its_budget_is_read_whole_and_a_longer_one_by_relevance():
    text = "\n\n".join(
        f"Paragraph {n} is about {'tides' if n == 8 else 'rain'}." for n in range(10)
    )
    found = [*placed_passages(text, max_chars=30)]

    assert within_budget(found, "tide", 10_000).passages == found
    portion = within_budget(found, "tide", 70)
    assert [each.excerpt for each in portion.passages] == [found[0].excerpt, found[8].excerpt]
    assert portion.unread == portion.chars - sum(len(each.excerpt) for each in portion.passages)


def test_a_passage_has_the_line_and_the_page_that_it_begins_on():
    text = "One.\n\nTwo.\nTwo.\n\nThree."

    found = placed_passages(text, lines_before=10, pages=[[0, 4], [6, 5]], max_chars=10)

    assert [(each.excerpt, each.line, each.page) for each in found] == [
        ("One.", 11, 4),
        ("Two.\nTwo.", 13, 5),
        ("Three.", 16, 5),
    ]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], [(0, 0)]),
        ([5], [(0, 1)]),
        ([50, 50], [(0, 2)]),
        ([4, 4, 4, 4], [(0, 2), (1, 3), (2, 4)]),
        ([2, 2, 2, 9, 2], [(0, 3), (2, 4), (3, 5)]),
    ],
)
def test_each_part_begins_with_the_last_passage_of_the_one_before(sizes, parts):
    assert parts_of(sizes, 10) == parts
