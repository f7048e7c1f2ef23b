"""A research run gives the same ledger when it is repeated, replayed, or stopped and resumed."""

from __future__ import annotations

from kando.schema.events import LLM_RESPONSE
from kits.research.kit import SYNTHESIS

TEXT = "It is claimed that AI safety is unsolved. " * 60


def test_equal_runs_have_equal_ledgers(new_research, make_document):
    first, second = new_research(), new_research()

    for each in (first, second):
        each.run([make_document("a.txt", TEXT)])

    assert first.decided() == second.decided()


def test_a_replay_gives_the_same_world(research, make_document):
    world = research.run([make_document("a.txt", TEXT)])

    runtime = research.runtime()
    assert runtime.load() == world
    assert runtime.replay() == world
    assert runtime.replay(strict=True) == world


def test_a_run_without_answers_replays_strictly(research, make_document):
    world = research.run([make_document("a.txt", TEXT)], complete=None)

    assert research.runtime(None).replay(strict=True) == world


def test_a_run_that_was_answered_later_replays_strictly(research):
    research.run(complete=None)
    world = research.resume()

    assert research.runtime().replay(strict=True) == world


def test_a_finished_run_has_no_pending_work(research, make_document):
    research.run([make_document("a.txt", TEXT)])
    before = research.decided()

    research.resume()

    assert research.decided() == before
    assert not research.runtime().has_pending_work()


def test_a_run_stopped_anywhere_resumes_to_the_same_ledger(new_research, make_document):
    finished = new_research()
    finished.run([make_document("a.txt", TEXT), make_document("b.txt", "AI safety, measured.")])
    events, expected = finished.events(), finished.decided()

    # The goal and its documents are one batch, so no run stops between them.
    for length in range(3, len(events) + 1):
        stopped = new_research()
        stopped.store.append(events[:length])

        stopped.resume()

        assert stopped.decided() == expected, f"stopped after {length} of {len(events)} events"


def test_a_run_with_a_failed_answer_resumes_from_anywhere_to_the_same_ledger(new_research):
    def failing(request):
        asked = request["messages"][-1]["content"]
        is_first = "claimed" in asked.splitlines()[0]
        return {"error": "refused"} if is_first else {"text": asked, "cost_usd": 0.0}

    finished = new_research()
    finished.run(complete=failing)
    events, expected = finished.events(), finished.decided()

    for length in range(1, len(events) + 1):
        stopped = new_research()
        stopped.store.append(events[:length])

        stopped.resume(failing)

        assert stopped.decided() == expected, f"stopped after {length} of {len(events)} events"


def test_a_run_stopped_between_answers_gets_one_synthesis(new_research):
    finished = new_research()
    finished.run()
    first_answer = finished.events(LLM_RESPONSE)[0]
    stopped = new_research()
    # Up to the end of the answer's firing: a firing is committed as a whole.
    stopped.store.append(finished.events()[: first_answer.position + 2])

    without_provider = stopped.resume(None)
    with_provider = stopped.resume()

    assert not without_provider.objects_of(SYNTHESIS)
    assert len(with_provider.objects_of(SYNTHESIS)) == 1
