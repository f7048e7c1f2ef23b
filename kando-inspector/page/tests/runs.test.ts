import assert from "node:assert/strict";
import { test } from "node:test";

import type { LedgerEvent } from "../src/data/shapes";
import { changesOf, repeatedName, rowsOf } from "../src/data/labels";
import { align, folded } from "../src/views/logic/align";
import { branchRows } from "../src/views/logic/branch-tree";
import { conversationsIn, eventsWithAll, partsOf } from "../src/views/logic/conversations";
import { formFields, replyOf } from "../src/views/logic/schema-form";
import { costOverTime, limitsOf, toolUse } from "../src/views/logic/spending";

function event(id: string, type: string, data: object, position = 0, cause: string[] = []): LedgerEvent {
  const timestamp = new Date(1000 * position).toISOString();
  return {
    id,
    type,
    source: "run:r",
    actor: "a",
    cause,
    timestamp,
    data: data as LedgerEvent["data"],
    position,
  };
}

test("events of two runs are aligned: equal, changed, and only in one", () => {
  const note = (id: string, text: string) => event(id, "note", { text });
  const a = [note("1", "same"), note("2", "old"), note("3", "gone"), note("4", "end")];
  const b = [note("1", "same"), note("b2", "new"), note("b3", "more"), note("b4", "end"), note("b5", "last")];
  const [a2, a3, b2, b3, b5] = [a[1], a[2], b[1], b[2], b[4]];
  assert.ok(a2 && a3 && b2 && b3 && b5);
  const rows = align(a, b, { changed: [{ before: a2, after: b2 }], only_a: [a3], only_b: [b3, b5] });
  assert.deepEqual(
    rows.map(({ kind, a, b }) => [kind, a?.id, b?.id]),
    [
      ["same", "1", "1"],
      ["changed", "2", "b2"],
      ["only_a", "3", undefined],
      ["only_b", undefined, "b3"],
      ["same", "4", "b4"],
      ["only_b", undefined, "b5"],
    ],
  );
});

test("no event is lost when the orders of two runs contradict each other", () => {
  const note = (id: string, text: string) => event(id, "note", { text });
  const a = ["x", "y", "z"].map((each) => note(`a${each}`, each));
  const b = ["z", "n", "x", "y"].map((each) => note(`b${each}`, each));
  const [only] = b.slice(1);
  assert.ok(only);
  const rows = align(a, b, { changed: [], only_a: [], only_b: [only] });
  assert.deepEqual(rows.flatMap((each) => each.a?.id ?? []).sort(), ["ax", "ay", "az"]);
  assert.deepEqual(rows.flatMap((each) => each.b?.id ?? []).sort(), ["bn", "bx", "by", "bz"]);
});

test("long stretches of equal rows are folded, except around differences", () => {
  const same = Array.from({ length: 20 }, () => ({ kind: "same" as const, a: null, b: null }));
  const shown = folded([...same, { kind: "only_a", a: null, b: null }, ...same]);
  assert.deepEqual(
    shown.map((each) => ("skipped" in each ? each.skipped.length : 1)),
    [18, 1, 1, 1, 1, 1, 18],
  );
});

test("the tree of branches says which lines continue below a row", () => {
  const branch = (id: string, depth: number, fork: number | null = null) => ({
    id,
    parent_id: null,
    fork_position: fork,
    length: 10,
    depth,
    started_by: null,
  });
  const rows = branchRows([branch("run", 0), branch("a", 1, 4), branch("a1", 2), branch("b", 1)]);
  assert.deepEqual(
    rows.map(({ branch, isLast, rails, own }) => [branch.id, isLast, rails, own]),
    [
      ["run", true, [], 10],
      ["a", false, [], 6],
      ["a1", true, [true], 10],
      ["b", true, [], 10],
    ],
  );
});

const system = { role: "system", content: "Be brief." };
const milk = { role: "user", content: "I need milk" };
const call = {
  role: "assistant",
  content: "",
  tool_calls: [{ id: "c0", name: "remember", arguments: { note: "milk" } }],
};
const kept = { role: "tool", tool_call_id: "c0", content: "kept" };

function request(position: number, messages: object[]): LedgerEvent {
  return event(`q${position}`, "llm.request", { messages, conversation: { id: "chat", turn: 1 } }, position);
}

test("a conversation has each message once, with calls, results and compactions", () => {
  const events = [
    request(0, [system, milk]),
    event("r1", "llm.response", { text: "", tool_calls: call.tool_calls }, 1, ["q0"]),
    request(2, [system, milk, call, kept]),
    event("r3", "llm.response", { text: "Noted." }, 3, ["q2"]),
    event(
      "c4",
      "conversation.compacted",
      { conversation_id: "chat", why: "limit", tokens_before: 90, tokens_after: 20 },
      4,
    ),
    request(5, [system, { role: "user", content: "Summary" }, { role: "user", content: "And tea" }]),
  ];
  const [chat] = conversationsIn(events);
  const shown = chat?.entries.map((each) =>
    "message" in each
      ? `${each.message.role}: ${String(each.message.content)}`
      : `compacted ${each.compaction.after}`,
  );
  assert.deepEqual(shown, [
    "system: Be brief.",
    "user: I need milk",
    "assistant: ",
    "tool: kept",
    "assistant: Noted.",
    "compacted 20",
    "system: Be brief.",
    "user: Summary",
    "user: And tea",
  ]);
  assert.ok(chat?.isWaiting);
});

