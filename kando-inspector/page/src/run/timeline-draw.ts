/** Draws the visible part of a timeline. */

import type { EventIndex } from "../data/event-index";
import { duration, number } from "../ui/format";
import { type Kind, KINDS, kindOf } from "./kinds";
import { type Layout, placeOf, positionAt, ROWS } from "./timeline-layout";

/** Height of a lane and of the ruler, in pixels. */
export const LANE = 20;
export const RULER = 22;

export interface Window {
  /** Place at the left edge, from 0 to 1. */
  left: number;
  zoom: number;
  width: number;
  height: number;
  /** How far the lanes are scrolled, in pixels. */
  top: number;
}

interface Marks {
  /** Number of events that count. */
  end: number;
  selected: number;
}

export interface Colours {
  kinds: Record<Kind, string>;
  line: string;
  text: string;
  dim: string;
  accent: string;
  panel: string;
}

/** What does not change while a person scrubs: all but the marks. */
interface Backdrop {
  canvas: HTMLCanvasElement;
  layout: Layout;
  colours: Colours;
  window: string;
}

const backdrops = new WeakMap<HTMLCanvasElement, Backdrop>();

/** Draw what the window shows; the work is bounded by the events and the pixels in it. */
export function draw(
  canvas: HTMLCanvasElement,
  index: EventIndex,
  layout: Layout,
  window: Window,
  marks: Marks,
  colours: Colours,
): void {
  const ratio = devicePixelRatio || 1;
  const { width, height } = window;
  fit(canvas, width, height + RULER, ratio);
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const scale = width * window.zoom;
  const x = (place: number) => (place - window.left) * scale;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(backdropOf(canvas, index, layout, window, colours, x), 0, 0);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  drawAfter(pen, layout, window, marks, colours, x);
  drawMarks(pen, index, layout, window, marks, colours, x);
}

/** Return the lanes, gaps, calls and events as a picture, drawn again only if they changed. */
function backdropOf(
  canvas: HTMLCanvasElement,
  index: EventIndex,
  layout: Layout,
  window: Window,
  colours: Colours,
  x: Place,
): HTMLCanvasElement {
  const ratio = devicePixelRatio || 1;
  const key = JSON.stringify([window, ratio]);
  const old = backdrops.get(canvas);
  if (old && old.layout === layout && old.colours === colours && old.window === key) {
    return old.canvas;
  }
  const made = old?.canvas ?? document.createElement("canvas");
  fit(made, window.width, window.height + RULER, ratio);
  backdrops.set(canvas, { canvas: made, layout, colours, window: key });
  const pen = made.getContext("2d");
  if (!pen) return made;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, window.width, window.height + RULER);
  pen.font = "11px system-ui, sans-serif";
  drawLanes(pen, layout, window, colours);
  drawGaps(pen, layout, window, colours, x);
  pen.save();
  pen.beginPath();
  pen.rect(0, RULER, window.width, window.height);
  pen.clip();
  drawCalls(pen, index, layout, window, colours, x);
  drawEvents(pen, index, layout, window, colours, x);
  pen.restore();
  drawRuler(pen, layout, window, colours, x);
  return made;
}

/** Resize a canvas if its size has changed: that costs more than drawing. */
function fit(canvas: HTMLCanvasElement, width: number, height: number, ratio: number): void {
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width === across && canvas.height === down) return;
  canvas.width = across;
  canvas.height = down;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
}

type Place = (place: number) => number;

function drawLanes(pen: CanvasRenderingContext2D, layout: Layout, window: Window, colours: Colours): void {
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.beginPath();
  for (let lane = 0; lane <= layout.lanes.length; lane++) {
    const y = RULER + lane * LANE - window.top + 0.5;
    if (y < RULER || y > RULER + window.height) continue;
    pen.moveTo(0, y);
    pen.lineTo(window.width, y);
  }
  pen.stroke();
}

