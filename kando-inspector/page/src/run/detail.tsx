/** One event with all of its data, its causes, and the call that it is part of. */

import { useContext } from "preact/hooks";

import type { EventIndex } from "../data/event-index";
import type { LedgerEvent } from "../data/shapes";
import { kando, traceCommand } from "../ui/commands";
import { clock, duration, moment, number } from "../ui/format";
import { useLoaded, useVersion } from "../ui/hooks";
import { JsonTree } from "../ui/json";
import { Announce, copy, CopyCommand, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import type { ViewProps } from "../views/registry";
import { CallPanes } from "./call";
import { kindOf, shortActor } from "./kinds";

interface Props extends Pick<ViewProps, "run" | "at" | "end" | "select" | "navigate"> {
  index: EventIndex;
  /** Id of the event that is shown. */
  id: string;
  /** Whether a person has selected it: it then can be closed. */
  isSelected: boolean;
  /** Whether it takes the place of the view, too. */
  isWide: boolean;
  widen(): void;
}

export function Detail(props: Props) {
  const { index, id } = props;
  const version = useVersion(index);
  const loaded = useLoaded(() => index.find(id), [index, id]);
  const event = loaded.value;
  return (
    <section class="detail" aria-label="Details of an event" aria-busy={loaded.isLoading}>
      {loaded.error && <Problem error={loaded.error} retry={loaded.reload} />}
      {event && <Shown {...props} event={event} version={version} key={event.id} />}
    </section>
  );
}

function Shown(props: Props & { event: LedgerEvent; version: number }) {
  const { index, event, run, at, end, isSelected, select, navigate } = props;
  const announce = useContext(Announce);
  const { position } = event;
  return (
    <>
      <header class="detail-head">
        <h2>
          <i class={`dot kind-${kindOf(event.type)}`} aria-hidden="true" />
          <Isolated text={event.type} />
          <span class="dim detail-number">event {number(position + 1)}</span>
        </h2>
        <div class="buttons">
          {end !== position + 1 && (
            <button
              type="button"
              class="button small"
              title="Show the run as it was after this event"
              onClick={() => navigate({ at: position + 1, event: event.id })}
            >
              Go to here
            </button>
          )}
          <button
            type="button"
            class="button small"
            onClick={() => navigate({ view: "trace", event: event.id })}
          >
            Trace
          </button>
          <CopyCommand command={traceCommand(run, event.id)} />
          <button
            type="button"
            class="icon-button widen"
            aria-pressed={props.isWide}
            aria-label="Wide details"
            title={props.isWide ? "Show the view again" : "Use the whole width"}
            onClick={props.widen}
          >
            <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14">
              <path
                d={props.isWide ? "M2 8h5m7 0H9M5 5.5 7.5 8 5 10.5m6-5L8.5 8l2.5 2.5" : "M2 8h12M4.5 5.5 2 8l2.5 2.5m7-5L14 8l-2.5 2.5"}
                fill="none"
                stroke="currentColor"
                stroke-width="1.5"
              />
            </svg>
          </button>
          {isSelected && (
            <button
              type="button"
              class="icon-button"
              aria-label="Close the event"
              onClick={() => select(null)}
            >
              <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14">
                <path d="m3.5 3.5 9 9m0-9-9 9" stroke="currentColor" stroke-width="1.6" />
              </svg>
            </button>
          )}
        </div>
      </header>
      <dl class="facts">
        <dt>Id</dt>
        <dd>
          <Isolated class="mono" text={event.id} />
          <button
            type="button"
            class="link"
            onClick={async () => announce((await copy(event.id)) ? "Copied the id." : "Could not copy.")}
          >
            copy
          </button>
        </dd>
        <dt>Time</dt>
        <dd title={moment(event.timestamp)}>
          {clock(Date.parse(event.timestamp))}
          <span class="dim"> {sinceStart(index, event)}</span>
        </dd>
        <dt>By</dt>
        <dd>
          <Isolated text={shortActor(event.actor, null)} />
        </dd>
        <dt>{event.cause.length > 1 ? "Causes" : "Cause"}</dt>
        <dd>
          <Causes ids={event.cause} index={index} select={select} />
        </dd>
        <Effects {...props} />
        {at !== null && position >= at && (
          <>
            <dt>Note</dt>
            <dd class="dim">It comes after event {number(at)}, at which the page stands.</dd>
          </>
        )}
      </dl>
      <CallPanes index={index} event={event} select={select} />
      <section class="detail-data" aria-label="Data">
        <div class="section-head">
          <h3>Data</h3>
          <CopyCommand
            command={kando("events", run, "--from", position, "--all", "--json")}
          />
        </div>
        <JsonTree value={event.data} />
      </section>
    </>
  );
}

/** How many causes are listed. */
const LISTED = 30;

function Causes(props: { ids: string[]; index: EventIndex; select(id: string): void }) {
  const { ids, index, select } = props;
  if (ids.length === 0) return <span class="dim">none: it is a root</span>;
  return (
    <ul class="links">
      {ids.slice(0, LISTED).map((id) => (
        <li key={id}>
          <EventLink id={id} index={index} select={select} />
        </li>
      ))}
      {ids.length > LISTED && <li class="dim">and {number(ids.length - LISTED)} more in the trace</li>}
    </ul>
  );
}

export function EventLink(props: { id: string; index: EventIndex; select(id: string): void }) {
  const { id, index, select } = props;
  const position = index.positionOf(id);
  return (
    <button
      type="button"
      class="link"
      title={position >= 0 ? index.summary(position) : ""}
      onClick={() => select(id)}
    >
      <Isolated text={id} />
    </button>
  );
}

/** The answer to a request, or how long it has been pending. */
function Effects({ index, event, select }: Props & { event: LedgerEvent }) {
  const answer = index.answer(event.position);
  if (answer < 0) return null;
  const took = index.time(answer) - Date.parse(event.timestamp);
  return (
    <>
      <dt>Answer</dt>
      <dd>
        <EventLink id={index.id(answer)} index={index} select={select} />
        <span class="dim"> after {duration(took)}</span>
      </dd>
    </>
  );
}

function sinceStart(index: EventIndex, event: LedgerEvent): string {
  if (!index.isLoaded(0)) return "";
  const ms = Date.parse(event.timestamp) - index.time(0);
  return ms > 0 ? `${duration(ms)} after the start` : "";
}
