"""Conformance tests that every recall must pass.

The test of a recall is a subclass that opens it::

    class TestMyRecall(RecallSuite):
        def open_recall(self):
            return open_mine(os.environ)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kando.text.relevance import Recall

__all__ = ["RecallSuite"]


class RecallSuite:
    """Tests of the promises of every recall."""

    #: A query, and texts of which the first is about the same.
    query = "How high is the tide in spring?"
    texts: tuple[str, ...] = (
        "How high the tide is in spring.",
        "The committee met on Tuesday to elect a treasurer.",
        "Bread rises faster in a warm kitchen.",
    )

    def open_recall(self) -> Recall:
        """Return the recall."""
        raise NotImplementedError  # pragma: no cover

    @pytest.fixture
    def recall(self) -> Recall:
        found = self.open_recall()
        assert isinstance(found, Recall)
        return found

    def test_an_order_has_indexes_of_the_texts_each_at_most_once(self, recall: Recall) -> None:
        order = recall.rank(self.query, self.texts)

        assert all(type(index) is int for index in order)
        assert len({*order}) == len(order)
        assert {*order} <= {*range(len(self.texts))}

    def test_a_text_about_the_query_comes_first_wherever_it_stands(self, recall: Recall) -> None:
        for turned in (self.texts, self.texts[1:] + self.texts[:1], self.texts[::-1]):
            assert turned[recall.rank(self.query, turned)[0]] == self.texts[0]

    def test_of_equal_texts_the_earlier_comes_first(self, recall: Recall) -> None:
        order = recall.rank(self.query, [self.texts[0]] * 3)

        assert order == sorted(order)

    def test_equal_calls_get_equal_orders(self, recall: Recall) -> None:
        # A branch that makes a call again, and a run that repeats one after a crash, rely on it.
        assert recall.rank(self.query, self.texts) == recall.rank(self.query, [*self.texts])
        assert recall.rank(self.query, self.texts) == self.open_recall().rank(
            self.query, self.texts
        )

    def test_no_texts_have_an_empty_order(self, recall: Recall) -> None:
        assert recall.rank(self.query, []) == []

    @pytest.mark.parametrize("text", ["", " \n", "\x00", "潮汐", "🌊" * 9, "tide " * 2000])
    def test_any_text_and_any_query_has_an_order(self, recall: Recall, text: str) -> None:
        # Documents are foreign texts, and a goal may be anything.
        for query, texts in ((self.query, [text, *self.texts]), (text, self.texts)):
            assert {*recall.rank(query, texts)} <= {*range(len(texts))}

    def test_it_can_be_called_from_several_threads_at_once(self, recall: Recall) -> None:
        expected = recall.rank(self.query, self.texts)

        with ThreadPoolExecutor(4) as pool:
            orders = [*pool.map(lambda n: recall.rank(self.query, self.texts), range(8))]

        assert orders == [expected] * 8
