/** The timeline: what each responder did, drawn on a canvas as far as it is visible. */

import type { TargetedPointerEvent, TargetedWheelEvent } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { EventIndex } from "../data/event-index";
import { clock, duration, number, plural } from "../ui/format";
import { useSize, useVersion } from "../ui/hooks";
import { Isolated } from "../ui/text";
import { shortActor } from "./kinds";
import { type Colours, draw, LANE, readColours, RULER, type Window } from "./timeline-draw";
import { type Layout, layOut, nearestInLane, placeOf, positionAt } from "./timeline-layout";

interface Props {
  index: EventIndex;
  /** Name of the kit of the run. */
  kit: string | null;
  /** Number of events that count. */
  end: number;
  selected: number;
  select(position: number): void;
  scrub(end: number): void;
}

const LONGEST_ZOOM = 20_000;

/** How many lanes are shown without scrolling. */
const LANES = 10.5;
const FEW_LANES = 4.5;

/** Below this width, in pixels, there is room for few lanes. */
const NARROW = 420;

export function Timeline({ index, kit, end, selected, select, scrub }: Props) {
  const version = useVersion(index);
  const layout = useLayout(index, version);
  const canvas = useRef<HTMLCanvasElement>(null);
  const pane = useRef<HTMLDivElement>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const { width } = useSize(pane);
  const theme = useTheme();
  const colours = useRef<{ theme: number; read: Colours } | null>(null);
  const [zoom, setZoom] = useState(1);
  const [left, setLeft] = useState(0);
  const [top, setTop] = useState(0);
  const [hover, setHover] = useState<{ position: number; x: number; y: number } | null>(null);
  const lanes = layout.lanes.length;
  // A lane that is cut shows that more follow.
  const shown = width > 0 && width < NARROW ? FEW_LANES : LANES;
  const height = Math.min(shown * LANE, Math.max(2, lanes) * LANE);
  const window: Window = { left, zoom, width, height, top };

  useLayoutEffect(() => {
    if (!canvas.current || !width) return;
    if (colours.current?.theme !== theme) {
      colours.current = { theme, read: readColours(canvas.current) };
    }
    draw(canvas.current, index, layout, window, { end, selected }, colours.current.read);
  }, [layout, width, height, zoom, left, top, end, selected, theme]);

  const zoomTo = useCallback(
    (next: number, at = 0.5) => {
      const bound = Math.min(LONGEST_ZOOM, Math.max(1, next));
      setLeft((old) => clamp(old + at / zoom - at / bound, 0, 1 - 1 / bound));
      setZoom(bound);
    },
    [zoom],
  );

  // A zoomed timeline keeps the scrubber in sight.
  useEffect(() => {
    const place = placeOf(layout, end);
    if (zoom > 1 && (place < left || place > left + 1 / zoom)) {
      setLeft(clamp(place - 0.5 / zoom, 0, 1 - 1 / zoom));
    }
  }, [end]);

  const placeAt = (x: number) => left + x / Math.max(1, width) / zoom;
  const point = (event: TargetedPointerEvent<HTMLElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const found = (x: number, y: number) => {
    const lane = Math.floor((y - RULER + top) / LANE);
    if (y < RULER || lane < 0 || lane >= lanes) return -1;
    return nearestInLane(index, layout, lane, placeAt(x), 8 / Math.max(1, width) / zoom);
  };
  const scrubTo = (x: number) => scrub(positionAt(layout, placeAt(x)) + 1);

  const wheel = (event: TargetedWheelEvent<HTMLElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoomTo(zoom * 1.0015 ** -event.deltaY, (event.clientX - box.left) / Math.max(1, width));
    } else if (zoom > 1 && (event.deltaX || event.shiftKey)) {
      event.preventDefault();
      const by = event.deltaX || event.deltaY;
      setLeft((old) => clamp(old + by / Math.max(1, width) / zoom, 0, 1 - 1 / zoom));
    } else if (scroller.current) {
      scroller.current.scrollTop += event.deltaY;
    }
  };

  return (
    <section class="timeline" aria-label="Timeline">
      <div class="timeline-tools">
        <Legend />
        <span class="dim timeline-loading" aria-hidden="true">
          {lanes > shown && `${plural(lanes, "lane")} `}
          {layout.loaded < layout.length && `${number(layout.loaded)} of ${number(layout.length)} loaded`}
        </span>
        <div class="buttons" role="group" aria-label="Zoom of the timeline">
          <button type="button" class="icon-button" aria-label="Zoom out" onClick={() => zoomTo(zoom / 2)}>
            −
          </button>
          <button type="button" class="icon-button" aria-label="Zoom in" onClick={() => zoomTo(zoom * 2)}>
            +
          </button>
          <button type="button" class="button small" disabled={zoom === 1} onClick={() => zoomTo(1)}>
            Fit
          </button>
        </div>
      </div>
      <div class="timeline-body" style={{ height: `${height + RULER}px` }}>
        <div
          class="timeline-lanes"
          ref={scroller}
          tabIndex={lanes * LANE > height ? 0 : -1}
          role="group"
          aria-label="Lanes"
          onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        >
          <div style={{ height: `${lanes * LANE}px` }}>
            <Lanes layout={layout} kit={kit} top={top} height={height} />
          </div>
        </div>
        <div class="timeline-pane" ref={pane}>
          <canvas
            ref={canvas}
            role="img"
            aria-label={describe(layout)}
            onWheel={wheel}
            onPointerDown={(event) => {
              const { x, y } = point(event);
              if (y < RULER) {
                event.currentTarget.setPointerCapture(event.pointerId);
                scrubTo(x);
                return;
              }
              const position = found(x, y);
              if (position >= 0) select(position);
              else scrubTo(x);
            }}
            onPointerMove={(event) => {
              const { x, y } = point(event);
              if (event.currentTarget.hasPointerCapture(event.pointerId)) {
                scrubTo(x);
                return;
              }
              const position = found(x, y);
              setHover(position >= 0 ? { position, x, y } : null);
              event.currentTarget.style.cursor = y < RULER ? "ew-resize" : position >= 0 ? "pointer" : "";
            }}
            onPointerLeave={() => setHover(null)}
          />
          {hover && <Hover index={index} hover={hover} width={width} />}
        </div>
      </div>
    </section>
  );
}