function drawGaps(
  pen: CanvasRenderingContext2D,
  layout: Layout,
  window: Window,
  colours: Colours,
  x: Place,
): void {
  pen.fillStyle = colours.dim;
  pen.textAlign = "center";
  let free = 0;
  for (const gap of layout.gaps) {
    const to = x(layout.places[gap.position] ?? 0);
    const from = x(layout.places[gap.position - 1] ?? 0);
    if (to < 0 || from > window.width) continue;
    const middle = (from + to) / 2;
    const label = duration(gap.milliseconds);
    const needed = pen.measureText(label).width + 10;
    pen.strokeStyle = colours.line;
    pen.setLineDash([3, 3]);
    pen.beginPath();
    pen.moveTo(middle, RULER);
    pen.lineTo(middle, RULER + window.height);
    pen.stroke();
    pen.setLineDash([]);
    if (to - from >= needed && middle - needed / 2 > free) {
      pen.fillStyle = colours.panel;
      pen.fillRect(middle - needed / 2, RULER + window.height - 16, needed, 14);
      pen.fillStyle = colours.dim;
      pen.fillText(label, middle, RULER + window.height - 5);
      free = middle + needed / 2;
    }
  }
}

function drawCalls(
  pen: CanvasRenderingContext2D,
  index: EventIndex,
  layout: Layout,
  window: Window,
  colours: Colours,
  x: Place,
): void {
  const row = (LANE - 6) / ROWS;
  const right = x(layout.length ? layout.loaded / layout.length : 0);
  const kinds = index.types.all.map(kindOf);
  const free = new Map<number, number>();
  for (const call of layout.calls) {
    const from = x(layout.places[call.start] ?? 0);
    const to = call.end < 0 ? right : x(layout.places[call.end] ?? 0);
    if (to < 0) continue;
    if (from > window.width) break;
    const y = RULER + call.lane * LANE - window.top + 3 + call.row * row;
    if (y < RULER - LANE || y > RULER + window.height) continue;
    // Bars that share a pixel are drawn once.
    const key = call.lane * ROWS + call.row;
    const last = free.get(key) ?? -1;
    if (to <= last) continue;
    free.set(key, Math.max(to, Math.floor(from) + 1));
    pen.fillStyle = colours.kinds[kinds[index.typeNumber(call.start)] ?? "other"];
    pen.globalAlpha = call.end < 0 ? 0.35 : 0.6;
    pen.fillRect(Math.max(-2, from), y, Math.max(1.5, Math.min(to, window.width + 2) - Math.max(-2, from)), row - 1);
  }
  pen.globalAlpha = 1;
}

function drawEvents(
  pen: CanvasRenderingContext2D,
  index: EventIndex,
  layout: Layout,
  window: Window,
  colours: Colours,
  x: Place,
): void {
  const first = Math.max(0, positionAt(layout, window.left - 2 / (window.width * window.zoom)));
  const last = positionAt(layout, window.left + 1 / window.zoom) + 1;
  const kinds = index.types.all.map((type) => KINDS.indexOf(kindOf(type)));
  const columns = Math.ceil(window.width) + 4;
  // A pixel of a lane is drawn once, in the colour of the kind that matters most.
  const taken = new Uint8Array(columns * layout.lanes.length);
  const rank = [3, 2, 5, 4, 6, 7, 1, 1];
  for (let i = first; i < last; i++) {
    const column = Math.round(x(layout.places[i] ?? 0)) + 1;
    if (column < 0 || column >= columns) continue;
    const at = index.actorNumber(i) * columns + column;
    const kind = kinds[index.typeNumber(i)] ?? 7;
    const old = taken[at] ?? 0;
    if (old === 0 || (rank[kind] ?? 0) > (rank[old - 1] ?? 0)) taken[at] = kind + 1;
  }
  const firstLane = Math.max(0, Math.floor(window.top / LANE));
  const lastLane = Math.min(layout.lanes.length, Math.ceil((window.top + window.height) / LANE));
  for (let lane = firstLane; lane < lastLane; lane++) {
    const y = RULER + lane * LANE - window.top;
    for (let column = 0; column < columns; column++) {
      const kind = taken[lane * columns + column];
      if (!kind) continue;
      const name = KINDS[kind - 1] ?? "other";
      pen.fillStyle = colours.kinds[name];
      const isSmall = name === "runtime";
      pen.fillRect(column - 2, y + (isSmall ? 8 : 4), 2, isSmall ? 5 : LANE - 8);
    }
  }
}

