/** The events of two runs side by side, from the position where they diverge. */

import type { LedgerEvent } from "../../data/shapes";
import { isSame } from "./changes";

export type RowKind = "same" | "changed" | "only_a" | "only_b";

export interface AlignedRow {
  readonly kind: RowKind;
  readonly a: LedgerEvent | null;
  readonly b: LedgerEvent | null;
}

/** The steps of a diff as the server returns them. */
export interface Steps {
  readonly changed: readonly { readonly before: LedgerEvent; readonly after: LedgerEvent }[];
  readonly only_a: readonly LedgerEvent[];
  readonly only_b: readonly LedgerEvent[];
}

const BOOKKEEPING = new Set(["responder.fired", "responder.completed", "responder.failed", "branch.created"]);

/** Whether an event is bookkeeping of the runtime, which a diff of steps leaves out. */
export function isBookkeeping(event: LedgerEvent): boolean {
  return BOOKKEEPING.has(event.type);
}

/**
 * Returns the rows of two panes: an event of each run where both have the step, else of one.
 *
 * The server has compared the steps; here they get their order. The rows follow the order of both
 * runs; where the orders contradict each other, that of the first run holds.
 */
export function align(a: readonly LedgerEvent[], b: readonly LedgerEvent[], steps: Steps): AlignedRow[] {
  const onlyA = new Set(steps.only_a.map((each) => each.id));
  const onlyB = new Set(steps.only_b.map((each) => each.id));
  const changed = new Map(steps.changed.map((each) => [each.before.id, each.after.id]));
  const isPartner = new Set(changed.values());
  const left = a.filter((each) => !isBookkeeping(each));
  const right = b.filter((each) => !isBookkeeping(each));
  const byId = new Map(right.map((each) => [each.id, each]));
  // Steps that are the same have the same order in most runs, and often the same id.
  const waiting = right.filter((each) => !onlyB.has(each.id) && !isPartner.has(each.id));
  const partners = new Map<string, LedgerEvent>();
  const taken = new Set<string>();
  for (const each of left) {
    const partner = byId.get(changed.get(each.id) ?? "");
    if (partner) partners.set(each.id, partner);
  }
  const queues = new Map<string, LedgerEvent[]>();
  for (const each of waiting) queueOf(queues, each).push(each);
  for (const each of left) {
    if (onlyA.has(each.id) || changed.has(each.id)) continue;
    const queue = queueOf(queues, each);
    const place = Math.max(
      0,
      queue.findIndex((other) => isSame(other.data, each.data)),
    );
    const [partner] = queue.splice(place, 1);
    if (partner) partners.set(each.id, partner);
  }
  const rows: AlignedRow[] = [];
  let next = 0;
  const takeRight = (until: LedgerEvent | null): void => {
    for (; next < right.length; next++) {
      const each = right[next];
      if (!each || each === until) return;
      if (!taken.has(each.id) && (onlyB.has(each.id) || until === null)) {
        rows.push({ kind: "only_b", a: null, b: each });
        taken.add(each.id);
      } else if (!taken.has(each.id)) return;
    }
  };
  for (const each of left) {
    const partner = partners.get(each.id) ?? null;
    if (!partner) {
      rows.push({ kind: "only_a", a: each, b: null });
      continue;
    }
    takeRight(partner);
    taken.add(partner.id);
    rows.push({ kind: changed.has(each.id) ? "changed" : "same", a: each, b: partner });
    while (next < right.length && taken.has(right[next]?.id ?? "")) next++;
  }
  takeRight(null);
  return rows;
}

function queueOf(queues: Map<string, LedgerEvent[]>, event: LedgerEvent): LedgerEvent[] {
  const key = `${event.type}\n${event.actor}`;
  const found = queues.get(key) ?? [];
  queues.set(key, found);
  return found;
}

/** A run of equal rows that is shown as one line, or a row that is shown. */
export type Shown = { readonly row: AlignedRow } | { readonly skipped: readonly AlignedRow[] };

/** Returns rows with long runs of equal ones folded, except `context` rows around each difference. */
export function folded(rows: readonly AlignedRow[], context = 2): Shown[] {
  const near = new Uint8Array(rows.length);
  rows.forEach((row, at) => {
    if (row.kind !== "same") near.fill(1, Math.max(0, at - context), at + context + 1);
  });
  const shown: Shown[] = [];
  for (let at = 0; at < rows.length;) {
    let end = at;
    while (end < rows.length && !near[end]) end++;
    if (end - at > 1) shown.push({ skipped: rows.slice(at, end) });
    else if (end > at) end = at;
    if (end > at) {
      at = end;
      continue;
    }
    const row = rows[at++];
    if (row) shown.push({ row });
  }
  return shown;
}
