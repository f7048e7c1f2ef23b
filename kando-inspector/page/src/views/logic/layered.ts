/** A layered layout of a directed graph: the rank of a node is the longest path to it. */

export interface LayoutNode {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}

export interface LayoutEdge {
  readonly source: string;
  readonly target: string;
}

export interface Box {
  readonly id: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export type Point = readonly [x: number, y: number];

export interface Layout {
  readonly boxes: ReadonlyMap<string, Box>;
  /** For each edge in the order given, the points that its line passes; empty for a loop. */
  readonly lines: readonly (readonly Point[])[];
  readonly width: number;
  readonly height: number;
}

export interface LayoutOptions {
  /** Where the ranks grow. */
  readonly direction: "right" | "down";
  /** Distance between two ranks. */
  readonly rankGap?: number;
  /** Distance between two nodes of a rank. */
  readonly nodeGap?: number;
  /** Whether a node without predecessors stands right before its first successor. */
  readonly tighten?: boolean;
}

/** Most points that are added to bend the lines of long edges around nodes. */
const MOST_BENDS = 4000;
const SWEEPS = 8;
const BEND_SIZE = 10;

/** A node, or a bend of a long edge, while it is placed. */
interface Cell {
  readonly rank: number;
  /** Its extent across the direction, and along it. */
  readonly across: number;
  readonly along: number;
  readonly before: number[];
  readonly after: number[];
  place: number;
}

/** Places nodes in ranks and bends the lines between them around the nodes in their way. */
export function layered(
  nodes: readonly LayoutNode[],
  edges: readonly LayoutEdge[],
  options: LayoutOptions,
): Layout {
  const isDown = options.direction === "down";
  const nodeGap = options.nodeGap ?? 16;
  const rankGap = options.rankGap ?? 48;
  const numbers = new Map(nodes.map((node, number) => [node.id, number]));
  const pairs = edges.map((edge) => pairOf(edge, numbers));
  const forward = withoutCycles(nodes.length, pairs);
  const ranks = rankedBy(nodes.length, forward, options.tighten ?? false);
  const cells: Cell[] = nodes.map((node, number) => ({
    rank: ranks[number] ?? 0,
    across: isDown ? node.width : node.height,
    along: isDown ? node.height : node.width,
    before: [],
    after: [],
    place: 0,
  }));
  const paths = forward.map((pair) => pathOf(pair, cells));
  const rows = ordered(cells);
  spread(rows, cells, nodeGap);
  return drawn(nodes, pairs, paths, rows, cells, isDown, rankGap);
}

type Pair = readonly [source: number, target: number];

function pairOf(edge: LayoutEdge, numbers: ReadonlyMap<string, number>): Pair | null {
  const source = numbers.get(edge.source);
  const target = numbers.get(edge.target);
  return source === undefined || target === undefined || source === target ? null : [source, target];
}

/** Turns around each edge that closes a cycle; null stays null. */
function withoutCycles(count: number, pairs: readonly (Pair | null)[]): (Pair | null)[] {
  const leaving: number[][] = Array.from({ length: count }, () => []);
  pairs.forEach((pair, number) => {
    if (pair) leaving[pair[0]]?.push(number);
  });
  const turned = new Set<number>();
  const state = new Uint8Array(count); // 1: on the path, 2: done
  for (let root = 0; root < count; root++) {
    if (state[root]) continue;
    const path: [node: number, next: number][] = [[root, 0]];
    state[root] = 1;
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const number = leaving[top[0]]?.[top[1]++];
      if (number === undefined) {
        state[top[0]] = 2;
        path.pop();
        continue;
      }
      const target = pairs[number]?.[1] ?? 0;
      if (state[target] === 1) turned.add(number);
      else if (!state[target]) {
        state[target] = 1;
        path.push([target, 0]);
      }
    }
  }
  return pairs.map((pair, number) => (pair && turned.has(number) ? [pair[1], pair[0]] : pair));
}