test("a few events hold all messages of a long conversation", () => {
  const answer = { role: "assistant", content: "Noted." };
  const events = [
    request(2, [system, milk, call, kept, answer, milk]),
    event("r3", "llm.response", { text: "Yes." }, 3, ["q2"]),
  ];
  const turn = (position: number) => ({
    request_id: `q${position}`,
    position,
    answer_id: `r${position + 1}`,
  });
  const compacted = event("c4", "conversation.compacted", {}, 4);
  const listed = { id: "chat", asked_by: "a", about: null, turns: [turn(0), turn(2), turn(5), turn(7)] };
  assert.deepEqual(eventsWithAll(listed, [compacted]), ["q2", "r3", "q7", "r8"]);
  const roles = conversationsIn(events)[0]?.entries.map((each) =>
    "message" in each ? each.message.role : "compacted",
  );
  assert.deepEqual(roles, ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]);
});

test("only images of safe types become addresses; other files are words", () => {
  const image = (media_type: string, data = "aGk=") => ({ type: "image", media_type, data });
  const kinds = partsOf([
    image("image/png"),
    image("image/svg+xml"),
    image("text/html"),
    image("image/png", '" onload="x'),
    { type: "text", text: "t" },
  ]);
  assert.deepEqual(
    kinds.map((each) => each.kind),
    ["image", "file", "file", "file", "text"],
  );
});

test("a form has a field for each property of a schema, and returns the reply", () => {
  const schema = {
    type: "object",
    required: ["name", "size"],
    properties: {
      name: { type: "string" },
      size: { type: "integer" },
      colour: { enum: ["red", 2] },
      more: { type: "array" },
    },
  };
  const fields = formFields(schema);
  assert.deepEqual(
    fields.map((each) => each.kind),
    ["text", "integer", "choice", "json"],
  );
  const reply = (texts: Record<string, string>) => replyOf(fields, new Map(Object.entries(texts)));
  assert.deepEqual(reply({ name: "a", size: "3", colour: "2", more: "[1]" }), {
    value: { name: "a", size: 3, colour: 2, more: [1] },
  });
  assert.deepEqual(reply({ name: "a" }), { error: "size is missing.", field: "size" });
  assert.deepEqual(reply({ name: "a", size: "3.5" }), {
    error: "size must be a whole number.",
    field: "size",
  });
  assert.deepEqual(replyOf(formFields(null), new Map([["", "[1]"]])), { value: [1] });
  assert.deepEqual(replyOf(formFields({ type: "string" }), new Map([["", "yes"]])), { value: "yes" });
});

test("cost grows with answers that are not from the cache", () => {
  const cost = (position: number, cost_usd: number, cached = false) =>
    event(`r${position}`, "llm.response", { cost_usd, cached }, position);
  const points = costOverTime([
    event("0", "kit.loaded", {}),
    cost(1, 0.5),
    cost(2, 1, true),
    cost(3, 0.25),
    event("4", "note", {}, 4),
  ]);
  assert.deepEqual(
    points.map((each) => [each.position, each.total]),
    [
      [0, 0],
      [1, 0.5],
      [3, 0.75],
      [4, 0.75],
    ],
  );
});

test("calls of tools are counted with their errors and times", () => {
  const events = [
    event("c", "tool.called", { tool: "read" }, 1),
    event("r", "tool.returned", { error: { message: "no" } }, 3, ["c"]),
    event("d", "tool.called", { tool: "read" }, 4),
  ];
  assert.deepEqual(toolUse(events), [{ tool: "read", calls: 2, errors: 1, seconds: 2 }]);
});

test("limits are shown with what is used of them", () => {
  const status = {
    limits: { max_llm_cost_usd: 2, other: 1 },
    events: 1,
    llm_cost_usd: 0.5,
    llm_requests: 1,
    llm_cached: 0,
  };
  assert.deepEqual(limitsOf(status), [
    { name: "max_llm_cost_usd", label: "Cost of LLM calls (USD)", limit: 2, used: 0.5 },
  ]);
});

test("the rows of a form say which labels change, and which name is given twice", () => {
  const labels = { tenant: "a", team: "x", constructor: "" };
  const rows = rowsOf(labels);
  assert.deepEqual(rows.map((each) => each.name), ["constructor", "team", "tenant"]);
  assert.deepEqual(changesOf(labels, rows), {});
  const edited = [{ name: "tenant", value: "b" }, { name: "stage", value: "" }, { name: "", value: "" }];
  assert.deepEqual(changesOf(labels, edited), { tenant: "b", stage: "", team: null, constructor: null });
  assert.equal(repeatedName(edited), null);
  assert.equal(repeatedName([...edited, { name: "tenant", value: "c" }]), "tenant");
});