/** Cover the events that do not count, and those that are not loaded yet. */
function drawAfter(
  pen: CanvasRenderingContext2D,
  layout: Layout,
  window: Window,
  marks: Marks,
  colours: Colours,
  x: Place,
): void {
  if (marks.end >= layout.length) return;
  const from = Math.max(0, x(placeOf(layout, marks.end)) + 1);
  pen.globalAlpha = 0.65;
  pen.fillStyle = colours.panel;
  pen.fillRect(from, RULER + 1, Math.max(0, window.width - from), window.height);
  pen.globalAlpha = 1;
}

function drawRuler(
  pen: CanvasRenderingContext2D,
  layout: Layout,
  window: Window,
  colours: Colours,
  x: Place,
): void {
  pen.fillStyle = colours.dim;
  pen.strokeStyle = colours.line;
  pen.textAlign = "left";
  pen.beginPath();
  let free = -1;
  for (let column = 0; column < window.width - 30; column += 12) {
    const place = window.left + column / (window.width * window.zoom);
    const position = column === 0 ? firstFrom(layout, place) : positionAt(layout, place);
    if (position < 0 || position >= layout.loaded) continue;
    const at = x(layout.places[position] ?? 0);
    const label = number(position + 1);
    if (at < free || at < 0 || at + pen.measureText(label).width > window.width) continue;
    pen.moveTo(Math.round(at) + 0.5, RULER - 6);
    pen.lineTo(Math.round(at) + 0.5, RULER);
    pen.fillText(label, at + 3, RULER - 8);
    free = at + 90;
  }
  pen.moveTo(0, RULER + 0.5);
  pen.lineTo(window.width, RULER + 0.5);
  pen.stroke();
}

/** Return the position of the first event at or after a place. */
function firstFrom(layout: Layout, place: number): number {
  const before = positionAt(layout, place);
  return before >= 0 && layout.places[before] === place ? before : before + 1;
}

function drawMarks(
  pen: CanvasRenderingContext2D,
  index: EventIndex,
  layout: Layout,
  window: Window,
  marks: Marks,
  colours: Colours,
  x: Place,
): void {
  const at = Math.min(window.width - 1, Math.round(x(placeOf(layout, marks.end))));
  pen.fillStyle = colours.accent;
  if (at >= 0) {
    pen.fillRect(at - 0.75, RULER - 4, 1.5, window.height + 4);
    pen.beginPath();
    pen.moveTo(at - 5, RULER - 10);
    pen.lineTo(at + 5, RULER - 10);
    pen.lineTo(at, RULER - 2);
    pen.fill();
  }
  if (marks.selected < 0 || marks.selected >= layout.loaded) return;
  const column = x(layout.places[marks.selected] ?? 0);
  const y = RULER + index.actorNumber(marks.selected) * LANE - window.top;
  if (y + LANE < RULER) return;
  pen.strokeStyle = colours.text;
  pen.lineWidth = 1.5;
  pen.strokeRect(column - 4, Math.max(RULER, y + 2), 7, LANE - 4);
}

/** Return the colours of the theme, which a canvas does not take from the style sheet by itself. */
export function readColours(element: Element): Colours {
  const style = getComputedStyle(element);
  const read = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const kinds = Object.fromEntries(KINDS.map((kind) => [kind, read(`kind-${kind}`)]));
  return {
    kinds: kinds as Record<Kind, string>,
    line: read("line"),
    text: read("text"),
    dim: read("dim"),
    accent: read("accent"),
    panel: read("panel"),
  };
}
