/** Where the events of a run lie on the timeline: lanes by responder, long gaps compressed. */

import { type EventIndex, REQUESTS } from "../data/event-index";

/** How many calls of a lane are drawn one below the other. */
export const ROWS = 3;

/** Share of the width that follows the order of events; the rest follows their times. */
const BY_ORDER = 0.4;

/** A gap is marked if it is this many times longer than most, and longer than a second. */
const GAP = 6;
const SHORTEST_GAP = 1000;

export interface Call {
  /** Positions of the request and of its answer; -1 for a pending call. */
  start: number;
  end: number;
  lane: number;
  row: number;
}

export interface Gap {
  /** Position of the event after the gap. */
  position: number;
  milliseconds: number;
}

export interface Layout {
  /** Number of events of the run, and how many of these have a place. */
  length: number;
  loaded: number;
  /** Place of each event from 0 to 1. */
  places: Float64Array;
  /** Names of the lanes, in the order in which they appear. */
  lanes: string[];
  calls: Call[];
  gaps: Gap[];
}

/** Lay out the events that are loaded. */
export function layOut(index: EventIndex): Layout {
  const { length, loadedPrefix: loaded } = index;
  const places = new Float64Array(loaded);
  const scale = usualGap(index, loaded);
  const gaps: Gap[] = [];
  let time = 0;
  for (let i = 0; i < loaded; i++) {
    const gap = i ? Math.max(0, index.time(i) - index.time(i - 1)) : 0;
    time += compress(gap, scale);
    if (gap > Math.max(GAP * scale, SHORTEST_GAP)) gaps.push({ position: i, milliseconds: gap });
    places[i] = time;
  }
  const share = length ? loaded / length : 0;
  for (let i = 0; i < loaded; i++) {
    const byOrder = (i + 0.5) / loaded;
    const byTime = time > 0 ? (places[i] ?? 0) / time : byOrder;
    places[i] = share * (BY_ORDER * byOrder + (1 - BY_ORDER) * byTime);
  }
  return { length, loaded, places, lanes: index.actors.all, calls: callsOf(index, loaded), gaps };
}

/** Return the place of a number of events: where the scrubber stands. */
export function placeOf(layout: Layout, end: number): number {
  if (end <= 0) return 0;
  if (end >= layout.length) return 1;
  if (end > layout.loaded) return end / layout.length;
  return layout.places[end - 1] ?? 0;
}

/** Return the position of the last event at or before a place, or -1. */
export function positionAt(layout: Layout, place: number): number {
  let low = 0;
  let high = layout.loaded;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((layout.places[middle] ?? 0) <= place) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Return the position of the loaded event of a lane that is nearest to a place, or -1. */
export function nearestInLane(
  index: EventIndex,
  layout: Layout,
  lane: number,
  place: number,
  reach: number,
): number {
  const middle = positionAt(layout, place);
  let best = -1;
  let distance = reach;
  const consider = (position: number): boolean => {
    const off = Math.abs((layout.places[position] ?? 0) - place);
    if (off > reach) return false;
    if (off <= distance && index.actorNumber(position) === lane) {
      best = position;
      distance = off;
    }
    return true;
  };
  for (let i = middle; i >= 0 && consider(i); i--);
  for (let i = middle + 1; i < layout.loaded && consider(i); i++);
  return best;
}

/** Return a gap that most gaps do not exceed, from a sample. */
function usualGap(index: EventIndex, loaded: number): number {
  const step = Math.max(1, Math.floor(loaded / 2000));
  const sample: number[] = [];
  for (let i = 1; i < loaded; i += step) {
    const gap = index.time(i) - index.time(i - 1);
    if (gap > 0) sample.push(gap);
  }
  if (sample.length === 0) return 1;
  sample.sort((a, b) => a - b);
  return sample[Math.floor((sample.length - 1) * 0.7)] ?? 1;
}

/** Return the width of a gap: a long one grows with its logarithm only. */
function compress(gap: number, scale: number): number {
  return gap <= scale ? gap : scale * (1 + 0.5 * Math.log2(gap / scale));
}

/** Return the calls, each in the lane of the responder that asks. */
function callsOf(index: EventIndex, loaded: number): Call[] {
  const isRequest = index.types.all.map((type) => REQUESTS.has(type));
  const calls: Call[] = [];
  /** The ends of the calls in each row of a lane. */
  const rows = new Map<number, number[]>();
  for (let start = 0; start < loaded; start++) {
    if (!isRequest[index.typeNumber(start)]) continue;
    const answer = index.answer(start);
    const end = answer >= 0 && answer < loaded ? answer : -1;
    const lane = index.actorNumber(start);
    const ends = rows.get(lane) ?? new Array<number>(ROWS).fill(-1);
    rows.set(lane, ends);
    let row = ends.findIndex((each) => each <= start);
    if (row < 0) row = calls.length % ROWS;
    ends[row] = end < 0 ? Number.POSITIVE_INFINITY : end;
    calls.push({ start, end, lane, row });
  }
  return calls;
}
