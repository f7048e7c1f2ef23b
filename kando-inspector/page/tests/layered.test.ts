import assert from "node:assert/strict";
import { test } from "node:test";

import { type Box, curved, layered } from "../src/views/logic/layered";

const node = (id: string) => ({ id, width: 100, height: 40 });
const edge = (source: string, target: string) => ({ source, target });

function overlaps(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

test("the rank of a node is the longest path to it", () => {
  const nodes = ["a", "b", "c", "d"].map(node);
  const edges = [edge("a", "b"), edge("b", "c"), edge("a", "c"), edge("c", "d"), edge("a", "d")];
  const { boxes } = layered(nodes, edges, { direction: "down", rankGap: 10 });
  assert.deepEqual(
    nodes.map(({ id }) => boxes.get(id)?.y),
    [0, 50, 100, 150],
  );
});

test("no two nodes overlap, whatever the graph", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
  for (const direction of ["down", "right"] as const) {
    for (let size = 1; size <= 41; size += 10) {
      const nodes = Array.from({ length: size }, (_, at) => node(`n${at}`));
      const edges = Array.from({ length: 2 * size }, () => edge(`n${random(size)}`, `n${random(size)}`));
      const boxes = [...layered(nodes, edges, { direction }).boxes.values()];
      assert.equal(boxes.length, size);
      boxes.forEach((a, at) =>
        boxes.slice(at + 1).forEach((b) => assert.ok(!overlaps(a, b), `${a.id} ${b.id}`)),
      );
    }
  }
});

test("cycles and loops are drawn, and each line starts at its source", () => {
  const nodes = ["a", "b", "c"].map(node);
  const edges = [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("a", "a"), edge("a", "gone")];
  const { boxes, lines } = layered(nodes, edges, { direction: "right" });
  assert.equal(boxes.size, 3);
  assert.deepEqual(
    lines.map((points) => points.length > 0),
    [true, true, true, false, false],
  );
  const [back, c] = [lines[2]?.[0], boxes.get("c")];
  assert.ok(back && c && back[0] >= c.x && back[0] <= c.x + c.width);
});

test("a long chain and an empty graph have a layout", () => {
  const nodes = Array.from({ length: 5000 }, (_, at) => node(`n${at}`));
  const edges = nodes.slice(1).map((each, at) => edge(`n${at}`, each.id));
  assert.equal(layered(nodes, edges, { direction: "down", rankGap: 10 }).height, 5000 * 50 - 10);
  assert.deepEqual(layered([], [], { direction: "down" }).height, 0);
  assert.equal(curved([], "down"), "");
});
