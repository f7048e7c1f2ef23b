import assert from "node:assert/strict";
import { test } from "node:test";

import { problemOf, queryOf } from "../src/data/rest";
import { readSummary } from "../src/data/summary";
import { kando, quote, runAt, traceCommand } from "../src/ui/commands";
import { age, clock, duration, plural, usd } from "../src/ui/format";
import { eventsOf } from "./helpers";

test("a word of a command cannot become another command", () => {
  assert.equal(quote("object.created-2"), "object.created-2");
  assert.equal(quote("a b"), "'a b'");
  assert.equal(quote("it's; rm -rf $HOME"), "'it'\\''s; rm -rf $HOME'");
  assert.equal(quote(""), "''");
  assert.equal(kando("status", "x\ny\r\u2028z"), "kando status 'x y  z'");
  assert.equal(traceCommand("r1", "e 1", 5), "kando trace 'e 1' --run r1@5");
  assert.equal(runAt("r1", null), "r1");
});

test("costs, times and counts are short", () => {
  assert.deepEqual([0, 0.00012, 0.0345, 1.5, 120].map(usd), ["$0", "$0.00012", "$0.035", "$1.50", "$120.00"]);
  assert.deepEqual([0, 350, 4200, 65_000, 7_200_000, 200 * 3_600_000].map(duration), [
    "0 ms",
    "350 ms",
    "4.2 s",
    "1 min",
    "2.0 h",
    "8 d",
  ]);
  assert.equal(plural(1, "event"), "1 event");
  assert.equal(plural(1200, "event"), "1,200 events");
  assert.equal(age("2026-01-01T00:00:00Z", Date.UTC(2026, 0, 1, 0, 3)), "3 min ago");
  assert.equal(age("2026-01-01T00:00:00Z", Date.UTC(2026, 0, 1) + 6_800), "6 s ago");
  assert.equal(age("not a time", 0), "");
  assert.equal(clock(Number.NaN), "");
  assert.equal(clock(9e15), "");
});

test("a summary is one short line, whatever the data is", () => {
  const long = "a\nb\t".repeat(2_000_000);
  const datas = [{}, { text: long }, { error: { type: long, message: 5 } }, { messages: [null, [1]] }, { id: 5, data: [] }];
  const types = [
    "object.created",
    "object.patched",
    "relation.created",
    "llm.request",
    "llm.response",
    "tool.called",
    "tool.returned",
    "responder.failed",
    "kit.loaded",
    "other.type",
  ];
  for (const type of types) {
    for (const event of eventsOf(datas.map((data) => ({ type, data })))) {
      const summary = readSummary(event);
      assert.ok(summary.length <= 150, type);
      assert.ok(!/[\n\t]/.test(summary), type);
    }
  }
});

test("a problem of the server keeps its code and its hint", () => {
  const found = problemOf(404, { title: "t", detail: "The run x does not exist.", code: "not_found", hint: "h" });
  assert.deepEqual([found.message, found.code, found.hint, found.status], ["The run x does not exist.", "not_found", "h", 404]);
  assert.equal(problemOf(502, null).code, "http_502");
  assert.equal(queryOf({ a: 0, b: null, c: "", d: "x y" }), "?a=0&d=x+y");
});