/** Lay out again when the index changes; a long run that loads is laid out a few times a second. */
function useLayout(index: EventIndex, version: number): Layout {
  const last = useRef<{ layout: Layout; index: EventIndex; at: number } | null>(null);
  const [, again] = useState(0);
  const timer = useRef(0);
  return useMemo(() => {
    const old = last.current;
    const wait = old?.index === index ? old.at + (index.length > 20_000 ? 400 : 30) - performance.now() : 0;
    if (old && wait > 0) {
      timer.current ||= globalThis.window.setTimeout(() => {
        timer.current = 0;
        again(performance.now());
      }, wait);
      return old.layout;
    }
    const layout = layOut(index);
    last.current = { layout, index, at: performance.now() };
    return layout;
  }, [index, version, timer.current]);
}

/** Change when the theme changes: a canvas does not take colours from the style sheet by itself. */
function useTheme(): number {
  const [count, setCount] = useState(0);
  useEffect(() => {
    const observer = new MutationObserver(() => setCount((before) => before + 1));
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }, []);
  return count;
}

function Lanes(props: { layout: Layout; kit: string | null; top: number; height: number }) {
  const { layout, kit, top, height } = props;
  const first = Math.max(0, Math.floor(top / LANE) - 1);
  const last = Math.min(layout.lanes.length, Math.ceil((top + height) / LANE) + 1);
  return (
    <>
      {layout.lanes.slice(first, last).map((name, i) => (
        <div class="timeline-lane" key={first + i} style={{ top: `${(first + i) * LANE}px` }} title={name}>
          <Isolated text={shortActor(name, kit)} />
        </div>
      ))}
    </>
  );
}

function Legend() {
  return (
    <ul class="legend" aria-label="Colours">
      {(["object", "relation", "llm", "tool", "person", "failure"] as const).map((kind) => (
        <li key={kind}>
          <i class={`dot kind-${kind}`} aria-hidden="true" />
          {kind === "llm" ? "model" : kind}
        </li>
      ))}
    </ul>
  );
}

function Hover(props: { index: EventIndex; hover: { position: number; x: number; y: number }; width: number }) {
  const { index, hover, width } = props;
  const { position } = hover;
  const answer = index.answer(position);
  const took = answer >= 0 ? index.time(answer) - index.time(position) : -1;
  return (
    <div
      class="timeline-hover"
      style={{
        left: `${Math.max(0, Math.min(hover.x + 12, width - 300))}px`,
        top: `${hover.y + 16}px`,
      }}
    >
      <b>{number(position + 1)}</b> <Isolated text={index.type(position)} />{" "}
      <span class="dim">
        {clock(index.time(position))}
        {took >= 0 && `, answered after ${duration(took)}`}
      </span>
      <div class="timeline-hover-text">
        <Isolated text={index.summary(position)} />
      </div>
    </div>
  );
}

function describe(layout: Layout): string {
  const parts = [
    plural(layout.length, "event"),
    plural(layout.lanes.length, "lane"),
    plural(layout.calls.length, "call"),
  ];
  return `Timeline with ${parts.join(", ")}. The list of events shows the same as text.`;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
