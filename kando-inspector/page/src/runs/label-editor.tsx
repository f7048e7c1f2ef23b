/** Edit labels: a row for each, in a dialog of a run and in the form that starts one. */

import { useContext, useLayoutEffect, useRef, useState } from "preact/hooks";

import { type LabelRow, changesOf, labelsOf, repeatedName, rowsOf } from "../data/labels";
import type { RunStatus } from "../data/shapes";
import type { Source } from "../data/source";
import { kando } from "../ui/commands";
import { Announce, CopyCommand, Dialog, Problem } from "../ui/parts";
import { useActing } from "../views/parts/controls";

const EMPTY: LabelRow = { name: "", value: "" };

interface RowsProps {
  rows: LabelRow[];
  change(rows: LabelRow[]): void;
}

/** A row of fields for each label, and a button that adds one. */
export function LabelRows({ rows, change }: RowsProps) {
  const list = useRef<HTMLDivElement>(null);
  const [isAdded, setAdded] = useState(false);
  useLayoutEffect(() => {
    if (!isAdded) return;
    setAdded(false);
    const names = list.current?.querySelectorAll<HTMLInputElement>(".label-row input:first-child");
    names?.[names.length - 1]?.focus();
  }, [isAdded]);
  const set = (at: number, to: Partial<LabelRow>) =>
    change(rows.map((each, i) => (i === at ? { ...each, ...to } : each)));
  const repeated = repeatedName(rows);
  return (
    <div class="label-rows" ref={list}>
      {rows.map((row, i) => (
        <div class="label-row" key={i}>
          <input
            type="text"
            aria-label={`Name of label ${i + 1}`}
            placeholder="name"
            pattern="[a-z][a-z0-9._\/\-]{0,62}"
            title="1 to 63 of a-z, 0-9, '.', '_', '-' and '/', starting with a letter"
            required={row.value !== ""}
            aria-invalid={repeated !== null && row.name === repeated}
            value={row.name}
            onInput={(event) => set(i, { name: event.currentTarget.value })}
          />
          <input
            type="text"
            aria-label={`Value of label ${row.name || i + 1}`}
            placeholder="value"
            maxLength={200}
            value={row.value}
            onInput={(event) => set(i, { value: event.currentTarget.value })}
          />
          <button
            type="button"
            class="icon-button"
            aria-label={`Remove label ${row.name || i + 1}`}
            onClick={() => {
              change(rows.filter((_, other) => other !== i));
              list.current?.querySelector<HTMLButtonElement>(".label-add")?.focus();
            }}
          >
            <span aria-hidden="true">×</span>
          </button>
        </div>
      ))}
      {repeated !== null && <p role="alert">Label {repeated} is given twice.</p>}
      <button
        type="button"
        class="button label-add"
        onClick={() => {
          change([...rows, EMPTY]);
          setAdded(true);
        }}
      >
        Add a label
      </button>
    </div>
  );
}

interface Props {
  source: Source;
  run: RunStatus;
  changed(): void;
}

/** A button that opens the labels of a run, to change them. */
export function EditLabels(props: Props) {
  const [isOpen, setOpen] = useState(false);
  const isLabelled = labelsOf(props.run).length > 0;
  return (
    <>
      <button type="button" class="link" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        {isLabelled ? "Edit labels" : "Add labels"}
      </button>
      {isOpen && <Editor {...props} close={() => setOpen(false)} />}
    </>
  );
}

function Editor({ source, run, changed, close }: Props & { close(): void }) {
  const announce = useContext(Announce);
  const acting = useActing();
  // The labels as they were when the dialog was opened: a change by others meanwhile stays.
  const [before] = useState(() => run.labels ?? {});
  const [rows, setRows] = useState(() => (rowsOf(before).length ? rowsOf(before) : [EMPTY]));
  const changes = changesOf(before, rows);
  const save = (event: Event) => {
    event.preventDefault();
    if (Object.keys(changes).length === 0) return close();
    void acting.act(async () => {
      const { labels } = await source.label(run.run_id, changes);
      const isDone = Object.entries(changes).every(([name, value]) => (labels[name] ?? null) === value);
      announce(isDone ? "The labels were changed." : "Not all labels have changed: the process that works on the run may not have recorded them yet.");
      close();
      changed();
    });
  };
  const words = Object.entries(changes).map(([name, value]) => (value === null ? `${name}-` : `${name}=${value}`));
  return (
    <Dialog title="Labels" close={close}>
      <form class="form" onSubmit={save}>
        <p class="dim">Names with values by which runs are found, such as tenant and acme.</p>
        <LabelRows rows={rows} change={setRows} />
        {acting.error && <Problem error={acting.error} />}
        <div class="dialog-foot">
          {words.length > 0 && <CopyCommand command={kando("label", run.run_id, ...words)} />}
          <button type="button" class="button" onClick={close}>
            Discard
          </button>
          <button type="submit" class="button primary" disabled={acting.isBusy || repeatedName(rows) !== null}>
            Save
          </button>
        </div>
      </form>
    </Dialog>
  );
}
