/** A figure in the page: zoomed with buttons or Ctrl and the wheel, moved by dragging or scrolling. */

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";

import { useSize } from "../../ui/hooks";
import { type Figure, type FigureBox, middleOf } from "../logic/figure";
import { curved } from "../logic/layered";

const MARGIN = 20;
const SMALLEST = 0.1;
const LARGEST = 2;
/** Below this scale no label can be read, so that a figure that would need it is not shown as a whole. */
const READABLE = 0.75;

export interface FigureViewProps {
  figure: Figure;
  /** Id of the box that is active: it gets the focus ring, and its lines are stressed. */
  active: string | null;
  choose(id: string): void;
  /** Whether all lines have their labels; else only those of the active box. */
  isLabelled?: boolean;
}

export function FigureView({ figure, active, choose, isLabelled = true }: FigureViewProps) {
  const frame = useRef<HTMLDivElement>(null);
  const size = useSize(frame);
  const [zoom, setZoom] = useState<number | null>(null);
  const width = figure.width + 2 * MARGIN;
  const height = figure.height + 2 * MARGIN;
  const whole = size.width ? Math.min(1, size.width / width, size.height / height) : 1;
  const scale = zoom ?? Math.max(whole, READABLE);

  const zoomTo = (to: number, x = size.width / 2, y = size.height / 2) => {
    const element = frame.current;
    const next = Math.min(LARGEST, Math.max(SMALLEST, to));
    if (!element) return;
    const left = (element.scrollLeft + x) / scale;
    const top = (element.scrollTop + y) / scale;
    setZoom(next);
    requestAnimationFrame(() => element.scrollTo(left * next - x, top * next - y));
  };

  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const turn = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const edge = element.getBoundingClientRect();
      zoomTo(scale * Math.exp(-event.deltaY / 300), event.clientX - edge.left, event.clientY - edge.top);
    };
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  });

  const target = active ?? figure.boxes.find((each) => each.mark)?.id ?? null;
  useEffect(() => {
    const box = figure.boxes.find((each) => each.id === target);
    const element = frame.current;
    if (!box || !element || !size.width) return;
    const [left, top] = [(box.x + MARGIN) * scale, (box.y + MARGIN) * scale];
    const isVisible =
      left >= element.scrollLeft &&
      left + box.width * scale <= element.scrollLeft + size.width &&
      top >= element.scrollTop &&
      top + box.height * scale <= element.scrollTop + size.height;
    if (isVisible) return;
    element.scrollTo(
      left - (size.width - box.width * scale) / 2,
      top - (size.height - box.height * scale) / 2,
    );
  }, [target, figure, size.width > 0]);

  return (
    <div class="figure">
      <div class="figure-tools">
        <button
          type="button"
          class="icon-button"
          aria-label="Zoom out"
          title="Zoom out"
          onClick={() => zoomTo(scale / 1.3)}
        >
          −
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="Zoom in"
          title="Zoom in"
          onClick={() => zoomTo(scale * 1.3)}
        >
          +
        </button>
        <button
          type="button"
          class="button"
          title="Show the whole figure"
          onClick={() => setZoom(Math.max(SMALLEST, whole))}
        >
          Fit
        </button>
      </div>
      <div class="figure-frame" ref={frame} onPointerDown={(event) => drag(event, frame.current)}>
        <Drawing
          figure={figure}
          active={active}
          choose={choose}
          isLabelled={isLabelled}
          scale={scale}
          width={width}
          height={height}
        />
      </div>
    </div>
  );
}

/** Move what a frame shows while a mouse is dragged; a finger scrolls anyway. */
function drag(event: PointerEvent, frame: HTMLDivElement | null): void {
  const isOnBox = event.target instanceof Element && event.target.closest("[data-box]");
  if (!frame || event.pointerType !== "mouse" || event.button !== 0 || isOnBox) return;
  const start = { x: event.clientX + frame.scrollLeft, y: event.clientY + frame.scrollTop };
  const move = (next: PointerEvent) => frame.scrollTo(start.x - next.clientX, start.y - next.clientY);
  const end = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", end);
    frame.classList.remove("is-dragged");
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end);
  frame.classList.add("is-dragged");
}

