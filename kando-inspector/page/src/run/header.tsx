/** The head of a run: its goal, state and cost, and what a person can do with it. */

import { useContext, useState } from "preact/hooks";

import type { RunState, RunStatus } from "../data/shapes";
import type { Source } from "../data/source";
import { EditLabels } from "../runs/label-editor";
import { Labels } from "../runs/labels";
import { kando } from "../ui/commands";
import { number, plural, usd } from "../ui/format";
import { asError } from "../ui/hooks";
import { Age, Announce, CopyCommand, Dialog, StateBadge } from "../ui/parts";
import { Isolated } from "../ui/text";
import { DeleteRun } from "./delete";

const RESUMABLE = new Set<RunState>(["stopped", "waiting", "paused", "exhausted", "failed"]);
const ENDED = new Set<RunState>(["finished", "cancelled"]);

interface Props {
  source: Source;
  status: RunStatus;
  canAct: boolean;
  isConnected: boolean;
  changed(): void;
  deleted(): void;
}

export function RunHeader({ source, status, canAct, isConnected, changed, deleted }: Props) {
  const goal = status.goal ?? "No goal";
  return (
    <header class="run-head">
      <div class="run-title">
        <h1>
          <Isolated text={goal} />
        </h1>
        <span role="status">
          <StateBadge state={status.state} />
        </span>
        {!isConnected && !ENDED.has(status.state) && <span class="state state-stopped">connection lost, trying again</span>}
        <div class="buttons">
          {canAct && <Actions source={source} status={status} changed={changed} />}
          <CopyCommand command={kando("status", status.run_id)} label="Copy as command" />
          {canAct && <DeleteRun source={source} run={status} deleted={deleted} />}
        </div>
      </div>
      <ul class="run-facts">
        <li>
          <span class="dim">Run</span> <Isolated class="mono" text={status.run_id} />
        </li>
        {status.kit && (
          <li>
            <span class="dim">Kit</span> <Isolated text={`${status.kit} ${status.kit_version ?? ""}`.trim()} />
          </li>
        )}
        <li>{plural(status.events, "event")}</li>
        <li>
          {number(status.llm_requests)} model and {plural(status.tool_calls, "tool call")}
        </li>
        <li>
          <Cost status={status} />
        </li>
        <li>
          <span class="dim">Updated</span> <Age at={status.updated_at} />
        </li>
        {status.parent_id && (
          <li>
            <span class="dim">Forked from</span>{" "}
            <a href={`#${encodeURIComponent(status.parent_id)}@${status.fork_position ?? 0}`}>
              <Isolated text={`${status.parent_id}@${status.fork_position ?? 0}`} />
            </a>
          </li>
        )}
        {status.started_by && (
          <li>
            <span class="dim">Started by</span>{" "}
            <a href={`#${encodeURIComponent(status.started_by.run_id)}`}>
              <Isolated text={status.started_by.run_id} />
            </a>
          </li>
        )}
      </ul>
      <div class="run-labels">
        <Labels run={status} />
        {canAct && <EditLabels source={source} run={status} changed={changed} />}
      </div>
      {status.problem && (
        <p class="run-problem">
          <Isolated text={status.problem} />
        </p>
      )}
    </header>
  );
}

/** The cost, as a part of its limit if the run has one. */
function Cost({ status }: { status: RunStatus }) {
  const limit = status.limits.max_llm_cost_usd;
  const unpriced = status.llm_unpriced ? `, ${number(status.llm_unpriced)} of unknown price` : "";
  if (limit === undefined || limit === null) {
    return (
      <>
        <span class="dim">Cost</span> {usd(status.llm_cost_usd)}
        <span class="dim">{unpriced}</span>
      </>
    );
  }
  return (
    <>
      <span class="dim">Cost</span> {usd(status.llm_cost_usd)} of {usd(limit)}
      <span class="dim">{unpriced}</span>{" "}
      <meter
        min={0}
        max={limit || 1}
        high={0.8 * limit}
        value={Math.min(status.llm_cost_usd, limit)}
        aria-label="Cost as a part of its limit"
      />
    </>
  );
}

type Act = "resume" | "pause" | "cancel";

function Actions({ source, status, changed }: Pick<Props, "source" | "status" | "changed">) {
  const announce = useContext(Announce);
  const [asks, setAsks] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const { run_id: run, state } = status;
  const act = async (what: Act) => {
    setBusy(true);
    setAsks(false);
    try {
      await source[what](run);
      announce({ resume: "The run was resumed.", pause: "The run is to pause.", cancel: "The run is to stop." }[what]);
      changed();
    } catch (error) {
      const { message, hint } = asError(error);
      announce(hint ? `${message} ${hint}` : message);
    } finally {
      setBusy(false);
    }
  };
  const button = (what: Act, label: string, isSafe: boolean) => (
    <button
      type="button"
      class="button"
      disabled={isBusy}
      onClick={() => (isSafe ? void act(what) : setAsks(true))}
    >
      {label}
    </button>
  );
  return (
    <>
      {RESUMABLE.has(state) && button("resume", "Resume", true)}
      {state === "running" && button("pause", "Pause", true)}
      {!ENDED.has(state) && state !== "damaged" && button("cancel", "Cancel", false)}
      {asks && (
        <Dialog title="Cancel this run?" close={() => setAsks(false)}>
          <p>The run stops for good after its current firing. Its events stay.</p>
          <div class="dialog-foot">
            <CopyCommand command={kando("cancel", run)} />
            <button type="button" class="button" onClick={() => setAsks(false)}>
              Keep it
            </button>
            <button type="button" class="button danger" onClick={() => void act("cancel")}>
              Cancel the run
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
