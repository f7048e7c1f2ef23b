/** A table of figures: a name in the first column, then values, most of them numbers. */

import type { ComponentChildren } from "preact";

export interface Column<Row> {
  title: ComponentChildren;
  cell: (row: Row, place: number) => ComponentChildren;
  /** The name of the row, which a screen reader reads with each of its values. */
  isName?: boolean;
  isNumber?: boolean;
  /** Left out where there is little room. */
  isExtra?: boolean;
  /** What a value means: class names such as dim, is-bad and is-best. */
  tone?: (row: Row, place: number) => string;
}

interface TableProps<Row> {
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  keyOf: (row: Row) => string;
  isChosen?: (row: Row) => boolean;
}

export function FiguresTable<Row>({ rows, columns, keyOf, isChosen }: TableProps<Row>) {
  return (
    <div class="table-frame">
      <table class="table">
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={i} scope="col" class={classOf(column)}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <tr key={keyOf(row)} class={isChosen?.(row) ? "is-chosen" : ""}>
              {columns.map((column, i) =>
                column.isName ? (
                  <th key={i} scope="row">
                    {column.cell(row, place)}
                  </th>
                ) : (
                  <td key={i} class={classOf(column, column.tone?.(row, place))}>
                    {column.cell(row, place)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function classOf<Row>(column: Column<Row>, tone = ""): string {
  return [column.isNumber && "is-number", column.isExtra && "is-extra", tone].filter(Boolean).join(" ");
}
