/** The events of two runs side by side, with equal ones folded. */

import { useMemo, useState } from "preact/hooks";

import type { LedgerEvent } from "../../data/shapes";
import { number, plural } from "../../ui/format";
import { Isolated } from "../../ui/text";
import { type AlignedRow, folded } from "../logic/align";
import { oneLine, valueLine } from "../logic/text";
import { aboutOf, kindOf } from "../logic/trace-figure";
import type { ViewProps } from "../registry";

/** The addresses of two runs: RUN or RUN@N. */
export interface Sides {
  a: string;
  b: string;
}

/** Return the run of an address. */
export function runId(address: string): string {
  return address.replace(/@\d+$/, "");
}

/** How many rows are shown at first. */
const FIRST = 300;

export function Panes({ rows, sides, view }: { rows: readonly AlignedRow[]; sides: Sides; view: ViewProps }) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const [most, setMost] = useState(FIRST);
  const shown = useMemo(() => folded(rows), [rows]);
  return (
    <>
      {shown.slice(0, most).map((each, place) => {
        if ("row" in each) return <PaneRow key={place} row={each.row} sides={sides} view={view} />;
        if (open.has(place))
          return each.skipped.map((row, number) => (
            <PaneRow key={`${place} ${number}`} row={row} sides={sides} view={view} />
          ));
        return (
          <div key={place} class="pane-row pane-fold" role="row">
            <span role="cell">
              <button type="button" class="link" onClick={() => setOpen(new Set(open).add(place))}>
                Show {plural(each.skipped.length, "equal event")}
              </button>
            </span>
          </div>
        );
      })}
      {shown.length > most && (
        <button type="button" class="button" onClick={() => setMost(most + 1000)}>
          Show more
        </button>
      )}
    </>
  );
}

const WORDS = {
  same: "",
  changed: "changed",
  only_a: "only in the first",
  only_b: "only in the second",
} as const;

function PaneRow({ row, sides, view }: { row: AlignedRow; sides: Sides; view: ViewProps }) {
  return (
    <div class={`pane-row row-${row.kind}`} role="row">
      <PaneCell event={row.a} side={sides.a} word={WORDS[row.kind]} view={view} />
      <PaneCell event={row.b} side={sides.b} word={WORDS[row.kind]} view={view} />
    </div>
  );
}

function PaneCell({
  event,
  side,
  word,
  view,
}: {
  event: LedgerEvent | null;
  side: string;
  word: string;
  view: ViewProps;
}) {
  if (!event) return <span class="pane-cell is-missing" role="cell" />;
  const open = () => view.navigate({ run: runId(side), at: null, view: "trace", event: event.id });
  return (
    <span class={`pane-cell ev-${kindOf(event)}`} role="cell">
      <button type="button" class="pane-event" title="Show why it exists" onClick={open}>
        <span class="dim mono">{number(event.position + 1)}</span> <Isolated text={oneLine(event.type, 40)} />
        {word && <span class="visually-hidden"> ({word})</span>}
        <span class="pane-about">
          <Isolated text={valueLine(aboutOf(event), 160)} />
        </span>
      </button>
    </span>
  );
}
