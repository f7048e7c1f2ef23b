/** The events of some types of a run, which are few among all of its events. */

import type { LedgerEvent } from "../../data/shapes";
import type { Source } from "../../data/source";

/** Events that are read of each type at most: enough for a view, and bounded for a hostile run. */
const MOST = 20_000;

/** Return the first `end` events of a run that have one of the types, in order. */
export async function eventsOfTypes(
  source: Source,
  run: string,
  types: readonly string[],
  end: number,
): Promise<LedgerEvent[]> {
  const found = await Promise.all(types.map((type) => eventsOfType(source, run, type, end)));
  return found.flat().sort((a, b) => a.position - b.position);
}

async function eventsOfType(source: Source, run: string, type: string, end: number): Promise<LedgerEvent[]> {
  const found: LedgerEvent[] = [];
  let after: number | null = null;
  for (;;) {
    const page = await source.events(run, { type, limit: 1000, ...(after === null ? {} : { after }) });
    for (const each of page.items) if (each.position < end) found.push(each);
    const last = page.items.at(-1)?.position ?? null;
    const next = page.next === null ? Number.NaN : Number(page.next);
    // A page may be empty although others follow: its cursor is the last position that was read.
    const following = Number.isSafeInteger(next) ? next : last;
    if (
      page.next === null ||
      following === null ||
      following === after ||
      following >= end ||
      found.length >= MOST
    )
      return found;
    after = following;
  }
}