/** Returns the rank of each node of a graph without cycles: the length of the longest path to it. */
function rankedBy(count: number, pairs: readonly (Pair | null)[], tighten: boolean): number[] {
  const targets: number[][] = Array.from({ length: count }, () => []);
  const missing = new Array<number>(count).fill(0);
  for (const pair of pairs) {
    if (!pair) continue;
    targets[pair[0]]?.push(pair[1]);
    missing[pair[1]] = (missing[pair[1]] ?? 0) + 1;
  }
  const isRoot = missing.map((number) => number === 0);
  const ranks = new Array<number>(count).fill(0);
  const ready = ranks.flatMap((_, node) => (isRoot[node] ? [node] : []));
  for (let at = 0; at < ready.length; at++) {
    const node = ready[at] ?? 0;
    for (const target of targets[node] ?? []) {
      ranks[target] = Math.max(ranks[target] ?? 0, (ranks[node] ?? 0) + 1);
      missing[target] = (missing[target] ?? 0) - 1;
      if (missing[target] === 0) ready.push(target);
    }
  }
  if (tighten) {
    targets.forEach((found, node) => {
      if (isRoot[node] && found.length) ranks[node] = Math.min(...found.map((each) => ranks[each] ?? 0)) - 1;
    });
  }
  return ranks;
}

/** Adds the bends of an edge to the cells; returns the cells that its line passes. */
function pathOf(pair: Pair | null, cells: Cell[]): number[] {
  if (!pair) return [];
  const [source, target] = pair;
  const [from, to] = [cells[source]?.rank ?? 0, cells[target]?.rank ?? 0];
  const path = [source];
  if (cells.length + to - from < MOST_BENDS) {
    for (let rank = from + 1; rank < to; rank++) {
      path.push(cells.length);
      cells.push({ rank, across: BEND_SIZE, along: 0, before: [], after: [], place: 0 });
    }
  }
  path.push(target);
  for (let at = 1; at < path.length; at++) {
    cells[path[at - 1] ?? 0]?.after.push(path[at] ?? 0);
    cells[path[at] ?? 0]?.before.push(path[at - 1] ?? 0);
  }
  return path;
}

/** Returns the cells of each rank, in an order with few crossings. */
function ordered(cells: readonly Cell[]): number[][] {
  const rows: number[][] = [];
  cells.forEach((cell, number) => {
    (rows[cell.rank] ??= []).push(number);
  });
  for (let rank = 0; rank < rows.length; rank++) rows[rank] ??= [];
  let best = rows.map((row) => [...row]);
  let fewest = crossings(best, cells);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep++) {
    const isForward = sweep % 2 === 0;
    const places = new Map(rows.flatMap((row) => row.map((number, place) => [number, place] as const)));
    for (const row of isForward ? rows : [...rows].reverse()) {
      const wanted = new Map(
        row.map((number) => {
          const near = (isForward ? cells[number]?.before : cells[number]?.after) ?? [];
          const total = near.reduce((sum, each) => sum + (places.get(each) ?? 0), 0);
          return [number, near.length ? total / near.length : (places.get(number) ?? 0)];
        }),
      );
      row.sort((a, b) => (wanted.get(a) ?? 0) - (wanted.get(b) ?? 0));
      row.forEach((number, place) => places.set(number, place));
    }
    const found = crossings(rows, cells);
    if (found < fewest) [fewest, best] = [found, rows.map((row) => [...row])];
  }
  return best;
}

/** Counts the pairs of lines that cross between neighbouring ranks. */
function crossings(rows: readonly (readonly number[])[], cells: readonly Cell[]): number {
  let total = 0;
  for (let rank = 1; rank < rows.length; rank++) {
    const places = new Map((rows[rank] ?? []).map((number, place) => [number, place]));
    const size = places.size;
    const counts = new Array<number>(size + 1).fill(0); // a Fenwick tree
    let seen = 0;
    for (const source of rows[rank - 1] ?? []) {
      const ends = (cells[source]?.after ?? []).flatMap((each) => places.get(each) ?? []);
      for (const end of ends) {
        let before = 0;
        for (let at = end + 1; at > 0; at -= at & -at) before += counts[at] ?? 0;
        total += seen - before;
      }
      for (const end of ends) {
        for (let at = end + 1; at <= size; at += at & -at) counts[at] = (counts[at] ?? 0) + 1;
        seen += 1;
      }
    }
  }
  return total;
}

