import assert from "node:assert/strict";
import { test } from "node:test";

import type { LedgerEvent, Relation, World, WorldObject } from "../src/data/shapes";
import { changesOf, fieldChanges, isSame, labelOf, NO_CHANGES } from "../src/views/logic/changes";
import { svgFile } from "../src/views/logic/figure";
import { inFirstLedger, traceFigure, traceRows } from "../src/views/logic/trace-figure";
import { neighbourhood, objectFigure, typeFigure } from "../src/views/logic/world-graph";

function event(position: number, cause: number[], type = "note", data = {}): LedgerEvent {
  const id = `e${position}`;
  return {
    id,
    type,
    source: "run:r",
    actor: "a",
    cause: cause.map((each) => `e${each}`),
    timestamp: "",
    data,
    position,
  };
}

function object(id: string, type = "Claim", data = {}): WorldObject {
  return { id, type, data, event_id: "e0", changed_by: "e0" };
}

function relation(source_id: string, target_id: string, type = "supports"): Relation {
  return { id: `${source_id}-${target_id}`, type, source_id, target_id, data: {}, event_id: "e0" };
}

const world: World = {
  position: 9,
  objects: [object("a"), object("b"), object("c", "Source"), object("alone", "Note")],
  relations: [relation("a", "b"), relation("b", "c", "cites")],
};

test("a world is drawn with every object, and lines only between its objects", () => {
  const marks = changesOf(event(3, [], "object.patched", { id: "b", patch: { text: "new" } }));
  const figure = objectFigure(world, marks, "World");
  assert.deepEqual(figure.boxes.map((each) => each.id).sort(), ["a", "alone", "b", "c"]);
  assert.equal(figure.boxes.find((each) => each.id === "b")?.mark, "patched");
  assert.deepEqual(
    figure.lines.map((each) => each.label),
    ["supports", "cites"],
  );
  assert.deepEqual([...marks.fields], [["b", ["text"]]]);
});

test("a large world is drawn by its types, with the number of relations between them", () => {
  const figure = typeFigure(world, NO_CHANGES, "World");
  assert.deepEqual(
    figure.boxes.map((each) => each.lines.join(": ")),
    ["Claim: 2 objects", "Source: 1 object", "Note: 1 object"],
  );
  assert.deepEqual(
    figure.lines.map((each) => each.label),
    ["supports ×1", "cites ×1"],
  );
});

test("the neighbourhood of an object grows with the number of relations followed", () => {
  const sizes = [0, 1, 2].map((hops) => neighbourhood(world, "a", hops).objects.length);
  assert.deepEqual(sizes, [1, 2, 3]);
});

test("the depth of an event in a trace is the longest chain from the selected one", () => {
  const events = [event(0, []), event(1, [0]), event(2, [1, 0]), event(3, [2, 0])];
  const depths = (rows: { event: LedgerEvent; depth: number }[]) =>
    rows.map((each) => [each.event.id, each.depth]);
  assert.deepEqual(depths(traceRows(events, "e3", "causes")), [
    ["e3", 0],
    ["e2", 1],
    ["e1", 2],
    ["e0", 3],
  ]);
  assert.deepEqual(depths(traceRows(events, "e0", "effects")), [
    ["e0", 0],
    ["e1", 1],
    ["e2", 2],
    ["e3", 3],
  ]);
});

test("a trace of a branch keeps the events of its parent, and not those of a child run", () => {
  const of = (position: number, source: string, run_id: string) => ({
    ...event(position, []),
    source,
    run_id,
  });
  const events = [of(3, "branch:b", "b"), of(1, "run:r", "b"), of(9, "run:child", "child")];
  assert.deepEqual(
    inFirstLedger(events).map((each) => each.position),
    [3, 1],
  );
});

test("an SVG file of a trace has no markup from the ledger", () => {
  const hostile = '</text><script>alert("x")</script>\u202e\u0000\ud800';
  const figure = traceFigure([event(0, []), event(1, [0], hostile, { text: hostile })], "e1", hostile);
  const file = svgFile(figure);
  assert.ok(!file.includes("<script"));
  assert.ok(!/[\u0000\u202e\ud800]/.test(file));
  assert.ok(file.includes("⟨U+202E⟩"));
  assert.equal(file.match(/<path class="line"/g)?.length, 1);
});

test("only fields that differ are changes; the order of fields does not count", () => {
  assert.deepEqual(fieldChanges({ a: 1, b: { x: 1, y: 2 } }, { b: { y: 2, x: 1 }, c: 3 }), [
    { name: "a", before: 1, after: undefined },
    { name: "c", before: undefined, after: 3 },
  ]);
  assert.ok(!isSame([1, 2], [1, 2, 3]) && !isSame({ a: undefined }, { b: 1 }) && !isSame(null, {}));
  assert.equal(labelOf(object("id-1", "T", { name: " ", text: "A text" })), "A text");
});
