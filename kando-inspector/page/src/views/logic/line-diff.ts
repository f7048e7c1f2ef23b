/** The lines that differ between two texts. */

export interface Hunk {
  readonly removed: readonly string[];
  readonly added: readonly string[];
  /** Equal lines before and after the difference. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Most pairs of lines that are compared; beyond, the middle of the texts is one difference. */
const MOST_PAIRS = 1_000_000;

/** Returns the differences of two texts by line, each with some equal lines around it. */
export function lineHunks(a: string, b: string, context = 1): Hunk[] {
  const [left, right] = [a.split("\n"), b.split("\n")];
  let start = 0;
  while (start < left.length && start < right.length && left[start] === right[start]) start++;
  let end = 0;
  const most = Math.min(left.length, right.length) - start;
  while (end < most && left[left.length - 1 - end] === right[right.length - 1 - end]) end++;
  const pairs = commonLines(left.slice(start, left.length - end), right.slice(start, right.length - end));
  const stops = [
    ...pairs.map(([x, y]) => [x + start, y + start] as const),
    [left.length - end, right.length - end] as const,
  ];
  const hunks: Hunk[] = [];
  let [i, j] = [start, start];
  for (const [x, y] of stops) {
    if (x > i || y > j) {
      hunks.push({
        removed: left.slice(i, x),
        added: right.slice(j, y),
        before: left.slice(Math.max(0, i - context), i),
        after: left.slice(x, x + context),
      });
    }
    [i, j] = [x + 1, y + 1];
  }
  return hunks;
}

/** Returns the longest common sequence of lines, as pairs of their numbers. */
function commonLines(a: readonly string[], b: readonly string[]): [number, number][] {
  if (a.length * b.length > MOST_PAIRS) return [];
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      const longest = Math.max(lengths[at + width] ?? 0, lengths[at + 1] ?? 0);
      lengths[at] = a[i] === b[j] ? (lengths[at + width + 1] ?? 0) + 1 : longest;
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if ((lengths[(i + 1) * width + j] ?? 0) >= (lengths[i * width + j + 1] ?? 0)) i++;
    else j++;
  }
  return pairs;
}
