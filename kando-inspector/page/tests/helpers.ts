/** Events and sources for tests. */

import { EmbeddedSource } from "../src/data/embedded";
import type { JsonObject, LedgerEvent, RunStatus } from "../src/data/shapes";

const START = Date.UTC(2026, 0, 1);

interface Row {
  type: string;
  actor?: string;
  /** Positions of the causes. */
  cause?: number[];
  data?: JsonObject;
  /** Milliseconds after the start; the position if omitted. */
  at?: number;
  id?: string;
}

/** Return events of a run, each with its type, actor, causes (by position), data and time in ms. */
export function eventsOf(rows: Row[]): LedgerEvent[] {
  const ids = rows.map((row, i) => row.id ?? `${row.type}-${i}`);
  return rows.map((row, position) => ({
    id: ids[position] ?? "",
    type: row.type,
    source: "run:test",
    actor: row.actor ?? "cli",
    cause: (row.cause ?? []).map((each) => ids[each] ?? `unknown-${each}`),
    timestamp: new Date(START + (row.at ?? position)).toISOString(),
    data: row.data ?? {},
    position,
  }));
}

/** Return an exported file that holds one run with these events. */
export function sourceOf(events: LedgerEvent[]): EmbeddedSource {
  const status = { run_id: "test", state: "finished", goal: "Test", events: events.length } as RunStatus;
  return new EmbeddedSource({ format: "kando-page-1", version: "0", runs: [{ status, events }] });
}

/** Return a long run: calls of several responders, each answered. */
export function longRun(calls: number): LedgerEvent[] {
  const rows: Row[] = [];
  for (let i = 0; i < calls; i++) {
    const first = rows.length;
    rows.push({ type: "object.created", actor: `step_${i % 7}`, data: { id: `claim-${i}`, type: "Claim" } });
    rows.push({ type: "llm.request", actor: `step_${i % 7}`, cause: [first], data: { model: "m" } });
    rows.push({ type: "llm.response", actor: "llm", cause: [first + 1], data: { text: `answer ${i}` } });
  }
  return eventsOf(rows);
}
