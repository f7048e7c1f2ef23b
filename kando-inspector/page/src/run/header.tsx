/** The head of a run: its goal, state and cost, and what a person can do with it. */

import { useContext, useState } from "preact/hooks";

import type { RunState, RunStatus } from "../data/shapes";
import type { Source } from "../data/source";
import { kando } from "../ui/commands";
import { number, plural, usd } from "../ui/format";
import { asError, type Navigate } from "../ui/hooks";
import { Age, Announce, CopyCommand, Dialog, StateBadge } from "../ui/parts";
import { Isolated } from "../ui/text";

const RESUMABLE = new Set<RunState>(["stopped", "waiting", "paused", "exhausted", "failed"]);
const ENDED = new Set<RunState>(["finished", "cancelled"]);

interface Props {
  source: Source;
  status: RunStatus;
  canAct: boolean;
  isConnected: boolean;
  navigate: Navigate;
  changed(): void;
}

export function RunHeader({ source, status, canAct, isConnected, navigate, changed }: Props) {
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
          {canAct && <Actions source={source} status={status} navigate={navigate} changed={changed} />}
          <CopyCommand command={kando("status", status.run_id)} label="Copy as command" />
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
        {Object.entries(status.labels ?? {}).map(([name, value]) => (
          <li key={name}>
            <Isolated class="label" text={`${name}: ${value}`} />
          </li>
        ))}
      </ul>
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

type Act = "resume" | "pause" | "cancel" | "delete";

function Actions({ source, status, navigate, changed }: Omit<Props, "canAct" | "isConnected">) {
  const announce = useContext(Announce);
  const [asks, setAsks] = useState<Act | null>(null);
  const [isBusy, setBusy] = useState(false);
  const { run_id: run, state } = status;
  const act = async (what: Act) => {
    setBusy(true);
    setAsks(null);
    try {
      if (what === "delete") {
        await source.remove(run);
        announce("The run was deleted.");
        navigate({ run: null, at: null, view: null, event: null, more: {} });
        return;
      }
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
      onClick={() => (isSafe ? void act(what) : setAsks(what))}
    >
      {label}
    </button>
  );
  return (
    <>
      {RESUMABLE.has(state) && button("resume", "Resume", true)}
      {state === "running" && button("pause", "Pause", true)}
      {!ENDED.has(state) && state !== "damaged" && button("cancel", "Cancel", false)}
      {ENDED.has(state) && button("delete", "Delete", false)}
      {asks && (
        <Dialog
          title={asks === "delete" ? "Delete this run?" : "Cancel this run?"}
          close={() => setAsks(null)}
        >
          <p>
            {asks === "delete"
              ? "Its events are removed for good. A run with a branch cannot be deleted."
              : "The run stops for good after its current firing. Its events stay."}
          </p>
          <div class="dialog-foot">
            {asks === "cancel" ? <CopyCommand command={kando("cancel", run)} /> : <span />}
            <button type="button" class="button" onClick={() => setAsks(null)}>
              Keep it
            </button>
            <button type="button" class="button danger" onClick={() => void act(asks)}>
              {asks === "delete" ? "Delete" : "Cancel the run"}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
