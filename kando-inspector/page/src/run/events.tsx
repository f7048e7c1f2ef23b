/** The list of events: virtual, so that 100,000 of them cost no more than a screen of them. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { EventIndex } from "../data/event-index";
import { clock, number, plural } from "../ui/format";
import { useSize, useVersion } from "../ui/hooks";
import { Isolated } from "../ui/text";
import type { ViewProps } from "../views/registry";
import { register } from "../views/registry";
import { type Filter, filterIndex, NO_FILTER, rankOf, searchData } from "./find";
import { kindOf, shortActor } from "./kinds";

const ROW = 30;
const NARROW_ROW = 50;
const OVERSCAN = 6;

/** A search in the data of all events. */
interface Search {
  text: string;
  searched: number;
  found: Int32Array;
  isDone: boolean;
}

function Events(props: ViewProps) {
  const { events: index, end, event, select, navigate } = props;
  const version = useVersion(index);
  const [filter, setFilter] = useState<Filter>(NO_FILTER);
  const [search, setSearch] = useSearch(index);
  const positions = useMemo(
    () => search?.found ?? filterIndex(index, filter),
    [index, version, filter, search],
  );
  const selected = event ? index.positionOf(event) : -1;
  const change = (to: Partial<Filter>) => {
    setSearch(null);
    setFilter({ ...filter, ...to });
  };
  const count = positions ? positions.length : index.length;
  return (
    <div class="events">
      <div class="events-tools" role="search">
        <input
          type="search"
          class="find"
          id="find"
          placeholder="Find in this run"
          aria-label="Find in this run"
          value={filter.text}
          onInput={(each) => change({ text: each.currentTarget.value })}
          onKeyDown={(each) => {
            if (each.key === "Enter" && filter.text.trim()) setSearch(filter.text);
          }}
        />
        <select
          aria-label="Kind of events"
          value={filter.kind}
          onChange={(each) => change({ kind: each.currentTarget.value })}
        >
          <option value="">All kinds</option>
          <option value="object">Objects</option>
          <option value="relation">Relations</option>
          <option value="llm">Model calls</option>
          <option value="tool">Tool calls</option>
          <option value="person">People</option>
          <option value="failure">Failures</option>
        </select>
        <label class="check" title="Events with which the runtime records what it fires">
          <input
            type="checkbox"
            checked={filter.all}
            onChange={(each) => change({ all: each.currentTarget.checked })}
          />
          Bookkeeping
        </label>
        <p class="dim events-count" role="status">
          {search
            ? searchState(search, index.length)
            : filter.text.trim()
              ? `${plural(count, "match").replace("matchs", "matches")}; Enter searches the data, too`
              : plural(count, "event")}
        </p>
      </div>
      <List
        index={index}
        kit={props.status.kit ?? null}
        version={version}
        positions={positions}
        count={count}
        selected={selected}
        end={end}
        isAtEnd={props.at === null}
        select={(position) => select(index.id(position))}
        go={(position) => navigate({ at: position + 1, event: index.id(position) })}
      />
    </div>
  );
}

function searchState(search: Search, length: number): string {
  const found = `${number(search.found.length)} in the data`;
  return search.isDone ? found : `${found}; searched ${number(search.searched)} of ${number(length)}`;
}

/** Search the data of all events; a new search ends the one before. */
function useSearch(index: EventIndex): [Search | null, (text: string | null) => void] {
  const [search, setSearch] = useState<Search | null>(null);
  const current = useRef(0);
  useEffect(() => () => void current.current++, [index]);
  const start = (text: string | null) => {
    const mine = ++current.current;
    if (text === null) {
      setSearch(null);
      return;
    }
    const show = (searched: number, found: number[], isDone: boolean) => {
      if (mine !== current.current) return false;
      setSearch({ text, searched, found: Int32Array.from(found), isDone });
      return true;
    };
    show(0, [], false);
    searchData(index, text, (searched, found) => show(searched, found, false))
      .then((found) => show(index.length, found, true))
      .catch(() => show(index.length, [], true));
  };
  return [search, start];
}

interface ListProps {
  index: EventIndex;
  kit: string | null;
  version: number;
  positions: Int32Array | null;
  count: number;
  selected: number;
  /** Number of events that count. */
  end: number;
  isAtEnd: boolean;
  select(position: number): void;
  go(position: number): void;
}