interface DrawingProps extends Required<FigureViewProps> {
  scale: number;
  width: number;
  height: number;
}

function Drawing({ figure, active, choose, isLabelled, scale, width, height }: DrawingProps) {
  const arrow = useId();
  const first = active ?? figure.boxes[0]?.id ?? null;
  const lines = useMemo(() => figure.lines.map((each) => curved(each.points, figure.direction)), [figure]);
  const press = (event: KeyboardEvent, box: FigureBox) => {
    const next = neighbour(figure.boxes, box, event.key);
    if (event.key === "Enter" || event.key === " ") choose(box.id);
    else if (next) focusBox(event.currentTarget as SVGElement, next.id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <svg
      class="figure-drawing"
      width={Math.max(1, width * scale)}
      height={Math.max(1, height * scale)}
      viewBox={`${-MARGIN} ${-MARGIN} ${width} ${height}`}
      role="group"
      aria-label={`${figure.title}. The arrow keys move between boxes.`}
    >
      <defs>
        <marker id={arrow} viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
          <path class="figure-arrow" d="M0 0 8 4 0 8z" />
        </marker>
      </defs>
      {figure.lines.map((each, number) => {
        const isStressed = active !== null && (each.source === active || each.target === active);
        const middle = each.label && (isLabelled || isStressed) ? middleOf(each.points) : null;
        return (
          <g
            key={number}
            aria-hidden="true"
            class={`figure-line${isStressed ? " is-stressed" : ""}${each.mark ? ` mark-${each.mark}` : ""}`}
          >
            <path d={lines[number]} marker-end={`url(#${arrow})`} />
            {middle && (
              <text x={middle[0]} y={middle[1] - 4} text-anchor="middle">
                {each.label}
              </text>
            )}
          </g>
        );
      })}
      {figure.boxes.map((box) => (
        <g
          key={box.id}
          data-box={box.id}
          class={`figure-box ev-${box.kind}${box.mark ? ` mark-${box.mark}` : ""}${box.id === active ? " is-active" : ""}`}
          role="button"
          tabindex={box.id === first ? 0 : -1}
          aria-pressed={box.id === active}
          onClick={() => choose(box.id)}
          onKeyDown={(event) => press(event, box)}
        >
          <title>{box.mark ? `${box.title} (${box.mark})` : box.title}</title>
          <rect x={box.x} y={box.y} width={box.width} height={box.height} rx="6" />
          <svg x={box.x} y={box.y} width={box.width - 4} height={box.height} aria-hidden="true">
            {box.lines.slice(0, 3).map((line, number) => (
              <text key={number} class={`line-${number}`} x="10" y={18 + 17 * number}>
                {line}
              </text>
            ))}
          </svg>
        </g>
      ))}
    </svg>
  );
}

/** Return the nearest box in the direction of an arrow key, or null. */
function neighbour(boxes: readonly FigureBox[], from: FigureBox, key: string): FigureBox | null {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (!way) return null;
  const [wayX = 0, wayY = 0] = way;
  let best: FigureBox | null = null;
  let least = Infinity;
  for (const each of boxes) {
    const [x, y] = [each.x - from.x, each.y - from.y];
    const along = x * wayX + y * wayY;
    if (along < 4) continue;
    const distance = along + 3 * Math.abs(x * wayY + y * wayX);
    if (distance < least) [least, best] = [distance, each];
  }
  return best;
}

function focusBox(from: SVGElement, id: string): void {
  const found = from.ownerSVGElement?.querySelector<SVGElement>(`[data-box="${CSS.escape(id)}"]`);
  found?.focus();
}
