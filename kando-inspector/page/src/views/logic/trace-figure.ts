/** The causal trace of an event as a figure and as a list. */

import type { Figure, FigureBox } from "./figure";
import { layered } from "./layered";
import type { LedgerEvent } from "../../data/shapes";
import { readSummary } from "../../data/summary";
import { isData, labelIn } from "./changes";
import { oneLine } from "./text";

const WIDTH = 250;
const HEIGHT = 60;

/** Most events that are drawn; the list has them all. */
export const MOST_EVENTS = 400;

const KINDS: Readonly<Record<string, string>> = {
  "object.created": "object",
  "object.patched": "object",
  "relation.created": "relation",
  "relation.removed": "relation",
  "llm.request": "llm",
  "llm.response": "llm",
  "tool.called": "tool",
  "tool.returned": "tool",
};

/** Returns the class of an event: root, object, relation, llm, tool or other. */
export function kindOf(event: LedgerEvent): string {
  return event.cause.length === 0 ? "root" : (KINDS[event.type] ?? "other");
}

/** Returns what an event is about in a few words. */
export function aboutOf(event: LedgerEvent): string {
  const { id, type, data } = event.data;
  if (event.type !== "object.created" || !isData(data)) return readSummary(event);
  return `${String(type)}: ${labelIn(data) ?? String(id)}`;
}

/** Returns the events of a trace that are in the ledger of its first one; a branch has those of its parent. */
export function inFirstLedger(events: readonly LedgerEvent[]): LedgerEvent[] {
  const ledgerOf = (event: LedgerEvent | undefined) => (event as { run_id?: unknown } | undefined)?.run_id;
  return events.filter((each) => ledgerOf(each) === ledgerOf(events[0]));
}

/** A cause that is known, or an effect, as a row of the list form. */
export interface TraceRow {
  readonly event: LedgerEvent;
  /** Number of links from the selected event: the longest chain within the trace. */
  readonly depth: number;
}

/**
 * Returns the events of a trace with their distance from the selected one.
 *
 * A ledger is sorted: an event is after its causes. So one pass over the events finds the longest chains.
 */
export function traceRows(
  events: readonly LedgerEvent[],
  selected: string,
  direction: "causes" | "effects",
): TraceRow[] {
  const sign = direction === "effects" ? 1 : -1;
  const sorted = [...events].sort((a, b) => sign * (a.position - b.position));
  const depths = new Map<string, number>([[selected, 0]]);
  if (direction === "effects") {
    for (const each of sorted) {
      if (each.id === selected) continue;
      const above = each.cause.flatMap((id) => depths.get(id) ?? []);
      depths.set(each.id, above.length ? Math.max(...above) + 1 : 0);
    }
  } else {
    for (const each of sorted) {
      const depth = depths.get(each.id) ?? 0;
      for (const id of each.cause) depths.set(id, Math.max(depths.get(id) ?? 0, depth + 1));
    }
  }
  return sorted.map((event) => ({ event, depth: depths.get(event.id) ?? 0 }));
}

/** Draws the events of a trace below their causes. */
export function traceFigure(events: readonly LedgerEvent[], selected: string, title: string): Figure {
  const shown = nearest(events, selected).sort((a, b) => a.position - b.position);
  const edges = shown.flatMap((event) =>
    [...new Set(event.cause)].map((source) => ({ source, target: event.id })),
  );
  const ids = new Set(shown.map((each) => each.id));
  const known = edges.filter((each) => ids.has(each.source));
  const nodes = shown.map((each) => ({ id: each.id, width: WIDTH, height: HEIGHT }));
  const layout = layered(nodes, known, { direction: "down", nodeGap: 18, rankGap: 40 });
  return {
    title,
    direction: "down",
    boxes: shown.map((event): FigureBox => {
      const { x, y } = layout.boxes.get(event.id) ?? { x: 0, y: 0 };
      const about = aboutOf(event);
      return {
        id: event.id,
        x,
        y,
        width: WIDTH,
        height: HEIGHT,
        kind: kindOf(event),
        lines: [
          oneLine(`${event.position + 1} ${event.type}`, 34),
          oneLine(event.actor, 34),
          oneLine(about, 34),
        ],
        title: `${oneLine(event.id, 80)}, ${oneLine(event.actor, 80)}: ${oneLine(about, 200)}`,
        mark: event.id === selected ? "selected" : undefined,
      };
    }),
    lines: known.map((each, number) => ({ ...each, points: layout.lines[number] ?? [], label: "" })),
    width: layout.width,
    height: layout.height,
  };
}

/** Returns the selected event and the events nearest to it in the ledger, as many as can be drawn. */
function nearest(events: readonly LedgerEvent[], selected: string): LedgerEvent[] {
  if (events.length <= MOST_EVENTS) return [...events];
  const at = events.find((each) => each.id === selected)?.position ?? 0;
  return [...events]
    .sort((a, b) => Math.abs(a.position - at) - Math.abs(b.position - at))
    .slice(0, MOST_EVENTS);
}
