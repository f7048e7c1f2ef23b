/** The list of runs, newest first; its filter is in the address. */

import { useEffect, useState } from "preact/hooks";

import type { Address } from "../address";
import type { RunStatus } from "../data/shapes";
import type { Source, SourceError } from "../data/source";
import { kando } from "../ui/commands";
import { number, usd } from "../ui/format";
import { asError, type Navigate } from "../ui/hooks";
import { Age, CopyCommand, Empty, Problem, StateBadge } from "../ui/parts";
import { Isolated } from "../ui/text";
import { DeleteRun } from "../run/delete";
import { chosenLabels, LabelFilter, Labels } from "./labels";
import { NewRun } from "./new-run";

const STATES = [
  "running",
  "waiting",
  "stopped",
  "paused",
  "finished",
  "exhausted",
  "failed",
  "cancelled",
  "damaged",
];

/** How many runs a page has, and how long to wait for the next key of a search. */
const PAGE = 50;
const TYPING = 250;

/** How many labels of a run the list shows. */
const SHOWN_LABELS = 6;

interface Props {
  source: Source;
  address: Address;
  navigate: Navigate;
  canAct: boolean;
}

export function RunList({ source, address, navigate, canAct }: Props) {
  const filter = address.more;
  const [isStarting, setStarting] = useState(false);
  const { runs, next, error, isLoading, more, reload, remove } = useRuns(source, filter);
  const change = (name: string, value: string) => {
    navigate({ more: { ...filter, [name]: value } }, "replace");
  };
  const isFiltered = Object.values(filter).some(Boolean);
  return (
    <div class="runs">
      <header class="runs-head">
        <h1>Runs</h1>
        <div class="buttons">
          <CopyCommand command={kando("runs", ...chosenLabels(filter).flatMap((each) => ["--label", each]))} label="Copy as command" />
          {canAct && (
            <button type="button" class="button primary" onClick={() => setStarting(true)}>
              New run
            </button>
          )}
        </div>
      </header>
      <div class="runs-filter" role="search">
        <input
          type="search"
          class="find"
          id="find"
          placeholder="Find a run by its goal or id"
          aria-label="Find a run by its goal or id"
          value={filter.q ?? ""}
          onInput={(event) => change("q", event.currentTarget.value)}
        />
        <select
          aria-label="State"
          value={filter.state ?? ""}
          onChange={(event) => change("state", event.currentTarget.value)}
        >
          <option value="">All states</option>
          {STATES.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <Field name="kit" label="Kit" filter={filter} change={change} />
        <LabelFilter filter={filter} change={(label) => change("label", label)} />
      </div>
      {error && <Problem error={error} retry={reload} />}
      {!error && runs.length === 0 && !isLoading && (
        <Empty>
          {isFiltered ? "No run matches the filter." : "No runs yet. Start one: "}
          {!isFiltered && <code>kando run diligence --goal "Evaluate Acme Corp" --demo</code>}
        </Empty>
      )}
      {runs.length > 0 && (
        <Table runs={runs} filter={filter} source={canAct ? source : null} deleted={remove} />
      )}
      {next !== null && (
        <button type="button" class="button" disabled={isLoading} onClick={more}>
          Show older runs
        </button>
      )}
      {isStarting && (
        <NewRun
          source={source}
          close={() => setStarting(false)}
          started={(run) => navigate({ run })}
        />
      )}
    </div>
  );
}

function Field(props: {
  name: string;
  label: string;
  filter: Record<string, string>;
  change(name: string, value: string): void;
}) {
  return (
    <input
      type="text"
      class="runs-field"
      placeholder={props.label}
      aria-label={props.label}
      value={props.filter[props.name] ?? ""}
      onInput={(event) => props.change(props.name, event.currentTarget.value)}
    />
  );
}

interface TableProps {
  runs: RunStatus[];
  filter: Record<string, string>;
  /** Where runs can be deleted; null if they cannot. */
  source: Source | null;
  deleted(ids: string[]): void;
}

function Table({ runs, ...row }: TableProps) {
  return (
    <div class="table-pane">
      <table class="table runs-table">
        <thead>
          <tr>
            <th scope="col">Goal</th>
            <th scope="col">State</th>
            <th scope="col">Kit</th>
            <th scope="col" class="is-number">
              Events
            </th>
            <th scope="col" class="is-number">
              Cost
            </th>
            <th scope="col">Updated</th>
            <th scope="col">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {runs.map((each) => (
            <RunRow key={each.run_id} run={each} {...row} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RunRow({ run, filter, source, deleted }: Omit<TableProps, "runs"> & { run: RunStatus }) {
  const waits = run.approvals + run.questions;
  return (
    <tr>
      <td class="runs-goal">
        <a href={`#${encodeURIComponent(run.run_id)}`}>
          <Isolated text={run.goal ?? run.run_id} />
        </a>
        <div class="dim runs-about">
          <Isolated class="mono" text={run.run_id} />
          {run.parent_id && (
            <span>
              {" "}
              fork of <Isolated class="mono" text={`${run.parent_id}@${run.fork_position ?? 0}`} />
            </span>
          )}
          {run.problem && <Isolated class="runs-problem" text={run.problem} />}
        </div>
        <Labels run={run} filter={filter} most={SHOWN_LABELS} />
      </td>
      <td>
        <StateBadge state={run.state} />
        {waits > 0 && <span class="badge">{number(waits)} for you</span>}
      </td>
      <td>
        <Isolated text={run.kit ?? ""} />
      </td>
      <td class="is-number">{number(run.events)}</td>
      <td class="is-number" title={run.llm_unpriced ? `${run.llm_unpriced} calls of unknown price` : ""}>
        {usd(run.llm_cost_usd)}
        {run.limits.max_llm_cost_usd !== undefined && (
          <span class="dim"> of {usd(run.limits.max_llm_cost_usd)}</span>
        )}
      </td>
      <td class="runs-age">
        <Age at={run.updated_at} />
      </td>
      <td class="runs-actions">
        <CopyCommand command={kando("status", run.run_id)} />
        {source && <DeleteRun source={source} run={run} isSmall deleted={deleted} />}
      </td>
    </tr>
  );
}

/** Load the runs that a filter lets through, and keep them current. */
function useRuns(source: Source, filter: Record<string, string>) {
  const [runs, setRuns] = useState<RunStatus[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<SourceError | null>(null);
  const [isLoading, setLoading] = useState(true);
  const [count, setCount] = useState(0);
  const { q = "", state = "", kit = "", label = "" } = filter;
  const asked = { q, state, kit, label: chosenLabels(filter), limit: PAGE };
  const reload = () => setCount((before) => before + 1);
  const remove = (ids: string[]) => setRuns((old) => old.filter((each) => !ids.includes(each.run_id)));
  useEffect(() => {
    let isCurrent = true;
    const load = async () => {
      setLoading(true);
      try {
        const page = await source.runs(asked);
        if (!isCurrent) return;
        setRuns(page.items);
        setNext(page.next);
        setError(null);
      } catch (problem) {
        if (isCurrent) setError(asError(problem));
      } finally {
        if (isCurrent) setLoading(false);
      }
    };
    const timer = setTimeout(load, runs.length ? TYPING : 0);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [source, q, state, kit, label, count]);

  useEffect(() => {
    if (!source.isLive) return;
    return source.followRuns({
      changed: (changed) =>
        setRuns((old) => {
          if (old.some((each) => each.run_id === changed.run_id)) {
            return old.map((each) => (each.run_id === changed.run_id ? { ...each, ...changed } : each));
          }
          // A new run: the server knows whether the filter lets it through.
          reload();
          return old;
        }),
      deleted: (run) => remove([run]),
      reconnected: reload,
    });
  }, [source]);

  const more = async () => {
    if (next === null) return;
    setLoading(true);
    try {
      const page = await source.runs({ ...asked, cursor: next });
      setRuns([...runs, ...page.items]);
      setNext(page.next);
    } catch (problem) {
      setError(asError(problem));
    } finally {
      setLoading(false);
    }
  };
  return { runs, next, error, isLoading, more, reload, remove };
}
