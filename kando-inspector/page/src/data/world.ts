/** The world that events project to, for exported files; kando/world/projection.py is the model. */

import type { JsonObject, LedgerEvent, Relation, World, WorldObject } from "./shapes";

/** Project the events of a run from its first one on. */
export function projectWorld(events: LedgerEvent[]): World {
  const objects = new Map<string, WorldObject>();
  const relations = new Map<string, Relation>();
  for (const event of events) apply(event, objects, relations);
  return {
    position: events.length,
    objects: [...objects.values()],
    relations: [...relations.values()],
  };
}

function apply(
  event: LedgerEvent,
  objects: Map<string, WorldObject>,
  relations: Map<string, Relation>,
): void {
  const { data } = event;
  const id = String(data.id);
  if (event.type === "object.created") {
    const made = { id, type: String(data.type), data: data.data as JsonObject };
    objects.set(id, { ...made, event_id: event.id, changed_by: event.id });
  } else if (event.type === "object.patched") {
    const old = objects.get(id);
    if (!old) return;
    const changed = { ...old.data, ...(data.patch as JsonObject) };
    objects.set(id, { ...old, data: changed, changed_by: event.id });
  } else if (event.type === "relation.created") {
    const ends = { source_id: String(data.source_id), target_id: String(data.target_id) };
    const about = { type: String(data.type), data: (data.data ?? {}) as JsonObject };
    relations.set(id, { id, ...about, ...ends, event_id: event.id });
  } else if (event.type === "relation.removed") {
    relations.delete(id);
  }
}
