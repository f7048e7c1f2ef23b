/** What one event changed in the world of a run. */

import type { LedgerEvent, World, WorldObject } from "../../data/shapes";

/** A JSON object of a ledger, before its fields are checked. */
export type Data = Readonly<Record<string, unknown>>;

export type Mark = "created" | "patched" | "removed";

export interface Changes {
  /** How each object or relation that the event changed was changed, by id. */
  readonly marks: ReadonlyMap<string, Mark>;
  /** The names of the fields that a patch set, by object. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
}

export const NO_CHANGES: Changes = { marks: new Map(), fields: new Map() };

const MARKS: Readonly<Record<string, Mark>> = {
  "object.created": "created",
  "object.patched": "patched",
  "relation.created": "created",
  "relation.removed": "removed",
};

/** Returns what an event changed; most events change one object or relation, others none. */
export function changesOf(event: LedgerEvent | null): Changes {
  const mark = event ? MARKS[event.type] : undefined;
  const id = event?.data["id"];
  if (!event || !mark || typeof id !== "string") return NO_CHANGES;
  const patch = event.data["patch"];
  const fields = mark === "patched" && isData(patch) ? Object.keys(patch) : [];
  return { marks: new Map([[id, mark]]), fields: new Map(fields.length ? [[id, fields]] : []) };
}

/** Whether a value is a JSON object. */
export function isData(value: unknown): value is Data {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export interface FieldChange {
  readonly name: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** Returns the fields that differ between two versions of an object; undefined where one is missing. */
export function fieldChanges(before: Data, after: Data): FieldChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names
    .map((name) => ({ name, before: before[name], after: after[name] }))
    .filter((each) => !isSame(each.before, each.after));
}

/** Whether two JSON values are equal; the order of fields does not count. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((each, at) => isSame(each, b[at]));
  if (!isData(a) || !isData(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => name in b && isSame(a[name], b[name]))
  );
}

const LABELS = [
  "title",
  "name",
  "statement",
  "question",
  "goal",
  "path",
  "text",
  "summary",
  "label",
  "excerpt",
];

/** Returns the text that names an object best: its title, name or text, else its id. */
export function labelOf(object: WorldObject): string {
  return labelIn(object.data) ?? object.id;
}

/** Returns the field that names an object best, or null. */
export function labelIn(data: Data): string | null {
  for (const name of LABELS) {
    const value = data[name];
    if (typeof value === "string" && value.trim()) return value;
  }
  return null;
}

/** Returns the types of objects with their numbers, most frequent first. */
export function typesIn(world: World): [type: string, number: number][] {
  const counts = new Map<string, number>();
  for (const each of world.objects) counts.set(each.type, (counts.get(each.type) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
