/** The fields of an object that differ between two runs, side by side. */

import { useMemo } from "preact/hooks";

import type { Fields, Json } from "../../data/shapes";
import { Isolated, LongText } from "../../ui/text";
import { lineHunks } from "../logic/line-diff";
import { oneLine } from "../logic/text";

export function FieldTable({ fields }: { fields: Fields }) {
  return (
    <div class="table-frame">
      <table class="table field-table">
        <tbody>
          {Object.entries(fields).map(([name, { before, after }]) => (
            <tr key={name}>
              <th scope="row">
                <Isolated text={oneLine(name, 80)} />
              </th>
              {isLong(before) && isLong(after) ? (
                <LineDiff before={before} after={after} />
              ) : (
                <>
                  <td class="only-a">
                    <Value value={before} />
                  </td>
                  <td class="only-b">
                    <Value value={after} />
                  </td>
                </>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function isLong(value: Json): value is string {
  return typeof value === "string" && value.length < MOST_COMPARED && value.includes("\n");
}

/** Longest text whose lines are compared, and how many differences of it are shown. */
const MOST_COMPARED = 1_000_000;
const MOST_HUNKS = 100;

/** The lines that differ between two long texts, in a cell for each. */
function LineDiff({ before, after }: { before: string; after: string }) {
  const hunks = useMemo(() => lineHunks(before, after), [before, after]);
  const shown = hunks.slice(0, MOST_HUNKS);
  const side = (own: "removed" | "added") =>
    shown.map((each, place) => (
      <div key={place} class="hunk">
        {place > 0 && <p class="dim hunk-gap">…</p>}
        <Lines lines={each.before} class="dim" />
        <Lines lines={each[own]} class="hunk-own" />
        <Lines lines={each.after} class="dim" />
      </div>
    ));
  return (
    <>
      <td class="only-a">{side("removed")}</td>
      <td class="only-b">{side("added")}</td>
    </>
  );
}

function Lines({ lines, class: name }: { lines: readonly string[]; class: string }) {
  const text = lines.join("\n");
  if (!text) return null;
  return <LongText text={text} class={name} />;
}

function Value({ value }: { value: Json }) {
  if (value === null || value === undefined) return <span class="dim">missing</span>;
  const text = typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
  return text.length > 120 || text.includes("\n") ? <LongText text={text} /> : <Isolated text={text} />;
}
