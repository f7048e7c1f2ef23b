/** The branches of a run as a tree, and the form that forks it. */

import { useMemo, useState } from "preact/hooks";

import type { Branch, RunStatus } from "../data/shapes";
import { kando } from "../ui/commands";
import { number, plural, usd } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { CopyCommand, Empty, Problem, StateBadge } from "../ui/parts";
import { Isolated } from "../ui/text";
import { type BranchRow, branchRows } from "./logic/branch-tree";
import { oneLine } from "./logic/text";
import { more, setMore } from "./parts/address-more";
import { ForkForm } from "./fork-form";
import { register, type ViewProps } from "./registry";

/** How many branches are listed with their state and cost. */
const MOST_STATES = 200;

function BranchesView(props: ViewProps) {
  const { source, run, status } = props;
  const { value, error, reload } = useLoaded(() => source.branches(run), [source, run, status.events]);
  const ids = useMemo(() => (value ?? []).slice(0, MOST_STATES).map((each) => each.id), [value]);
  const states = useLoaded(() => statesOf(props, ids), [source, ids.join(" ")]);
  const isForking = more("fork") === "yes";
  if (error) return <Problem error={error} retry={reload} />;
  if (!value) return <Empty>Loading the branches…</Empty>;
  return (
    <div class="branches">
      <div class="toolbar">
        {props.canAct && !isForking && (
          <button type="button" class="button primary" onClick={() => setMore(props, { fork: "yes" })}>
            Fork at event {number(props.end)}…
          </button>
        )}
        <span class="dim toolbar-note">{plural(value.length, "run")} in this tree</span>
        <CopyCommand command={kando("branches", run)} />
      </div>
      {isForking && props.canAct && <ForkForm view={props} close={() => setMore(props, { fork: null })} />}
      <BranchTable rows={branchRows(value)} states={states.value ?? new Map()} view={props} />
      {value.length === 1 && (
        <p class="hint">
          The run has no branches yet. A fork shares the events up to a point and continues with a change:
          another goal, model, kit or other data. No event is copied, and answers that were received before
          cost nothing.
          {!props.canAct && (
            <CopyCommand
              command={kando("fork", run, "--at", props.end)}
              label="Copy the command that forks here"
            />
          )}
        </p>
      )}
    </div>
  );
}

/** Return the states of branches by id; a branch that cannot be read is left out. */
async function statesOf({ source }: ViewProps, ids: readonly string[]): Promise<Map<string, RunStatus>> {
  const found = new Map<string, RunStatus>();
  const waiting = [...ids];
  const work = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      const status = await source.status(id).catch(() => null);
      if (status) found.set(id, status);
    }
  };
  await Promise.all(Array.from({ length: 4 }, work));
  return found;
}

function BranchTable({
  rows,
  states,
  view,
}: {
  rows: readonly BranchRow[];
  states: ReadonlyMap<string, RunStatus>;
  view: ViewProps;
}) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const compared = rows.map((each) => each.branch.id).filter((id) => chosen.has(id));
  return (
    <>
      <div class="table-frame">
        <table class="table branch-table">
          <thead>
            <tr>
              <th scope="col">
                <span class="visually-hidden">Compare</span>
              </th>
              <th scope="col">Run</th>
              <th scope="col">State</th>
              <th scope="col">Forked at</th>
              <th scope="col" class="is-number">
                Own events
              </th>
              <th scope="col" class="is-number is-extra">
                Own cost
              </th>
              <th scope="col" class="is-extra">
                Goal
              </th>
              <th scope="col">
                <span class="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row
                key={row.branch.id}
                row={row}
                status={states.get(row.branch.id) ?? null}
                view={view}
                isChosen={chosen.has(row.branch.id)}
                toggle={() => toggle(row.branch.id)}
              />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > 1 && (
        <p class="toolbar">
          <button
            type="button"
            class="button"
            disabled={compared.length !== 2}
            onClick={() => setMore(view, { a: compared[0] ?? null, b: compared[1] ?? null }, "diff")}
          >
            Diff two
          </button>
          <button
            type="button"
            class="button"
            disabled={compared.length < 2}
            onClick={() => setMore(view, { runs: compared.join(",") }, "compare")}
          >
            Compare {compared.length > 1 ? compared.length : "several"}
          </button>
          {compared.length < 2 && <span class="dim">Choose two or more runs of the tree.</span>}
        </p>
      )}
    </>
  );
}

interface RowProps {
  row: BranchRow;
  status: RunStatus | null;
  view: ViewProps;
  isChosen: boolean;
  toggle(): void;
}

function Row({ row, status, view, isChosen, toggle }: RowProps) {
  const { branch } = row;
  const isHere = branch.id === view.run;
  const state = status?.state ?? branch.state;
  return (
    <tr class={isHere ? "is-chosen" : ""} aria-current={isHere ? "true" : undefined}>
      <td>
        <input type="checkbox" aria-label={`Choose ${branch.id}`} checked={isChosen} onChange={toggle} />
      </td>
      <td>
        <span class="tree" aria-hidden="true">
          {row.rails.map((isOpen, level) => (
            <span key={level} class={isOpen ? "rail is-open" : "rail"} />
          ))}
          {branch.depth > 0 && <span class={row.isLast ? "rail elbow is-last" : "rail elbow"} />}
        </span>
        <button
          type="button"
          class="link mono"
          disabled={isHere}
          aria-label={`Open ${branch.id}, level ${branch.depth + 1}`}
          onClick={() => view.navigate({ run: branch.id, view: "branches" })}
        >
          {branch.id}
        </button>
        {isHere && <span class="dim"> this run</span>}
        {branch.started_by && <span class="dim"> child run</span>}
      </td>
      <td>{state && <StateBadge state={state} />}</td>
      <td>{forkedAt(branch, view)}</td>
      <td class="is-number">{number(row.own)}</td>
      <td class="is-number is-extra">{status ? usd(ownCost(status)) : ""}</td>
      <td class="is-extra">
        <div class="one-line">
          <Isolated text={oneLine(status?.goal ?? branch.goal ?? "", 120)} />
        </div>
      </td>
      <td>
        {!isHere && (
          <button
            type="button"
            class="link"
            aria-label={`Diff this run with ${branch.id}`}
            onClick={() => setMore(view, { a: view.run, b: branch.id }, "diff")}
          >
            Diff
          </button>
        )}
      </td>
    </tr>
  );
}

/** A button that goes to the event at which a branch was forked. */
function forkedAt(branch: Branch, view: ViewProps) {
  const { fork_position: position, parent_id: parent } = branch;
  if (position === null || parent === null) return null;
  return (
    <button
      type="button"
      class="link"
      aria-label={`Show ${parent} at event ${position}`}
      onClick={() => view.navigate({ run: parent, at: position, view: "world" })}
    >
      {number(position)}
    </button>
  );
}

/** Return the cost of what a branch did itself. */
function ownCost(status: RunStatus): number {
  const own = status.own?.["llm_cost_usd"];
  return typeof own === "number" ? own : status.llm_cost_usd;
}

register({ id: "branches", title: "Branches", order: 40, Component: BranchesView });
