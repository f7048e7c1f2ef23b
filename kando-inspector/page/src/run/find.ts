/** Finds events: by what the list shows of them, or in all of their data. */

import type { EventIndex } from "../data/event-index";
import { BOOKKEEPING, kindOf } from "./kinds";

export interface Filter {
  /** Text that an event must contain; "" for all events. */
  text: string;
  /** "" for all kinds, or "object", "relation", "llm", "tool", "person", "failure". */
  kind: string;
  /** Whether bookkeeping events are listed, too. */
  all: boolean;
}

export const NO_FILTER: Filter = { text: "", kind: "", all: false };

/** Return the positions of the loaded events that a filter lets through; null for all of them. */
export function filterIndex(index: EventIndex, filter: Filter): Int32Array | null {
  const text = filter.text.trim().toLowerCase();
  if (!text && !filter.kind && filter.all) return null;
  const isShown = index.types.all.map(
    (type) => (filter.kind ? kindOf(type) === filter.kind : true) && (filter.all || !BOOKKEEPING.has(type)),
  );
  const typeHas = index.types.all.map((type) => type.toLowerCase().includes(text));
  const actorHas = index.actors.all.map((actor) => actor.toLowerCase().includes(text));
  const found: number[] = [];
  for (let i = 0; i < index.length; i++) {
    if (!index.isLoaded(i)) continue;
    const type = index.typeNumber(i);
    if (!isShown[type]) continue;
    if (
      !text ||
      typeHas[type] ||
      actorHas[index.actorNumber(i)] ||
      index.summary(i).toLowerCase().includes(text) ||
      index.id(i).toLowerCase() === text
    ) {
      found.push(i);
    }
  }
  return Int32Array.from(found);
}

/** Return the positions of the events whose data contain a text; reads all events. */
export async function searchData(
  index: EventIndex,
  text: string,
  progress: (searched: number, found: number[]) => boolean,
): Promise<number[]> {
  const words = text.trim().toLowerCase();
  const found: number[] = [];
  let searched = 0;
  await index.visitAll((events) => {
    for (const event of events) {
      if (contains(event.data, words) || event.id.toLowerCase().includes(words)) found.push(event.position);
    }
    searched += events.length;
    return progress(searched, found);
  });
  return found;
}

function contains(value: unknown, words: string): boolean {
  if (typeof value === "string") return value.toLowerCase().includes(words);
  if (typeof value !== "object" || value === null) return String(value).toLowerCase() === words;
  for (const [name, each] of Object.entries(value)) {
    if (name.toLowerCase().includes(words) || contains(each, words)) return true;
  }
  return false;
}

/** Return where a position stands in sorted positions, or where it would stand. */
export function rankOf(positions: Int32Array | null, position: number): number {
  if (!positions) return position;
  let low = 0;
  let high = positions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((positions[middle] ?? 0) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
