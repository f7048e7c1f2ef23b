import assert from "node:assert/strict";
import { test } from "node:test";

import { EmbeddedSource } from "../src/data/embedded";
import type { RunStatus } from "../src/data/shapes";
import { SourceError } from "../src/data/source";
import { eventsOf, sourceOf } from "./helpers";

const events = eventsOf([
  { type: "object.created", data: { id: "goal", type: "Goal", data: { text: "t" } } },
  { type: "object.created", cause: [0], data: { id: "claim", type: "Claim", data: { a: 1, b: 2 } } },
  { type: "relation.created", cause: [1], data: { id: "r", type: "of", source_id: "claim", target_id: "goal" } },
  { type: "responder.fired", cause: [1] },
  { type: "object.patched", cause: [1], data: { id: "claim", patch: { b: 3 } } },
  { type: "relation.removed", cause: [4], data: { id: "r" } },
]);

test("an exported file shows the world at each number of events", async () => {
  const source = sourceOf(events);
  const early = await source.world("test", 3);
  assert.deepEqual(early.objects.map((each) => each.id), ["goal", "claim"]);
  assert.equal(early.relations.length, 1);
  const late = await source.world("test");
  assert.equal(late.position, 6);
  assert.deepEqual(late.objects[1]?.data, { a: 1, b: 3 });
  assert.equal(late.objects[1]?.changed_by, "object.patched-4");
  assert.deepEqual(late.relations, []);
  assert.deepEqual((await source.world("test", 0)).objects, []);
});

test("an exported file lists the runs that have all labels of a filter", async () => {
  const run = (run_id: string, labels: Record<string, string>) => ({
    status: { run_id, state: "finished", labels } as RunStatus,
    events: [],
  });
  const runs = [run("a", { tenant: "a", team: "x" }), run("b", { tenant: "b", team: "x" }), run("c", {})];
  const source = new EmbeddedSource({ format: "kando-page-1", version: "0", runs });
  const found = async (...label: string[]) => (await source.runs({ label })).items.map((each) => each.run_id);
  assert.deepEqual(await found(), ["a", "b", "c"]);
  assert.deepEqual(await found("team=x"), ["a", "b"]);
  assert.deepEqual(await found("team=x", "tenant=a"), ["a"]);
  assert.deepEqual(await found("team=y"), []);
});

test("an exported file traces causes and effects", async () => {
  const source = sourceOf(events);
  const ids = async (id: string, direction: "causes" | "effects") =>
    (await source.trace("test", id, direction)).map((each) => each.id);
  assert.deepEqual(await ids("relation.removed-5", "causes"), [
    "relation.removed-5",
    "object.patched-4",
    "object.created-1",
    "object.created-0",
  ]);
  assert.deepEqual(await ids("claim", "effects"), [
    "object.created-1",
    "relation.created-2",
    "object.patched-4",
    "relation.removed-5",
  ]);
});

test("an exported file pages through its events and refuses to act", async () => {
  const source = sourceOf(events);
  const first = await source.events("test", { limit: 4 });
  assert.deepEqual([first.items.length, first.next], [4, "3"]);
  const rest = await source.events("test", { after: 3, limit: 4 });
  assert.deepEqual([rest.items.length, rest.next], [2, null]);
  await assert.rejects(source.resume(), (error) => error instanceof SourceError && error.code === "read_only");
  await assert.rejects(source.status("other"), (error) => error instanceof SourceError && error.code === "not_found");
});
