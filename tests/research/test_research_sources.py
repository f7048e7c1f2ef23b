"""Sources: passages of the input documents, and the findings that cite them."""

from __future__ import annotations

import re

import pytest

from kando.schema.events import OBJECT_CREATED, RELATION_CREATED
from kando.text.relevance import most_relevant
from kando.trace.lineage import explain
from kits.research.kit import CITES, FINDING, GOAL, MAX_SOURCES, SOURCE, SYNTHESIS

SAFETY = "It is claimed that AI safety is unsolved."
EVIDENCE = "A study of AI safety gives evidence that tests support this."
TIDES = "The tides follow the moon."


def created(research, type):
    """Return for each object of a type the last event that created it."""
    found = [e for e in research.events(OBJECT_CREATED) if e.data["type"] == type]
    return list({event.data["id"]: event for event in found}.values())


def test_each_passage_of_a_document_is_a_source(research, make_document):
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 200 for n in range(10))
    event = make_document("long.txt", text)

    research.run([event])

    sources = [each.data for each in research.objects(SOURCE)]
    assert len(sources) > 1
    for source in sources:
        assert source["path"] == "long.txt"
        assert source["sha256"] == event.data["data"]["sha256"]
        assert source["excerpt"] == text[source["start"] : source["end"]]


def test_a_source_is_caused_by_its_document(research, make_document):
    research.run([make_document("a.txt", SAFETY)])

    (document,), (source,) = created(research, "Document"), created(research, SOURCE)
    assert source.cause == [document.id]


def test_an_empty_document_yields_no_source(research, make_document):
    world = research.run([make_document("empty.txt", "")])

    assert not world.objects_of(SOURCE)
    assert "3 of 3 questions answered." in research.synthesis().data["text"]


def test_findings_cite_the_sources_that_share_words_with_their_question(research, make_document):
    documents = [
        make_document("tides.txt", TIDES),
        make_document("safety.txt", SAFETY),
        make_document("study.txt", EVIDENCE),
    ]

    world = research.run(documents)

    cited = [
        [world.objects[each.target_id].data["path"] for each in world.get_relations(f.id, CITES)]
        for f in world.objects_of(FINDING)
    ]
    assert cited == [
        ["safety.txt", "study.txt"],
        ["safety.txt", "study.txt"],
        ["safety.txt", "study.txt"],
    ]


def test_a_finding_cites_a_source_even_if_it_shares_no_word(research, make_document):
    world = research.run([make_document("tides.txt", TIDES)])

    for finding in world.objects_of(FINDING):
        assert len(world.get_relations(finding.id, CITES)) == 1


def test_a_finding_cites_at_most_five_sources(research, make_document):
    world = research.run([make_document(f"{n}.txt", SAFETY) for n in range(9)])

    for finding in world.objects_of(FINDING):
        paths = [
            world.objects[each.target_id].data["path"]
            for each in world.get_relations(finding.id, CITES)
        ]
        assert paths == [f"{n}.txt" for n in range(MAX_SOURCES)]


def test_one_document_cannot_crowd_out_the_others(research, make_document):
    flood = "\n\n".join(f"# {n}\n\nAI safety is claimed, claimed, claimed." for n in range(50))
    documents = [make_document(name, SAFETY) for name in ("a.txt", "b.txt", "c.txt")]

    world = research.run([make_document("flood.txt", flood), *documents])

    for finding in world.objects_of(FINDING):
        paths = [
            world.objects[each.target_id].data["path"]
            for each in world.get_relations(finding.id, CITES)
        ]
        assert len(paths) == MAX_SOURCES
        assert {"a.txt", "b.txt", "c.txt"} < set(paths)


def test_without_documents_there_are_no_citations_and_the_request_says_so(research):
    world = research.run()

    assert not [each for each in world.relations.values() if each.type == CITES]
    for request in research.asked():
        assert "No source was given." in request.data["messages"][-1]["content"]


def test_a_request_shows_the_sources_that_its_finding_cites(research, make_document):
    world = research.run([make_document("safety.txt", SAFETY), make_document("tides.txt", TIDES)])

    for request in research.asked():
        prompt = request.data["messages"][-1]["content"]
        assert f"[1] safety.txt, characters 0-{len(SAFETY)}\n> {SAFETY}" in prompt
        assert TIDES not in prompt
        assert len(world.get_relations(request.data["cause_object_id"], CITES)) == 1


