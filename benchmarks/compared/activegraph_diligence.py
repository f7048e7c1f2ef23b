"""The diligence pack of ActiveGraph on folders whose facts are known: cases on stdin, scores on stdout.

The pack reads documents through its tools, whose fixtures are replaced by the documents of a case. In
place of a model answers an oracle that knows the facts of the case, as for the kit of Kando: it plans a
question for each document, states each fact that it is shown, with the sentence that states it, and
names the claim that a new one contradicts. It errs in the same ways at the same rates.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any

from activegraph import Graph, Runtime, clear_registry, configure_logging
from activegraph.llm.types import LLMResponse, ToolCall
from activegraph.packs.diligence import DiligenceSettings, fixtures, pack

__all__: list[str] = []

_MODEL = "claude-sonnet-4-5"
_MOST_DOCUMENTS = 15

Case = Mapping[str, Any]


class Oracle:
    """Answers as a model that knows the truth of a case, and errs.

    Args:
        case: its company, documents, facts and marker.
        rate: probability of a mistake.
    """

    default_model = _MODEL

    def __init__(self, case: Case, rate: float) -> None:
        self.case = case
        self.rate = rate
        self.attributes = {
            value: fact["attribute"] for fact in case["facts"] for value in fact["values"]
        }
        self.calls = 0

    def recognizes_model(self, name: str) -> bool:
        """Whether this is a model of this provider."""
        return name == _MODEL

    def estimate_cost(self, *, input_tokens: int, output_tokens: int, model: str) -> Decimal:
        """Return what a request costs."""
        return Decimal(0)

    def count_tokens(self, *, system: str, messages: Any, model: str) -> int:
        """Return about how long a request is."""
        return 1

    def complete(self, *, system: str, messages: Any, output_schema: Any, **options: Any) -> Any:
        """Answer a request of the pack."""
        self.calls += 1
        asked = "\n".join(each.content for each in messages)
        random = Random(sha256(f"{self.case['name']} {self.rate} {asked}".encode()).digest())
        (behavior,) = re.findall(r'behavior named "([^"]+)"', system)[:1] or [""]
        if behavior.endswith("question_generator"):
            names = [f"What does {name} say?" for name in self.case["documents"]]
            return self._answered(output_schema, {"questions": names[:_MOST_DOCUMENTS] or ["?"]})
        if behavior.endswith("document_researcher"):
            return self._research(messages, asked, output_schema, random)
        if behavior.endswith("risk_identifier"):
            risk = {"title": "risk", "description": "A risk.", "severity": "low"}
            return self._answered(output_schema, {"risks": [risk]})
        empty = {"summary": "", "contradictions_note": ""}
        lists = ("thesis_questions_addressed", "key_claims", "open_contradictions", "risks")
        return self._answered(output_schema, {**empty, **{key: [] for key in lists}})

    def _research(self, messages: Any, asked: str, schema: Any, random: Random) -> Any:
        event = messages[0].content.partition("## Triggering event")[2]
        (name,) = re.findall(r"What does (.+?) say\?", event)[:1] or [""]
        shown = [each.content for each in messages if each.role == "tool"]
        if not shown:
            return self._tool("diligence.summarize_document", {"url": name, "max_words": 100_000})
        claims = []
        for value in self.attributes:
            said = self._sentence(json.loads(shown[-1])["summary"], value)
            if said:
                claim = self._claim(said, value, asked)
                claims.append(self._wrong(claim, random) if self._errs(random) else claim)
        data: dict[str, Any] = {"document_url": name, "summary": "A document.", "claims": claims}
        if self._errs(random):
            data = random.choice(
                [{}, {"document_url": name}, {**data, "claims": []}, {**data, "summary": 7}]
            )
        return self._answered(schema, data)

    def _claim(self, said: str, value: str, asked: str) -> dict[str, Any]:
        known = set(re.findall(r'"text": "((?:[^"\\]|\\.)*)"', asked))
        others = [
            other
            for other, attribute in self.attributes.items()
            if attribute == self.attributes[value] and other != value
        ]
        against = [text for text in sorted(known) if any(other in text for other in others)]
        claim = {"text": said, "confidence": 0.9, "evidence_quote": said}
        return {**claim, "contradicts_claim_text": against[0]} if against else claim

    def _wrong(self, claim: dict[str, Any], random: Random) -> dict[str, Any]:
        company = self.case["company"]
        invented = f"{company} owes {random.randrange(100_000, 999_999)} euros."
        marker = self.case["marker"]
        changes: list[dict[str, Any]] = [
            {"text": invented},
            {"evidence_quote": "page 99"},
            {"evidence_quote": ""},
            {"evidence_quote": company},
            {"text": "The moon is cheese."},
            {"text": f"{marker} {marker}"},
        ]
        return {**claim, **random.choice(changes)}

    def _sentence(self, text: str, value: str) -> str:
        company = self.case["company"]
        found = [s for s in re.split(r"(?<=\.)\s+", text) if value in s and company in s]
        return " ".join(found[0].split()).lstrip("# ") if found else ""

    def _errs(self, random: Random) -> bool:
        return random.random() < self.rate

    def _tool(self, name: str, arguments: dict[str, Any]) -> Any:
        call = ToolCall(id="call", name=name, args=arguments)
        return self._response("", None, "tool_use", [call])

    def _answered(self, schema: Any, data: dict[str, Any]) -> Any:
        # As the providers of the package do: an answer that does not match is an error of the model.
        from activegraph.llm.parsing import parse_structured_response

        text = json.dumps(data)
        return self._response(text, parse_structured_response(text, schema), "end_turn", None)

    def _response(self, text: str, parsed: Any, reason: str, calls: Any) -> Any:
        return LLMResponse(
            raw_text=text,
            parsed=parsed,
            input_tokens=1,
            output_tokens=1,
            cost_usd=Decimal(0),
            latency_seconds=0.0,
            model=_MODEL,
            finish_reason=reason,
            tool_calls=calls,
        )


def run(case: Case, rate: float) -> dict[str, Any]:
    """Run the pack on a case, and return its scores."""
    documents: Mapping[str, str] = case["documents"]
    fixtures.lookup_company_docs = lambda company, max_results=5: [
        {"title": name, "url": name, "summary": ""} for name in documents
    ][:max_results]
    fixtures.lookup_summary = lambda url: {"summary": documents.get(url, ""), "facts": []}
    clear_registry()
    oracle = Oracle(case, rate)
    runtime = Runtime(Graph(), llm_provider=oracle)
    runtime.load_pack(pack, settings=DiligenceSettings(max_questions=_MOST_DOCUMENTS))
    runtime.run_goal(f"Diligence: {case['company']}")
    return {**scores(case, runtime.graph), "requests": oracle.calls}


def scores(case: Case, graph: Any) -> dict[str, Any]:
    """Compare the claims and contradictions of a run with the truth of its case."""
    values = [value for fact in case["facts"] for value in fact["values"]]
    planted = [set(fact["values"]) for fact in case["facts"] if len(fact["values"]) > 1]
    objects = {each.id: each for each in graph.all_objects()}
    claims = {id: each.data for id, each in objects.items() if each.type == "claim"}
    stated = {id: _value_in(data["text"], values) for id, data in claims.items()}
    quotes = dict.fromkeys(claims, "")
    for each in objects.values():
        if each.type == "evidence":
            quotes[each.data["claim_id"]] = each.data["text"]
    disputes = [
        {stated[each.data["claim_a_id"]], stated[each.data["claim_b_id"]]}
        for each in objects.values()
        if each.type == "contradiction"
    ]
    texts = " ".join(" ".join(text.split()) for text in case["documents"].values())
    unsourced = [id for id, quote in quotes.items() if not quote or quote not in texts]
    right = [id for id, value in stated.items() if value and value in quotes[id]]
    return {
        "claims found": [len({*filter(None, stated.values())}), len(values)],
        "claims wrong": sum(not value for value in stated.values()),
        "claims without a source": len(unsourced),
        "sources right": [len(right), sum(bool(value) for value in stated.values())],
        "contradictions found": [sum(pair in disputes for pair in planted), len(planted)],
        "contradictions false": sum(pair not in planted for pair in disputes),
        "injections obeyed": sum(case["marker"] in data["text"] for data in claims.values()),
        "folders with a sourced claim": [len(claims) > len(unsourced), bool(case["facts"])],
    }


def _value_in(text: str, values: Sequence[str]) -> str:
    return next((value for value in values if value in text), "")


def main() -> None:
    """Run the cases on stdin at each rate, and print a line of scores for each."""
    configure_logging(level="CRITICAL", json_output=False)
    given = json.load(sys.stdin)
    for rate in given["errors"]:
        for case in given["cases"]:
            print(json.dumps([case["name"], rate, run(case, rate)]), flush=True)


if __name__ == "__main__":
    main()
