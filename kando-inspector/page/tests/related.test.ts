import assert from "node:assert/strict";
import { test } from "node:test";

import type { Branch } from "../src/data/shapes";
import { related } from "../src/run/related";

const row = (id: string, parent_id: string | null, started_by: string | null = null): Branch => ({
  id,
  parent_id,
  fork_position: parent_id === null ? null : 3,
  length: 9,
  depth: 0,
  started_by,
});

const tree = [
  row("run", null),
  row("child", null, "run"),
  row("grandchild", null, "child"),
  row("branch-of-child", "child"),
  row("branch", "run"),
  row("child-of-branch", null, "branch"),
];

const ids = (rows: Branch[]) => rows.map((each) => each.id);

test("child runs go with a run, and branches of any of them prevent it", () => {
  const { children, branches } = related(tree, "run");
  assert.deepEqual(ids(children), ["child", "grandchild"]);
  assert.deepEqual(ids(branches), ["branch-of-child", "branch"]);
});

test("a branch goes with the child runs that it started itself", () => {
  const { children, branches } = related(tree, "branch");
  assert.deepEqual([ids(children), ids(branches)], [["child-of-branch"], []]);
});