def test_a_finding_traces_to_its_sources_and_to_the_goal(research, make_document):
    research.run([make_document("a.txt", SAFETY), make_document("b.txt", EVIDENCE)])
    events = research.events()

    for finding in created(research, FINDING):
        steps = explain(finding.id, events)
        types = [each.data["type"] for each in steps if each.type == OBJECT_CREATED]
        assert types == [FINDING, SOURCE, SOURCE, "Question", "Document", "Document", GOAL]
        assert [each.type for each in steps if each.type.startswith("llm.")] == [
            "llm.response",
            "llm.request",
        ]


def test_a_citation_traces_to_its_source(research, make_document):
    research.run([make_document("a.txt", SAFETY), make_document("b.txt", EVIDENCE)])
    events = research.events()
    by_object = {e.data["id"]: e.id for e in events if e.type == OBJECT_CREATED}

    citations = [e for e in events if e.type == RELATION_CREATED and e.data["type"] == CITES]
    assert citations
    for citation in citations:
        chain = [each.id for each in explain(citation.id, events)]
        assert by_object[citation.data["target_id"]] in chain
        assert by_object[citation.data["source_id"]] in chain


def test_the_synthesis_traces_to_every_finding_every_source_and_the_goal(research, make_document):
    research.run([make_document("a.txt", SAFETY), make_document("b.txt", EVIDENCE)])

    (synthesis,) = created(research, SYNTHESIS)
    chain = {each.id for each in explain(synthesis.id, research.events())}

    for type in (FINDING, SOURCE, GOAL, "Document"):
        assert {each.id for each in created(research, type)} <= chain


def test_the_synthesis_lists_the_sources_of_each_finding(research, make_document):
    research.run([make_document("a.txt", SAFETY)])

    listed = f"- [1] a.txt, characters 0-{len(SAFETY)}"
    assert research.synthesis().data["text"].count(listed) == 3


def test_a_citation_leads_to_page_and_line(research, make_document):
    event = make_document("a.pdf", f"Cover.\n\n# AI\n\n{SAFETY}")
    event.data["data"]["pages"] = [[0, 1], [8, 2]]

    research.run([event])

    lines = research.synthesis().data["text"].splitlines()
    assert f"- [1] a.pdf, characters 8-{14 + len(SAFETY)}, page 2, line 3" in lines


def test_the_synthesis_names_what_was_not_read_and_why(research, make_document):
    research.settings = {"document_chars": 200}
    text = "\n\n".join(f"# {n}\n\nAI safety {n}. " + "word " * 20 for n in range(9))

    research.run([make_document("long.txt", text)])

    _, _, unread = research.synthesis().data["text"].partition("## Not read")
    assert "long.txt: " in unread
    assert "characters are beyond document\\_chars" in unread


def test_the_synthesis_lists_only_the_sources_that_an_answer_cites(research, make_document):
    documents = [make_document("a.txt", SAFETY), make_document("b.txt", EVIDENCE)]

    research.run(documents, lambda request: {"text": "So it is [2] [9].", "cost_usd": 0.0})

    listed = [line for line in research.synthesis().data["text"].splitlines() if "- [" in line]
    assert [line[:5] for line in listed] == ["- [2]"] * 3


def test_a_source_that_has_the_words_of_a_statement_is_cited_if_the_cited_one_has_not(
    research, make_document
):
    said = "Audits of large models cost 90 days."
    documents = [
        make_document("a.txt", "Safety is hard."),
        make_document("b.txt", "An audit of the safety of a large model costs 90 days."),
    ]

    def careless(request):
        statement = {"text": said, "sources": [1]}
        return {"data": {"statements": [statement]}, "text": "", "cost_usd": 0.0}

    research.run(documents, careless)

    text = research.synthesis().data["text"]
    cited = re.search(rf"> {said} \[(\d)\] \(source chosen by its words\)", text)
    assert cited is not None, text
    assert f"- [{cited[1]}] b.txt" in text


@pytest.mark.parametrize(
    ("query", "texts", "expected"),
    [
        ("claims", ["nothing", "one claim", "claimed claims"], [2, 1]),
        ("What is the tide?", ["what is the", "a TIDE."], [1]),
        ("rare common", ["common", "common", "rare"], [2, 0]),
        ("জলের দাম", ["আলো", "জলের, কথা।"], [1]),
        ("", ["first", "second"], [0]),
        ("word", [], []),
    ],
)
def test_relevance_weights_rare_shared_words_more(query, texts, expected):
    assert most_relevant(query, texts, 2) == expected