/** Sets the place of each cell across the direction: near its neighbours, and without overlaps. */
function spread(rows: readonly (readonly number[])[], cells: readonly Cell[], gap: number): void {
  for (const row of rows) {
    let next = 0;
    for (const number of row) {
      const cell = cells[number];
      if (!cell) continue;
      cell.place = next + cell.across / 2;
      next += cell.across + gap;
    }
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const isForward = sweep % 2 === 0;
    for (const row of isForward ? rows : [...rows].reverse()) {
      const wanted = row.map((number) => {
        const cell = cells[number];
        const near = cell
          ? sweep < SWEEPS - 2
            ? isForward
              ? cell.before
              : cell.after
            : [...cell.before, ...cell.after]
          : [];
        const total = near.reduce((sum, each) => sum + (cells[each]?.place ?? 0), 0);
        return near.length ? total / near.length : (cell?.place ?? 0);
      });
      placeRow(row, wanted, cells, gap);
    }
  }
}

/** Places the cells of a rank as near to the wanted places as their sizes allow (least squares). */
function placeRow(
  row: readonly number[],
  wanted: readonly number[],
  cells: readonly Cell[],
  gap: number,
): void {
  // Pool adjacent violators: places minus the least distances must not decrease.
  const offsets: number[] = [];
  const blocks: { total: number; size: number }[] = [];
  row.forEach((number, at) => {
    const previous = cells[row[at - 1] ?? -1];
    const distance = previous ? (previous.across + (cells[number]?.across ?? 0)) / 2 + gap : 0;
    offsets.push((offsets[at - 1] ?? 0) + distance);
    blocks.push({ total: (wanted[at] ?? 0) - (offsets[at] ?? 0), size: 1 });
    for (
      let last = blocks.at(-1), before = blocks.at(-2);
      last && before && before.total / before.size > last.total / last.size;
    ) {
      before.total += last.total;
      before.size += last.size;
      blocks.pop();
      last = blocks.at(-1);
      before = blocks.at(-2);
    }
  });
  let at = 0;
  for (const block of blocks) {
    for (let each = 0; each < block.size; each++, at++) {
      const cell = cells[row[at] ?? -1];
      if (cell) cell.place = block.total / block.size + (offsets[at] ?? 0);
    }
  }
}

function drawn(
  nodes: readonly LayoutNode[],
  pairs: readonly (Pair | null)[],
  paths: readonly (readonly number[])[],
  rows: readonly (readonly number[])[],
  cells: readonly Cell[],
  isDown: boolean,
  rankGap: number,
): Layout {
  const starts: number[] = [];
  let end = 0;
  for (const row of rows) {
    starts.push(end);
    end += Math.max(0, ...row.map((number) => cells[number]?.along ?? 0)) + rankGap;
  }
  const first = cells.reduce((least, cell) => Math.min(least, cell.place - cell.across / 2), Infinity);
  const last = cells.reduce((most, cell) => Math.max(most, cell.place + cell.across / 2), -Infinity);
  const point = (along: number, across: number): Point => (isDown ? [across, along] : [along, across]);
  const boxes = new Map<string, Box>();
  nodes.forEach((node, number) => {
    const cell = cells[number];
    const [x, y] = point(starts[cell?.rank ?? 0] ?? 0, (cell?.place ?? 0) - first - (cell?.across ?? 0) / 2);
    boxes.set(node.id, { id: node.id, x, y, width: node.width, height: node.height });
  });
  const lines = paths.map((path, number) => {
    const points = path.map((each, at) => {
      const cell = cells[each];
      const start = starts[cell?.rank ?? 0] ?? 0;
      const along = at === 0 ? start + (cell?.along ?? 0) : start;
      return point(along, (cell?.place ?? 0) - first);
    });
    const isTurned = pairs[number]?.[0] !== path[0];
    return isTurned ? points.reverse() : points;
  });
  const across = nodes.length ? last - first : 0;
  const along = Math.max(0, end - rankGap);
  return { boxes, lines, width: isDown ? across : along, height: isDown ? along : across };
}

/** Returns the data of an SVG path along points, curved in the direction of the ranks. */
export function curved(points: readonly Point[], direction: "right" | "down"): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${number(first[0])} ${number(first[1])}`;
  let [x, y] = first;
  for (const [toX, toY] of rest) {
    const [midX, midY] = [(x + toX) / 2, (y + toY) / 2];
    path +=
      direction === "down"
        ? `C${number(x)} ${number(midY)} ${number(toX)} ${number(midY)} ${number(toX)} ${number(toY)}`
        : `C${number(midX)} ${number(y)} ${number(midX)} ${number(toY)} ${number(toX)} ${number(toY)}`;
    [x, y] = [toX, toY];
  }
  return path;
}

function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}
