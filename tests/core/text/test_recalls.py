"""Recalls that plugins offer: found by name, listed, and refused if they break their promises."""

from collections.abc import Iterator

import pytest

from kando.plugins import PluginError, Plugins
from kando.recall import candidates, joined, open_recall, rank_passages
from kando.testing.recalls import RecallSuite
from kando.text.relevance import Ranked, Recall, most_relevant
from recalls import trigrams_installed

TEXTS = ["Rain in May.", "Großrevenuebericht", "Tides"]


@pytest.fixture
def _trigrams(tmp_path) -> Iterator[None]:
    with trigrams_installed(tmp_path):
        yield


@pytest.mark.usefixtures("_trigrams")
class TestTrigrams(RecallSuite):
    def open_recall(self) -> Recall:
        return open_recall("trigrams")


@pytest.mark.usefixtures("_trigrams")
def test_a_recall_is_listed_and_ranks_the_passages_of_a_text():
    text, spans = joined(TEXTS)

    assert [each.spec.name for each in Plugins().recalls()] == ["trigrams"]
    assert rank_passages("trigrams", "the revenue", text, ["a", "b", "c"], spans) == ["b", "a", "c"]


@pytest.mark.parametrize("texts", [["rain"] * 3000, ["rain" * 400] * 300, ["rain" * 60_000]])
def test_a_call_ranks_as_much_as_fits_into_its_event_and_the_most_relevant_by_words(texts):
    chosen = candidates("tide", [*texts, "tide"])

    assert chosen[-1] == len(texts)
    assert len(chosen) <= 2000
    assert sum(len([*texts, "tide"][n]) for n in chosen) <= 200_000


def test_an_order_that_is_recorded_finds_a_text_without_a_word_of_the_query():
    assert most_relevant("the revenue", TEXTS, 1, recall=Ranked([1])) == [1]
    assert most_relevant("revenue tides", TEXTS, 2, recall=Ranked([9, 1])) == [2, 1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return [0, 0]", "or one twice"),
        ("return [3]", "indexes that 3 texts do not have"),
        ("raise OSError('the model is damaged')", "the model is damaged"),
    ],
)
def test_a_broken_recall_is_reported(tmp_path, body, reason):
    source = f"""
    from kando.text.relevance import Recall

    class Broken(Recall):
        def rank(self, query, texts):
            {body}

    def open_trigrams(environ):
        return Broken()
    """
    text, spans = joined(TEXTS)

    with trigrams_installed(tmp_path, source), pytest.raises((PluginError, OSError), match=reason):
        rank_passages("trigrams", "the revenue", text, ["a", "b", "c"], spans)


def test_a_target_that_returns_something_else_is_named(tmp_path):
    source = "def open_trigrams(environ):\n    return 'vectors'\n"

    with trigrams_installed(tmp_path, source), pytest.raises(PluginError) as refused:
        open_recall("trigrams")

    assert "'trigrams' of kando-trigrams 1.0 returned a str" in str(refused.value)
    assert "kando.text.relevance.Recall" in str(refused.value.hint)
