/** The rows of a long list that are in view. */

export interface Window {
  /** First row to render, and the row after the last. */
  readonly from: number;
  readonly to: number;
  /** Height of the rows before and after, in pixels. */
  readonly above: number;
  readonly below: number;
}

/** Tallest list that browsers lay out with exact positions, in pixels. */
const TALLEST = 15_000_000;

/** Returns the rows to render for a scroll position, with some to spare in both directions. */
export function windowOf(total: number, rowHeight: number, top: number, height: number, spare = 8): Window {
  const visible = Math.ceil(height / rowHeight) + 2 * spare;
  const from = Math.max(0, Math.min(Math.floor(top / rowHeight) - spare, total - visible));
  const to = Math.min(total, from + visible);
  return {
    from,
    to,
    above: Math.min(from * rowHeight, TALLEST),
    below: Math.min((total - to) * rowHeight, TALLEST),
  };
}
