/** The branches of a run as rows of a tree. */

import type { Branch } from "../../data/shapes";

export interface BranchRow {
  readonly branch: Branch;
  /** For each level above: whether its line continues below this row. */
  readonly rails: readonly boolean[];
  readonly isLast: boolean;
  /** Number of events that only this branch has. */
  readonly own: number;
}

/** Returns the rows of a tree; the items are in its order, each after its parent. */
export function branchRows(items: readonly Branch[]): BranchRow[] {
  const rows: BranchRow[] = [];
  // From the last: whether a later row has the same parent.
  const open: boolean[] = [];
  for (const branch of [...items].reverse()) {
    const { depth } = branch;
    open.length = Math.min(open.length, depth + 1);
    const isLast = !open[depth];
    const rails = Array.from({ length: Math.max(0, depth - 1) }, (_, level) => open[level + 1] ?? false);
    rows.push({ branch, rails, isLast, own: branch.length - (branch.fork_position ?? 0) });
    for (let level = open.length; level < depth; level++) open[level] = false;
    open[depth] = true;
  }
  return rows.reverse();
}
