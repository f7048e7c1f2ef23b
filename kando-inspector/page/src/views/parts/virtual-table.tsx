/** A table of any length, of which only the rows in view are in the page. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useSize } from "../../ui/hooks";
import { windowOf } from "../logic/windowed";

const ROW = 34;

export interface Column<Row> {
  id: string;
  title: string;
  /** Whether the column stays in a narrow page. */
  isMain?: boolean;
  /** Class of a fixed width; the other columns share the rest. */
  width?: "type" | "mark" | "label";
  /** Whether it holds numbers. */
  isNumber?: boolean;
  cell(row: Row): ComponentChildren;
}

export interface VirtualTableProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  idOf(row: Row): string;
  classOf?(row: Row): string;
  /** Id of the row that is chosen. */
  chosen: string | null;
  choose(row: Row): void;
}

export function VirtualTable<Row>(props: VirtualTableProps<Row>) {
  const { label, columns, rows, idOf, classOf, chosen, choose } = props;
  const frame = useRef<HTMLDivElement>(null);
  const size = useSize(frame);
  const [top, setTop] = useState(0);
  const shown = windowOf(rows.length, ROW, top, size.height || 600);
  const at = chosen === null ? -1 : rows.findIndex((each) => idOf(each) === chosen);

  useEffect(() => {
    const element = frame.current;
    if (!element || at < 0) return;
    // The head of the table covers the first row of the frame.
    const [from, to] = [element.scrollTop, element.scrollTop + element.clientHeight - 2 * ROW];
    if (at * ROW < from || at * ROW > to) element.scrollTo({ top: at * ROW - element.clientHeight / 3 });
  }, [chosen, rows]);

  const press = (event: KeyboardEvent) => {
    const last = rows.length - 1;
    const page = Math.max(1, Math.floor(size.height / ROW) - 1);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
    }[event.key];
    const row = to === undefined ? undefined : rows[Math.max(0, Math.min(to, last))];
    if (!row) return;
    event.preventDefault();
    choose(row);
  };
  return (
    <div
      class="virtual-table"
      ref={frame}
      tabIndex={0}
      role="group"
      aria-label={`${label}. The arrow keys choose a row.`}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={press}
    >
      <table aria-label={label} aria-rowcount={rows.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((each) => (
              <th key={each.id} scope="col" class={classesOf(each)}>
                {each.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.above > 0 && <Spacer height={shown.above} />}
          {rows.slice(shown.from, shown.to).map((row, number) => {
            const id = idOf(row);
            return (
              <tr
                key={id}
                aria-rowindex={shown.from + number + 2}
                aria-current={id === chosen ? "true" : undefined}
                class={`${id === chosen ? "is-chosen " : ""}${classOf?.(row) ?? ""}`}
                onClick={() => choose(row)}
              >
                {columns.map((each) => (
                  <td key={each.id} class={classesOf(each)}>
                    <div class="one-line">{each.cell(row)}</div>
                  </td>
                ))}
              </tr>
            );
          })}
          {shown.below > 0 && <Spacer height={shown.below} />}
        </tbody>
      </table>
    </div>
  );
}

function Spacer({ height }: { height: number }) {
  const ref = useRef<HTMLTableCellElement>(null);
  useEffect(() => {
    if (ref.current) ref.current.style.height = `${height}px`;
  }, [height]);
  return (
    <tr class="spacer" aria-hidden="true">
      <td ref={ref} />
    </tr>
  );
}

function classesOf<Row>(column: Column<Row>): string {
  return [
    column.width ? `col-${column.width}` : "",
    column.isMain ? "" : "is-extra",
    column.isNumber ? "is-number" : "",
  ]
    .join(" ")
    .trim();
}
