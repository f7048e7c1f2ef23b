/** A figure of boxes and lines, independent of whether it is shown in the page or written to a file. */

import type { Point } from "./layered";
import { curved } from "./layered";
import { visible } from "./text";

export interface FigureBox {
  readonly id: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Class of the box, which has a colour. */
  readonly kind: string;
  /** Lines of its label; up to three have room. */
  readonly lines: readonly string[];
  /** The whole label, for a tooltip and a screen reader. */
  readonly title: string;
  readonly mark?: string | undefined;
}

export interface FigureLine {
  readonly source: string;
  readonly target: string;
  readonly points: readonly Point[];
  readonly label: string;
  readonly mark?: string | undefined;
}

export interface Figure {
  readonly title: string;
  readonly direction: "right" | "down";
  readonly boxes: readonly FigureBox[];
  readonly lines: readonly FigureLine[];
  readonly width: number;
  readonly height: number;
}

/** Colours of an SVG file by the kind of the box; those of `kando trace --format svg`. */
const COLOURS: Readonly<Record<string, string>> = {
  root: "#fdebc8",
  object: "#e3effb",
  relation: "#e6f5e6",
  llm: "#f3e6fa",
  tool: "#fbe6e6",
};

const MARGIN = 24;

/** Returns a figure as an SVG file without scripts and external resources; no text acts as markup. */
export function svgFile(figure: Figure): string {
  const width = Math.ceil(figure.width + 2 * MARGIN);
  const height = Math.ceil(figure.height + 2 * MARGIN);
  const style =
    "rect{fill:#fff;stroke:#667}text{font:12px sans-serif;fill:#223}.line{fill:none;stroke:#889}.on{font-size:10px;fill:#556}" +
    Object.entries(COLOURS)
      .map(([kind, colour]) => `.${kind} rect{fill:${colour}}`)
      .join("") +
    ".marked rect{stroke-width:3;stroke:#b25000}";
  const lines = figure.lines.flatMap((each) => [
    `<path class="line" marker-end="url(#arrow)" d="${curved(each.points, figure.direction)}"/>`,
    ...labelled(each),
  ]);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${-MARGIN} ${-MARGIN} ${width} ${height}" role="img">`,
    `<title>${escaped(figure.title)}</title>`,
    `<style>${style}</style>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#889"/></marker></defs>',
    ...lines,
    ...figure.boxes.map(boxed),
    "</svg>",
    "",
  ].join("\n");
}

/** Returns the place of the label of a line: its middle. */
export function middleOf(points: readonly Point[]): Point | null {
  const [a, b] = [points[Math.floor((points.length - 1) / 2)], points[Math.ceil((points.length - 1) / 2)]];
  return a && b ? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] : null;
}

function labelled(line: FigureLine): string[] {
  const at = middleOf(line.points);
  if (!at || !line.label) return [];
  return [
    `<text class="on" x="${at[0]}" y="${at[1] - 3}" text-anchor="middle">${escaped(line.label)}</text>`,
  ];
}

function boxed(box: FigureBox): string {
  const kind = Object.hasOwn(COLOURS, box.kind) ? box.kind : "other";
  const texts = box.lines
    .slice(0, 3)
    .map((line, at) => `<text x="${box.x + 8}" y="${box.y + 17 * (at + 1)}">${escaped(line)}</text>`);
  return (
    `<g class="${kind}${box.mark ? " marked" : ""}"><title>${escaped(box.title)}</title>` +
    `<rect x="${box.x}" y="${box.y}" width="${box.width}" height="${box.height}" rx="4"/>${texts.join("")}</g>`
  );
}

// XML 1.0 cannot represent some code points at all.
const NOT_XML = /[\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function escaped(text: string): string {
  return visible(text)
    .replace(NOT_XML, "\ufffd")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;");
}
