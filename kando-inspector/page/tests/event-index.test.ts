import assert from "node:assert/strict";
import { test } from "node:test";

import { EventIndex } from "../src/data/event-index";
import { filterIndex, NO_FILTER, rankOf, searchData } from "../src/run/find";
import { layOut, placeOf, positionAt } from "../src/run/timeline-layout";
import { eventsOf, longRun, sourceOf } from "./helpers";

async function loaded(events: ReturnType<typeof eventsOf>): Promise<EventIndex> {
  const index = new EventIndex(sourceOf(events), "test");
  index.grow(events.length);
  await index.loadAll(new AbortController().signal);
  return index;
}

test("an index of many chunks holds every event", async () => {
  const events = longRun(1500);
  const index = await loaded(events);
  assert.equal(index.loadedPrefix, events.length);
  for (const position of [0, 999, 1000, 2999, 4499]) {
    assert.equal(index.id(position), events[position]?.id);
    assert.equal(index.positionOf(events[position]?.id ?? ""), position);
    assert.deepEqual(await index.event(position), events[position]);
  }
  assert.equal(index.answer(1), 2);
  assert.equal(index.answer(2), -1);
});

test("an event with an id of another form is found by it", async () => {
  const index = await loaded(
    eventsOf([
      { type: "object.created", id: "first" },
      { type: "llm.request", id: "asked-7", cause: [0] },
      { type: "llm.response", cause: [1] },
    ]),
  );
  assert.equal(index.positionOf("asked-7"), 1);
  assert.equal(index.positionOf("object.created-0"), -1);
  assert.equal(index.cause(1), 0);
  assert.equal(index.answer(1), 2);
});

test("events that arrive are added, and a gap is loaded later", async () => {
  const events = longRun(10);
  const index = new EventIndex(sourceOf(events), "test");
  index.grow(5);
  await index.loadAll(new AbortController().signal);
  for (const event of events.slice(5, 7)) index.append(event);
  assert.equal(index.loadedPrefix, 7);
  const late = events[20];
  assert.ok(late);
  index.append(late);
  assert.equal(index.length, 21);
  assert.equal(index.isLoaded(20), false);
  await index.loadAll(new AbortController().signal);
  assert.equal(index.loadedPrefix, 21);
});

test("the list is filtered by kind, by text and by bookkeeping", async () => {
  const index = await loaded(
    eventsOf([
      { type: "object.created", data: { id: "c-1", type: "Claim", data: { text: "Anvils" } } },
      { type: "responder.fired", cause: [0] },
      { type: "tool.called", data: { tool: "read", arguments: { deep: ["a", { hidden: "Needle" }] } } },
    ]),
  );
  assert.deepEqual([...(filterIndex(index, NO_FILTER) ?? [])], [0, 2]);
  assert.equal(filterIndex(index, { ...NO_FILTER, all: true }), null);
  assert.deepEqual([...(filterIndex(index, { ...NO_FILTER, kind: "tool" }) ?? [])], [2]);
  assert.deepEqual([...(filterIndex(index, { ...NO_FILTER, text: "anvil" }) ?? [])], [0]);
  assert.deepEqual(await searchData(index, "needle", () => true), [2]);
  assert.equal(rankOf(Int32Array.from([2, 5, 9]), 5), 1);
  assert.equal(rankOf(null, 5), 5);
});

test("places on the timeline grow with the events, whatever their times", async () => {
  const times = [0, 1, 2, 2, 2, 5_000_000, 5_000_001, 4_000_000, 5_000_002];
  const index = await loaded(eventsOf(times.map((at) => ({ type: "note.made", at }))));
  const layout = layOut(index);
  for (let i = 1; i < layout.loaded; i++) {
    assert.ok((layout.places[i] ?? 0) > (layout.places[i - 1] ?? 0));
    assert.equal(positionAt(layout, layout.places[i] ?? 0), i);
  }
  assert.equal(layout.gaps[0]?.position, 5);
  assert.equal(placeOf(layout, 0), 0);
  assert.equal(placeOf(layout, times.length), 1);
  assert.equal(positionAt(layout, -1), -1);
});

test("calls that overlap in a lane get rows of their own, and a pending call has no end", async () => {
  const index = await loaded(
    eventsOf([
      { type: "tool.called", actor: "a" },
      { type: "tool.called", actor: "a" },
      { type: "tool.returned", actor: "tools", cause: [0] },
      { type: "tool.called", actor: "a" },
    ]),
  );
  const { calls, lanes } = layOut(index);
  assert.deepEqual(lanes, ["a", "tools"]);
  assert.deepEqual(calls, [
    { start: 0, end: 2, lane: 0, row: 0 },
    { start: 1, end: -1, lane: 0, row: 1 },
    { start: 3, end: -1, lane: 0, row: 0 },
  ]);
});
