/** The world of a run as a figure: its objects and relations, or its types where it is large. */

import { type Changes, labelOf } from "./changes";
import type { Figure, FigureBox, FigureLine } from "./figure";
import { layered } from "./layered";
import type { Relation, World, WorldObject } from "../../data/shapes";
import { plural } from "../../ui/format";
import { oneLine } from "./text";

/** Most objects that are drawn one by one; a larger world is drawn by its types. */
export const MOST_OBJECTS = 300;
const MOST_RELATIONS = 1200;
const WIDTH = 190;
const HEIGHT = 44;
const GAP = 14;

export interface Part {
  readonly objects: readonly WorldObject[];
  readonly relations: readonly Relation[];
}

/** Whether objects can be drawn one by one. */
export function isDrawable(part: Part): boolean {
  return part.objects.length <= MOST_OBJECTS && part.relations.length <= MOST_RELATIONS;
}

/** Returns an object and the objects within some relations of it, at most `MOST_OBJECTS`. */
export function neighbourhood(world: World, id: string, hops: number): Part {
  const near = new Map<string, string[]>();
  for (const each of world.relations) {
    push(near, each.source_id, each.target_id);
    push(near, each.target_id, each.source_id);
  }
  const found = new Set([id]);
  let edge = [id];
  for (let hop = 0; hop < hops; hop++) {
    const next: string[] = [];
    for (const other of edge.flatMap((each) => near.get(each) ?? [])) {
      if (found.has(other) || found.size >= MOST_OBJECTS) continue;
      found.add(other);
      next.push(other);
    }
    edge = next;
  }
  return partOf(world, (each) => found.has(each.id));
}

/** Returns the objects that a filter accepts, and the relations between them. */
export function partOf(world: World, accepts: (object: WorldObject) => boolean): Part {
  const objects = world.objects.filter(accepts);
  const ids = new Set(objects.map((each) => each.id));
  return {
    objects,
    relations: world.relations.filter((each) => ids.has(each.source_id) && ids.has(each.target_id)),
  };
}

/** Draws each object and relation; objects without relations stand in a grid below the others. */
export function objectFigure(part: Part, changes: Changes, title: string): Figure {
  const related = new Set(part.relations.flatMap((each) => [each.source_id, each.target_id]));
  const nodes = part.objects
    .filter((each) => related.has(each.id))
    .map((each) => ({ id: each.id, width: WIDTH, height: HEIGHT }));
  const edges = part.relations.map((each) => ({ source: each.source_id, target: each.target_id }));
  const layout = layered(nodes, edges, { direction: "right", nodeGap: GAP, rankGap: 90, tighten: true });
  const alone = part.objects.filter((each) => !related.has(each.id));
  const columns = Math.max(
    3,
    Math.round(layout.width / (WIDTH + GAP)),
    Math.ceil(Math.sqrt(alone.length / 2)),
  );
  const top = layout.height ? layout.height + 3 * GAP : 0;
  const places = new Map(
    alone.map((each, number) => [
      each.id,
      { x: (number % columns) * (WIDTH + GAP), y: top + Math.floor(number / columns) * (HEIGHT + GAP) },
    ]),
  );
  const boxes = part.objects.map((each): FigureBox => {
    const { x, y } = layout.boxes.get(each.id) ?? places.get(each.id) ?? { x: 0, y: 0 };
    const label = labelOf(each);
    return {
      id: each.id,
      x,
      y,
      width: WIDTH,
      height: HEIGHT,
      kind: "object",
      lines: [oneLine(each.type, 24), oneLine(label, 25)],
      title: `${oneLine(each.type, 60)}: ${oneLine(label, 200)} (${oneLine(each.id, 60)})`,
      mark: changes.marks.get(each.id),
    };
  });
  const lines = part.relations.map((each, number): FigureLine => ({
    source: each.source_id,
    target: each.target_id,
    points: layout.lines[number] ?? [],
    label: oneLine(each.type, 24),
    mark: changes.marks.get(each.id),
  }));
  const rows = Math.ceil(alone.length / columns);
  return {
    title,
    direction: "right",
    boxes,
    lines,
    width: Math.max(layout.width, Math.min(alone.length, columns) * (WIDTH + GAP) - GAP),
    height: alone.length ? top + rows * (HEIGHT + GAP) - GAP : layout.height,
  };
}

/** Draws a box for each type of object, and a line for each type of relation between two types. */
export function typeFigure(world: World, changes: Changes, title: string): Figure {
  const types = new Map(world.objects.map((each) => [each.id, each.type]));
  const counts = new Map<string, number>();
  const marked = new Set<string>();
  for (const each of world.objects) {
    counts.set(each.type, (counts.get(each.type) ?? 0) + 1);
    if (changes.marks.has(each.id)) marked.add(each.type);
  }
  const links = new Map<
    string,
    { source: string; target: string; label: string; number: number; marked: boolean }
  >();
  for (const each of world.relations) {
    const [source, target] = [types.get(each.source_id), types.get(each.target_id)];
    if (source === undefined || target === undefined) continue;
    const key = JSON.stringify([source, each.type, target]);
    const link = links.get(key) ?? { source, target, label: each.type, number: 0, marked: false };
    links.set(key, { ...link, number: link.number + 1, marked: link.marked || changes.marks.has(each.id) });
  }
  const edges = [...links.values()];
  const nodes = [...counts.keys()].map((id) => ({ id, width: WIDTH, height: HEIGHT }));
  const layout = layered(nodes, edges, { direction: "right", nodeGap: 2 * GAP, rankGap: 150, tighten: true });
  return {
    title,
    direction: "right",
    boxes: [...counts].map(([type, number]) => {
      const { x, y } = layout.boxes.get(type) ?? { x: 0, y: 0 };
      const size = plural(number, "object");
      const mark = marked.has(type) ? "patched" : undefined;
      const lines = [oneLine(type, 24), size];
      return {
        id: type,
        x,
        y,
        width: WIDTH,
        height: HEIGHT,
        kind: "object",
        lines,
        title: `${oneLine(type, 60)}: ${size}`,
        mark,
      };
    }),
    lines: edges.map((each, number) => ({
      source: each.source,
      target: each.target,
      points: layout.lines[number] ?? [],
      label: `${oneLine(each.label, 24)} ×${each.number}`,
      mark: each.marked ? "created" : undefined,
    })),
    width: layout.width,
    height: layout.height,
  };
}

function push(into: Map<string, string[]>, key: string, value: string): void {
  const found = into.get(key);
  if (found) found.push(value);
  else into.set(key, [value]);
}
