/** A JSON value as a tree that is drawn only as far as it is open. */

import { useState } from "preact/hooks";

import type { Json } from "../data/shapes";
import { number } from "./format";
import { Isolated, LongText } from "./text";

/** How many entries of an object or a list are shown first, and how many more with each press. */
const FIRST = 50;
const MORE = 500;
const LONG = 120;

export function JsonTree({ value, open = 2 }: { value: Json; open?: number }) {
  return (
    <div class="json">
      <Value value={value} open={open} />
    </div>
  );
}

function Value({ value, open }: { value: Json; open: number }) {
  if (typeof value === "string") {
    const isLong = value.length > LONG || value.includes("\n");
    return isLong ? <LongText text={value} /> : <Isolated class="json-string" text={value} />;
  }
  if (typeof value !== "object" || value === null) {
    return <span class="json-atom">{String(value)}</span>;
  }
  return <Entries value={value} open={open} />;
}

function Entries({ value, open }: { value: Json[] | { [name: string]: Json }; open: number }) {
  const [shown, setShown] = useState(FIRST);
  const isList = Array.isArray(value);
  const names = isList ? null : Object.keys(value);
  const length = names ? names.length : (value as Json[]).length;
  if (length === 0) return <span class="json-atom">{isList ? "[]" : "{}"}</span>;
  const rows = [];
  for (let i = 0; i < Math.min(shown, length); i++) {
    const name = names?.[i] ?? String(i);
    const each = names ? (value as { [name: string]: Json })[name] : (value as Json[])[i];
    rows.push(<Entry key={name} name={name} value={each ?? null} open={open - 1} />);
  }
  return (
    <ul class="json-entries">
      {rows}
      {length > shown && (
        <li>
          <button type="button" class="more" onClick={() => setShown(shown + MORE)}>
            Show more ({number(length - shown)} left)
          </button>
        </li>
      )}
    </ul>
  );
}

function Entry({ name, value, open }: { name: string; value: Json; open: number }) {
  const [isOpen, setOpen] = useState(open > 0);
  const isNested = typeof value === "object" && value !== null && sizeOf(value) > 0;
  if (!isNested) {
    return (
      <li class="json-entry">
        <Isolated class="json-name" text={name} /> <Value value={value} open={0} />
      </li>
    );
  }
  return (
    <li class="json-entry json-nested">
      <button type="button" class="json-toggle" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Isolated class="json-name" text={name} />{" "}
        <span class="dim">{Array.isArray(value) ? `[${value.length}]` : `{${sizeOf(value)}}`}</span>
      </button>
      {isOpen && <Value value={value} open={open} />}
    </li>
  );
}

function sizeOf(value: object): number {
  return Array.isArray(value) ? value.length : Object.keys(value).length;
}
