/** The page of one run: its head, timeline and scrubber, a view, and the details of an event. */

import { useCallback, useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Address } from "../address";
import { EventIndex } from "../data/event-index";
import type { RunStatus } from "../data/shapes";
import { type Source, SourceError } from "../data/source";
import { kando, runAt, traceCommand } from "../ui/commands";
import { number } from "../ui/format";
import { asError, type Navigate, useVersion } from "../ui/hooks";
import { type Binding, useKeys } from "../ui/keys";
import { Announce, copy, CopyCommand, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import { type View, views } from "../views/registry";
import { DeletedRun } from "./delete";
import { Detail } from "./detail";
import "./events";
import { RunHeader } from "./header";
import { BOOKKEEPING } from "./kinds";
import { Scrubber } from "./scrubber";
import { Timeline } from "./timeline";

interface Props {
  source: Source;
  address: Address & { run: string };
  navigate: Navigate;
  canAct: boolean;
  /** Receives the keys of this page, for the help. */
  setBindings(bindings: Binding[]): void;
}

export function RunPage(props: Props) {
  const { source, address } = props;
  const found = useRun(source, address.run);
  if (found.error?.code === "run_deleted") return <DeletedRun run={address.run} />;
  if (found.error) return <Problem error={found.error} retry={found.reload} />;
  if (!found.run) return <p class="empty">Loading the run</p>;
  return <Shown {...props} {...found.run} isConnected={found.isConnected} reload={found.reload} />;
}

interface Opened {
  /** Null until it is loaded: the state of a long run takes longer than its first events. */
  status: RunStatus | null;
  index: EventIndex;
}

/** Load a run and follow it. */
function useRun(source: Source, run: string) {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [error, setError] = useState<SourceError | null>(null);
  const [isConnected, setConnected] = useState(true);
  const [count, setCount] = useState(0);
  useEffect(() => {
    const ending = new AbortController();
    let stop = () => {};
    setError(null);
    const index = new EventIndex(source, run);
    const open = async () => {
      const asked = source.status(run);
      // Its rejection is handled below, where it is awaited.
      asked.catch(() => {});
      await index.loadFirst();
      if (ending.signal.aborted) return;
      setOpened((old) => ({ status: old?.status ?? null, index }));
      const status = await asked;
      if (ending.signal.aborted) return;
      index.grow(status.events);
      setOpened({ status, index });
      const load = () => index.loadAll(ending.signal).catch(() => {});
      let loading = load();
      if (!source.isLive) return;
      stop = source.follow(run, status.events - 1, {
        event: (event) => {
          index.append(event);
          // An event after a gap is loaded with those before it.
          if (!index.isLoaded(event.position)) loading = loading.then(load);
        },
        status: (next) => {
          index.grow(next.events);
          setOpened((old) => (old ? { ...old, status: next } : old));
        },
        text: (piece) => index.stream(piece.request_id, piece.text),
        connected: setConnected,
        ended: setError,
      });
    };
    open().catch((problem: unknown) => !ending.signal.aborted && setError(asError(problem)));
    return () => {
      ending.abort();
      stop();
    };
  }, [source, run, count]);
  const reload = useCallback(() => setCount((before) => before + 1), []);
  return { run: opened, error, isConnected, reload };
}

/** What the list of events gets while the state is not loaded. */
const UNKNOWN = { run_id: "", state: "running", events: 0, limits: {} } as unknown as RunStatus;

function LoadingHeader({ run }: { run: string }) {
  return (
    <header class="run-head" aria-busy="true">
      <div class="run-title">
        <h1>
          <Isolated class="mono" text={run} />
        </h1>
        <span class="dim">Loading its state</span>
      </div>
    </header>
  );
}

function Shown(props: Props & Opened & { isConnected: boolean; reload(): void }) {
  const { source, address, navigate, canAct, status, index } = props;
  const announce = useContext(Announce);
  useVersion(index);
  const { run } = address;
  const { length } = index;
  const at = address.at === null || (address.at >= length && !source.isLive) ? null : address.at;
  const end = at === null ? length : Math.min(at, length);
  const shown = views().filter((each) => !status || (each.isShown?.(status, source) ?? true));
  const view = shown.find((each) => each.id === address.view) ?? shown[0];
  // A person may scrub to where the events are not loaded yet.
  useEffect(() => void index.ensure(end - 1, end).catch(() => {}), [index, end]);
  const last = lastEvent(index, end);
  // Next to the list, the details follow the scrubber; the other views use the whole width.
  const detail = address.event ?? (view?.id === "events" ? last : null);
  const news = useNews(Math.max(length, status?.events ?? 0), at, status !== null);
  const [isWide, setWide] = useState(false);

  const select = useCallback((event: string | null) => navigate({ event }, "replace"), [navigate]);
  const scrub = useCallback(
    (next: number | null) => navigate({ at: next, event: null }, "replace"),
    [navigate],
  );
  const go = useCallback((to: Partial<Address>) => navigate(to), [navigate]);

  const bindings = useMemo<Binding[]>(() => {
    const move = (by: number) => {
      const next = Math.max(0, end + by);
      scrub(next >= length ? null : next);
    };
    const pick = (by: number) => {
      const from = address.event ? index.positionOf(address.event) : by > 0 ? end - 2 : end - 1;
      const next = Math.max(0, Math.min(length - 1, from + by));
      if (index.isLoaded(next)) select(index.id(next));
    };
    const take = async () => {
      const command = detail ? traceCommand(run, detail) : kando("world", runAt(run, at));
      announce((await copy(command)) ? `Copied: ${command}` : `Copy it by hand: ${command}`);
    };
    const tabs = shown.slice(0, 9).map((each, i) => ({
      keys: [String(i + 1)],
      about: `Show ${each.title}`,
      run: () => navigate({ view: each.id }),
    }));
    return [
      { keys: ["["], about: "One event back in time", run: () => move(-1) },
      { keys: ["]"], about: "One event forward in time", run: () => move(1) },
      { keys: ["{"], about: "Ten events back in time", run: () => move(-10) },
      { keys: ["}"], about: "Ten events forward in time", run: () => move(10) },
      { keys: ["l"], about: "Back to live", run: () => scrub(null) },
      { keys: ["j"], about: "Select the next event", run: () => pick(1) },
      { keys: ["k"], about: "Select the previous event", run: () => pick(-1) },
      { keys: ["/"], about: "Find in this run", run: () => find(navigate) },
      { keys: ["c"], about: "Copy as command", run: () => void take() },
      { keys: ["r"], about: "Go to the list of runs", run: () => navigate({ run: null, at: null, view: null, event: null, more: {} }) },
      ...tabs,
      { keys: ["Escape"], about: "", run: () => select(null) },
    ];
  }, [end, length, at, address.event, detail, index, run, shown.length]);
  useKeys(bindings);
  useEffect(() => props.setBindings(bindings), [bindings]);
  useEffect(() => {
    document.title = `${(status?.goal ?? run).slice(0, 80)} · Kando`;
    return () => {
      document.title = "Kando";
    };
  }, [status?.goal, run]);

  return (
    <div class="run">
      {!status && <LoadingHeader run={run} />}
      {status && <RunHeader
        source={source}
        status={status}
        canAct={canAct}
        isConnected={props.isConnected}
        changed={props.reload}
        deleted={() => navigate({ run: null, at: null, view: null, event: null, more: {} })}
      />}
      <div class="run-time">
        <Timeline
          index={index}
          kit={status?.kit ?? null}
          end={end}
          selected={address.event ? index.positionOf(address.event) : -1}
          select={(position) => select(index.id(position))}
          scrub={(next) => scrub(next >= length ? null : next)}
        />
        <Scrubber
          index={index}
          length={length}
          at={at}
          isLive={source.isLive && status?.state === "running"}
          scrub={scrub}
        />
        {at !== null && (
          <div class="past">
            <p role="status">
              This is the run as it was after event {number(end)}.
              {news > 0 && ` ${number(news)} new since.`}
            </p>
            <CopyCommand command={kando("world", runAt(run, end))} />
          </div>
        )}
      </div>
      <Tabs views={shown} current={view} status={status} navigate={go} />
      <div class={`run-panes ${!detail ? "is-single" : isWide ? "is-wide" : ""}`}>
        <div class="view" role="tabpanel" id="view" aria-labelledby={`tab-${view?.id ?? ""}`}>
          {view && status === null && view.id !== "events" && <p class="empty">Loading the state of the run</p>}
          {view && (status !== null || view.id === "events") && (
            <view.Component
              key={view.id}
              source={source}
              run={run}
              at={at}
              end={end}
              status={status ?? UNKNOWN}
              events={index}
              event={address.event}
              canAct={canAct}
              select={select}
              navigate={go}
              announce={announce}
            />
          )}
        </div>
        {detail && (
          <Detail
            index={index}
            id={detail}
            isSelected={address.event !== null}
            isWide={isWide}
            widen={() => setWide(!isWide)}
            run={run}
            at={at}
            end={end}
            select={select}
            navigate={go}
          />
        )}
      </div>
    </div>
  );
}

/** How far to look back for an event that is not bookkeeping. */
const LOOK_BACK = 50;

/** Return the id of the last event that counts and says something, or null. */
function lastEvent(index: EventIndex, end: number): string | null {
  for (let i = end - 1; i >= Math.max(0, end - LOOK_BACK); i--) {
    if (index.isLoaded(i) && !BOOKKEEPING.has(index.type(i))) return index.id(i);
  }
  return end > 0 && index.isLoaded(end - 1) ? index.id(end - 1) : null;
}

/** Return how many events have arrived since a person scrubbed back. */
function useNews(length: number, at: number | null, isKnown: boolean): number {
  const seen = useRef<number | null>(null);
  // Events that are loaded late were there before.
  if (at === null || (seen.current === null && isKnown)) seen.current = length;
  return seen.current === null ? 0 : length - seen.current;
}

/** Put the focus into the find field; the view that has it may have to be drawn first. */
function find(navigate: Navigate): void {
  if (!document.getElementById("find")) navigate({ view: "events" });
  requestAnimationFrame(() => document.getElementById("find")?.focus());
}

interface TabsProps {
  views: View[];
  current: View | undefined;
  status: RunStatus | null;
  navigate(to: Partial<Address>): void;
}

/** The tabs: arrows move between them, as the ARIA pattern for tabs asks. */
function Tabs({ views: shown, current, status, navigate }: TabsProps) {
  const list = useRef<HTMLDivElement>(null);
  const isLoaded = status !== null;
  useEffect(() => {
    // On a narrow screen the tab may be out of sight; scrollIntoView would scroll the page, too.
    const tab = list.current?.querySelector<HTMLElement>("[aria-selected=true]");
    if (!list.current || !tab) return;
    const { left, right, width } = list.current.getBoundingClientRect();
    const at = tab.getBoundingClientRect();
    if (at.left < left || at.right > right) list.current.scrollLeft += at.left - left - (width - at.width) / 2;
  }, [current?.id, shown.length, isLoaded]);
  const press = (event: KeyboardEvent) => {
    const at = shown.findIndex((each) => each === current);
    const moves: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: shown.length - 1,
    };
    const to = moves[event.key];
    const next = to === undefined ? undefined : shown[(to + shown.length) % shown.length];
    if (!next) return;
    event.preventDefault();
    navigate({ view: next.id });
    document.getElementById(`tab-${next.id}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views" ref={list} onKeyDown={press}>
      {shown.map((each) => {
        const count = status ? (each.count?.(status) ?? 0) : 0;
        return (
          <button
            type="button"
            key={each.id}
            id={`tab-${each.id}`}
            role="tab"
            class="tab"
            aria-selected={each === current}
            aria-controls="view"
            tabIndex={each === current ? 0 : -1}
            onClick={() => navigate({ view: each.id })}
          >
            {each.title}
            {count > 0 && <span class="tab-count">{number(count)}</span>}
          </button>
        );
      })}
    </div>
  );
}