function List(props: ListProps) {
  const { index, positions, count, selected, end, select, go } = props;
  const ref = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(ref);
  const [top, setTop] = useState(0);
  const row = width > 0 && width < 620 ? NARROW_ROW : ROW;
  const first = Math.max(0, Math.floor(top / row) - OVERSCAN);
  const last = Math.min(count, Math.ceil((top + height) / row) + OVERSCAN);
  const at = (rank: number) => (positions ? (positions[rank] ?? -1) : rank);

  useEffect(() => {
    if (last > first && !positions) void index.ensure(first, last).catch(() => {});
  }, [first, last, positions, index]);

  // What is selected, or the last event that counts, stays in sight.
  const focus = selected >= 0 ? selected : end - 1;
  const rank = rankOf(positions, focus);
  const isFollowing = useRef(props.isAtEnd);
  const wasAtEnd = useRef(props.isAtEnd);
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box || height === 0 || focus < 0) return;
    const isGrowing = selected < 0 && props.isAtEnd && wasAtEnd.current;
    wasAtEnd.current = props.isAtEnd;
    // New events do not move someone who has scrolled away from the end.
    if (isGrowing && !isFollowing.current) return;
    const y = Math.min(rank, count - 1) * row;
    const isFar = y < box.scrollTop - height || y > box.scrollTop + 2 * height;
    if (isFar) box.scrollTop = y - height / 2;
    else if (y < box.scrollTop) box.scrollTop = y;
    else if (y + row > box.scrollTop + height) box.scrollTop = y + row - height;
  }, [focus, rank, count, row, height]);

  const pick = (wanted: number) => {
    const position = at(Math.max(0, Math.min(count - 1, wanted)));
    if (position >= 0 && index.isLoaded(position)) select(position);
  };
  const move = (by: number) => {
    const isThere = selected >= 0 && at(rank) === selected;
    pick(isThere ? rank + by : by > 0 ? rank : rank - 1);
  };
  const press = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(height / row) - 1);
    const moves: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
    };
    const by = moves[event.key];
    if (by !== undefined) move(by);
    else if (event.key === "Home") pick(0);
    else if (event.key === "End") pick(count - 1);
    else if (event.key === "Enter" && selected >= 0) go(selected);
    else return;
    event.preventDefault();
  };
  const rows = [];
  for (let i = first; i < last; i++) {
    const position = at(i);
    if (position < 0) continue;
    rows.push(
      <Row
        key={position}
        index={index}
        kit={props.kit}
        position={position}
        rank={i}
        count={count}
        top={i * row}
        isSelected={position === selected}
        isAfter={position >= end}
        isLast={position < end && end < index.length && !(at(i + 1) < end && at(i + 1) >= 0)}
        isLoaded={index.isLoaded(position)}
        select={select}
        go={go}
      />,
    );
  }
  const isShown = selected >= 0 && rank >= first && rank < last;
  return (
    <div
      ref={ref}
      class={`event-list ${row === NARROW_ROW ? "is-narrow" : ""}`}
      role="listbox"
      tabIndex={0}
      aria-label="Events"
      aria-activedescendant={isShown ? `event-${selected}` : undefined}
      onKeyDown={press}
      onScroll={(event) => {
        const box = event.currentTarget;
        isFollowing.current = box.scrollTop + box.clientHeight >= box.scrollHeight - row;
        setTop(box.scrollTop);
      }}
    >
      <div class="event-list-all" role="presentation" style={{ height: `${count * row}px` }}>
        {rows}
      </div>
    </div>
  );
}

interface RowProps {
  index: EventIndex;
  kit: string | null;
  position: number;
  rank: number;
  count: number;
  top: number;
  isSelected: boolean;
  isAfter: boolean;
  isLast: boolean;
  isLoaded: boolean;
  select(position: number): void;
  go(position: number): void;
}

function Row(props: RowProps) {
  const { index, position } = props;
  const type = index.type(position);
  const names = ["event-row"];
  if (props.isSelected) names.push("is-selected");
  if (props.isAfter) names.push("is-after");
  if (props.isLast) names.push("is-last");
  return (
    <div
      id={`event-${position}`}
      class={names.join(" ")}
      role="option"
      aria-selected={props.isSelected}
      aria-setsize={props.count}
      aria-posinset={props.rank + 1}
      style={{ top: `${props.top}px` }}
      onClick={() => props.isLoaded && props.select(position)}
      onDblClick={() => props.isLoaded && props.go(position)}
    >
      <span class="event-number">{number(position + 1)}</span>
      {props.isLoaded ? (
        <>
          <span class="event-time">{clock(index.time(position))}</span>
          <span class="event-type">
            <i class={`dot kind-${kindOf(type)}`} aria-hidden="true" />
            <Isolated text={type} />
          </span>
          <Isolated class="event-actor" text={shortActor(index.actor(position), props.kit)} />
          <Isolated class="event-summary" text={index.summary(position)} />
        </>
      ) : (
        <span class="event-summary dim">Loading</span>
      )}
    </div>
  );
}

register({ id: "events", title: "Events", order: 0, Component: Events });
