/** The runs that a deletion concerns. */

import type { Branch } from "../data/shapes";

/** What goes with a run, and what prevents its deletion. */
export interface Related {
  /** Child runs that it started, and theirs: they are deleted with it. */
  children: Branch[];
  /** Branches that share events of the run or of these child runs. */
  branches: Branch[];
}

/** Return the runs of a tree that depend on a run. */
export function related(tree: readonly Branch[], run: string): Related {
  const gone = new Set([run]);
  const children: Branch[] = [];
  const branches: Branch[] = [];
  // The tree lists a run before what descends from it.
  for (const each of tree) {
    if (each.parent_id !== null) {
      if (gone.has(each.parent_id)) branches.push(each);
    } else if (each.started_by !== null && gone.has(each.started_by)) {
      gone.add(each.id);
      children.push(each);
    }
  }
  return { children, branches };
}
