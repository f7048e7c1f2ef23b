/** The causal trace of an event: why it exists, and what followed from it. */

import { useMemo } from "preact/hooks";

import type { LedgerEvent } from "../data/shapes";
import type { EventIndex } from "../data/event-index";
import { kando, runAt } from "../ui/commands";
import { number, plural } from "../ui/format";
import { shortActor } from "../run/kinds";
import { useLoaded, useVersion } from "../ui/hooks";
import { CopyCommand, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import { svgFile } from "./logic/figure";
import { oneLine } from "./logic/text";
import { aboutOf, inFirstLedger, kindOf, MOST_EVENTS, traceFigure, traceRows } from "./logic/trace-figure";
import { more, setMore } from "./parts/address-more";
import { saveFile, Segments } from "./parts/controls";
import { FigureView } from "./parts/figure-view";
import { register, type ViewProps } from "./registry";

const DIRECTIONS = [
  { id: "causes", title: "Why it exists" },
  { id: "effects", title: "What followed" },
] as const;

const FORMS = [
  { id: "drawing", title: "Drawing" },
  { id: "list", title: "List" },
] as const;

function TraceView(props: ViewProps) {
  return props.event === null ? <Choose view={props} /> : <Trace view={props} event={props.event} />;
}

function Trace({ view, event }: { view: ViewProps; event: string }) {
  const { source, run, at } = view;
  const root = more("of") ?? event;
  const direction = more("direction") === "effects" ? "effects" : "causes";
  const form = more("form") === "list" ? "list" : "drawing";
  // What followed grows with the run; the causes of an event are final.
  const inputs = [source, run, root, direction, at, direction === "effects" ? view.end : 0];
  const { value, error, reload, isLoading } = useLoaded(() => source.trace(run, root, direction, at), inputs);
  const events = useMemo(() => inFirstLedger(value ?? []), [value]);
  const elsewhere = (value?.length ?? 0) - events.length;
  const title = `${direction === "causes" ? "Causes" : "Effects"} of ${oneLine(root, 80)}`;
  const start = events.find((each) => each.id === root) ?? events[0];
  const figure = useMemo(
    () => (start ? traceFigure(events, start.id, title) : null),
    [events, start?.id, title],
  );
  const words = direction === "effects" ? ["--down"] : [];
  return (
    <div class="trace">
      <div class="toolbar">
        <Segments
          label="Direction"
          choices={DIRECTIONS}
          value={direction}
          choose={(id) => setMore(view, { direction: id })}
        />
        <Segments label="Form" choices={FORMS} value={form} choose={(id) => setMore(view, { form: id })} />
        {event !== root && (
          <button type="button" class="button" onClick={() => setMore(view, { of: event })}>
            Trace the selected event
          </button>
        )}
        <button
          type="button"
          class="button"
          disabled={!figure}
          onClick={() => figure && saveFile(`trace-${root}.svg`, "image/svg+xml", svgFile(figure))}
        >
          Save as SVG
        </button>
        <span class="dim toolbar-note" role="status">
          {isLoading && !value ? "Loading…" : plural(events.length, "event")}
        </span>
        <CopyCommand command={kando("trace", root, "--run", runAt(run, at), ...words)} />
      </div>
      {error && <Problem error={error} retry={reload} />}
      {elsewhere > 0 && (
        <p class="hint">
          {plural(elsewhere, "event")} of other runs belong to this trace; the command lists them.
        </p>
      )}
      {events.length > MOST_EVENTS && form === "drawing" && (
        <p class="hint">
          The drawing has the {MOST_EVENTS} events nearest to the selected one. The list has all{" "}
          {number(events.length)}.
        </p>
      )}
      {events.length === 1 && (
        <p class="hint">
          {direction === "causes"
            ? "The event has no cause: it is a root, such as a goal or an input."
            : "No event followed from this one."}
        </p>
      )}
      {start && form === "list" && (
        <TraceList events={events} start={start.id} direction={direction} view={view} />
      )}
      {figure && form === "drawing" && (
        <FigureView figure={figure} active={view.event} choose={(id) => keepRoot(view, root, id)} />
      )}
    </div>
  );
}

/** Select an event of a trace, which stays the trace of its own event. */
function keepRoot(view: ViewProps, root: string, event: string): void {
  setMore(view, { of: root });
  view.select(event);
}

interface ListProps {
  events: readonly LedgerEvent[];
  start: string;
  direction: "causes" | "effects";
  view: ViewProps;
}

/** How many events of a trace are listed at first. */
const FIRST = 500;

function TraceList({ events, start, direction, view }: ListProps) {
  const rows = useMemo(() => traceRows(events, start, direction), [events, start, direction]);
  const isWhole = more("rows") === "all";
  return (
    <>
      <ol class="trace-list">
        {(isWhole ? rows : rows.slice(0, FIRST)).map(({ event, depth }) => (
          <li key={event.id} class={`depth-${Math.min(depth, 8)}`}>
            <button
              type="button"
              class={`trace-row ev-${kindOf(event)}`}
              aria-current={event.id === view.event ? "true" : undefined}
              onClick={() => keepRoot(view, start, event.id)}
            >
              <span class="mono dim">{number(event.position + 1)}</span>
              <span class="trace-type">
                <Isolated text={oneLine(event.type, 50)} />
              </span>
              <span class="dim">
                <Isolated text={oneLine(shortActor(event.actor, null), 50)} />
              </span>
              <span class="trace-about">
                <Isolated text={oneLine(aboutOf(event), 160)} />
              </span>
              <span class="visually-hidden">
                {depth === 0 ? "the selected event" : `${plural(depth, "link")} away`}
              </span>
            </button>
          </li>
        ))}
      </ol>
      {rows.length > FIRST && !isWhole && (
        <button type="button" class="button" onClick={() => setMore(view, { rows: "all" })}>
          List all {number(rows.length)} events
        </button>
      )}
    </>
  );
}

const BOOKKEEPING = new Set(["responder.fired", "responder.completed"]);

/** Offers the last events of a run, because no event is selected. */
function Choose({ view }: { view: ViewProps }) {
  useVersion(view.events);
  const offered = lastEvents(view.events, view.end);
  return (
    <div class="empty">
      <p>
        Select an event in the timeline, in the list of events or in the world to see why it exists and what
        followed from it.
      </p>
      {offered.length > 0 && (
        <>
          <p>Or start from one of the last events:</p>
          <ul class="offers">
            {offered.map((position) => (
              <li key={position}>
                <button type="button" class="link" onClick={() => view.select(view.events.id(position))}>
                  <span class="mono">{number(position + 1)}</span>{" "}
                  <Isolated text={view.events.type(position)} />:{" "}
                  <Isolated text={oneLine(view.events.summary(position), 90)} />
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function lastEvents(events: EventIndex, end: number): number[] {
  const found: number[] = [];
  for (let at = Math.min(end, events.length) - 1; at >= 0 && found.length < 5 && end - at < 500; at--) {
    if (events.isLoaded(at) && !BOOKKEEPING.has(events.type(at))) found.push(at);
  }
  return found;
}

register({ id: "trace", title: "Trace", order: 20, Component: TraceView });
