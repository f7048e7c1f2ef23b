/** Delete a run: a button that names what goes with it, and the page of a run that is gone. */

import { useContext, useState } from "preact/hooks";

import type { Branch, RunStatus } from "../data/shapes";
import type { Source } from "../data/source";
import { kando } from "../ui/commands";
import { plural } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { Announce, CopyCommand, Dialog, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import { useActing } from "../views/parts/controls";
import { related } from "./related";

interface Props {
  source: Source;
  run: RunStatus;
  /** Whether the button is one of many in a list: its text is an icon then. */
  isSmall?: boolean;
  deleted(ids: string[]): void;
}

export function DeleteRun({ source, run, isSmall = false, deleted }: Props) {
  const [asks, setAsks] = useState(false);
  return (
    <>
      <button
        type="button"
        class={isSmall ? "icon-button" : "button"}
        aria-label={isSmall ? `Delete ${run.run_id}` : undefined}
        aria-haspopup="dialog"
        title={isSmall ? "Delete the run" : undefined}
        onClick={() => setAsks(true)}
      >
        {isSmall ? <Bin /> : "Delete"}
      </button>
      {asks && <Question source={source} run={run} close={() => setAsks(false)} deleted={deleted} />}
    </>
  );
}

/** How many runs are named. */
const MOST_NAMED = 8;

function Question({ source, run, close, deleted }: Omit<Props, "isSmall"> & { close(): void }) {
  const announce = useContext(Announce);
  const acting = useActing();
  const { run_id: id } = run;
  const { value, error } = useLoaded(() => source.branches(id), [source, id]);
  const { children, branches } = related(value ?? [], id);
  // A branch of a child run is not a child run itself.
  const parent = run.parent_id ? null : run.started_by;
  const canDelete = value !== null && branches.length === 0 && run.state !== "running" && !parent;
  const remove = () =>
    acting.act(async () => {
      const { run_ids } = await source.delete(id);
      announce(run_ids.length > 1 ? `${plural(run_ids.length, "run")} were deleted.` : `${id} was deleted.`);
      close();
      deleted(run_ids);
    });
  return (
    <Dialog title="Delete this run?" close={close}>
      <p>
        <Isolated class="mono" text={id} />
        {run.goal && (
          <>
            {": "}
            <Isolated text={run.goal.slice(0, 200)} />
          </>
        )}
      </p>
      {error && <Problem error={error} />}
      {!value && !error && <p class="dim">Looking for its branches and child runs…</p>}
      {canDelete && (
        <>
          <p>
            Its {plural(run.events, "event")} are deleted for good, with messages, files and cached answers
            that only it needs.
          </p>
          <Named title="Child runs that are deleted with it" runs={children} />
        </>
      )}
      <Named title="These branches share its events. Delete them first" runs={branches} />
      {run.state === "running" && <p>A process works on the run. Cancel it first.</p>}
      {parent && (
        <p>
          It is a child run, which its parent would start again. Delete the parent{" "}
          <a href={`#${encodeURIComponent(parent.run_id)}`}>
            <Isolated class="mono" text={parent.run_id} />
          </a>
          .
        </p>
      )}
      {acting.error && <Problem error={acting.error} />}
      <div class="dialog-foot">
        <CopyCommand command={kando("delete", id)} />
        <button type="button" class="button" onClick={close}>
          Keep it
        </button>
        {canDelete && (
          <button type="button" class="button danger" disabled={acting.isBusy} onClick={() => void remove()}>
            Delete for good
          </button>
        )}
      </div>
    </Dialog>
  );
}

function Named({ title, runs }: { title: string; runs: readonly Branch[] }) {
  if (runs.length === 0) return null;
  return (
    <>
      <p>{title}:</p>
      <ul class="named-runs">
        {runs.slice(0, MOST_NAMED).map((each) => (
          <li key={each.id}>
            <a href={`#${encodeURIComponent(each.id)}`}>
              <Isolated class="mono" text={each.id} />
            </a>
          </li>
        ))}
        {runs.length > MOST_NAMED && <li>and {runs.length - MOST_NAMED} more</li>}
      </ul>
    </>
  );
}

function Bin() {
  return (
    <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor">
      <path d="M2.5 4.5h11M6.5 4V2.5h3V4M4 4.5l.7 9h6.6l.7-9M6.7 7v4M9.3 7v4" stroke-width="1.3" />
    </svg>
  );
}

/** What the address of a deleted run shows. */
export function DeletedRun({ run }: { run: string }) {
  return (
    <section class="gone" role="alert">
      <h1>This run was deleted</h1>
      <p>
        <Isolated class="mono" text={run} /> and its events are gone. A file that it was exported to still shows
        it.
      </p>
      <p>
        <a class="button" href="#">
          All runs
        </a>
      </p>
    </section>
  );
}
