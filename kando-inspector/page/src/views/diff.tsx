/** Two runs side by side, from the event where they diverge: events, objects by field, cost. */

import { useMemo, useState } from "preact/hooks";

import type { Branch, Diff, LedgerEvent, Relation, Side, WorldObject } from "../data/shapes";
import type { Source } from "../data/source";
import { kando } from "../ui/commands";
import { duration, number, plural, usd } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { CopyCommand, Empty, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import { align, type AlignedRow } from "./logic/align";
import { labelOf } from "./logic/changes";
import { oneLine } from "./logic/text";
import { more, setMore } from "./parts/address-more";
import { Section } from "./parts/controls";
import { Panes, runId, type Sides } from "./parts/event-panes";
import { FieldTable } from "./parts/field-table";
import { register, type ViewProps } from "./registry";

function DiffView(props: ViewProps) {
  const { source, run, status } = props;
  const branches = useLoaded(() => source.branches(run), [source, run]);
  const a = more("a") ?? (more("b") ? run : status.parent_id);
  const b = more("b") ?? (a === null ? null : run);
  return (
    <div class="diff">
      <Choice view={props} branches={branches.value ?? []} a={a ?? run} b={b ?? ""} />
      {a !== null && b !== null && a !== b ? (
        <Compared key={`${a} ${b}`} view={props} a={a} b={b} />
      ) : (
        <Empty>
          Choose the two runs to compare.{" "}
          {(branches.value?.length ?? 0) < 2 &&
            "This run has no branches yet: fork it in the tab Branches, then compare the branch with it."}
        </Empty>
      )}
    </div>
  );
}

/** Two fields for the runs; the runs of the tree are suggested. */
function Choice({
  view,
  branches,
  a,
  b,
}: {
  view: ViewProps;
  branches: readonly Branch[];
  a: string;
  b: string;
}) {
  const [left, setLeft] = useState(a);
  const [right, setRight] = useState(b);
  const compare = () => setMore(view, { a: left.trim() || null, b: right.trim() || null });
  return (
    <form
      class="toolbar"
      onSubmit={(event) => {
        event.preventDefault();
        compare();
      }}
    >
      <label class="inline-label">
        <span>First</span>
        <input
          type="text"
          class="mono"
          list="diff-runs"
          value={left}
          onInput={(event) => setLeft(event.currentTarget.value)}
        />
      </label>
      <label class="inline-label">
        <span>Second</span>
        <input
          type="text"
          class="mono"
          list="diff-runs"
          value={right}
          placeholder="RUN or RUN@N"
          onInput={(event) => setRight(event.currentTarget.value)}
        />
      </label>
      <datalist id="diff-runs">
        {branches.map((each) => (
          <option key={each.id} value={each.id} />
        ))}
      </datalist>
      <button type="submit" class="button primary" disabled={!left.trim() || !right.trim()}>
        Compare
      </button>
      {a && b && <CopyCommand command={kando("diff", a, b)} />}
    </form>
  );
}

function Compared({ view, a, b }: { view: ViewProps; a: string; b: string }) {
  const { source } = view;
  const { value: diff, error, reload } = useLoaded(() => source.diff(a, b), [source, a, b]);
  const sides = { a, b };
  if (error) return <Problem error={error} retry={reload} />;
  if (!diff) return <Empty>Comparing the runs…</Empty>;
  return (
    <>
      <p class="diff-summary">
        <strong>
          <Isolated text={diff.summary || "The worlds are equal."} />
        </strong>{" "}
        <span class="dim">
          Both share {plural(diff.parts_at, "event")}.{" "}
          <button
            type="button"
            class="link"
            onClick={() => view.navigate({ run: runId(a), at: diff.parts_at, view: "world" })}
          >
            Show the world there
          </button>
        </span>
      </p>
      <Costs diff={diff} sides={sides} />
      <Objects diff={diff} sides={sides} view={view} />
      <Events diff={diff} sides={sides} view={view} />
    </>
  );
}

function Costs({ diff, sides }: { diff: Diff; sides: Sides }) {
  const rows: [string, (side: Side) => number, (value: number) => string][] = [
    ["Events", (side) => side.events_after, number],
    ["LLM calls", (side) => side.llm_after.requests, number],
    ["Answers from the cache", (side) => side.llm_after.cached, number],
    ["Tokens", (side) => side.llm_after.input_tokens + side.llm_after.output_tokens, number],
    ["Cost", (side) => side.llm_after.cost_usd, usd],
    ["Time", (side) => side.seconds_after * 1000, duration],
  ];
  return (
    <Section title="After they diverge">
      <div class="table-frame">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">
                <span class="visually-hidden">Quantity</span>
              </th>
              <th scope="col" class="is-number mono">
                {sides.a}
              </th>
              <th scope="col" class="is-number mono">
                {sides.b}
              </th>
              <th scope="col" class="is-number">
                Difference
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([title, of, shown]) => {
              const [left, right] = [of(diff.a), of(diff.b)];
              const by = right - left;
              return (
                <tr key={title}>
                  <th scope="row">{title}</th>
                  <td class="is-number">{shown(left)}</td>
                  <td class="is-number">{shown(right)}</td>
                  <td class="is-number dim">
                    {by === 0 ? "" : `${by > 0 ? "+" : "−"}${shown(Math.abs(by))}`}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

interface PartProps {
  diff: Diff;
  sides: Sides;
  view: ViewProps;
}

/** How many objects of each kind are listed. */
const MOST_OBJECTS = 200;

function Objects({ diff, sides, view }: PartProps) {
  const total = diff.patched_objects.length + diff.added_objects.length + diff.removed_objects.length;
  const relations = [
    ...diff.removed_relations.map((each) => ["only-a", each] as const),
    ...diff.added_relations.map((each) => ["only-b", each] as const),
  ];
  const open = (side: string, object: string) => setMoreIn(view, side, object);
  return (
    <Section
      title="Objects"
      aside={<span class="dim">{total ? plural(total, "difference") : "no difference"}</span>}
    >
      {diff.patched_objects.slice(0, MOST_OBJECTS).map((each) => (
        <article key={each.id} class="diff-object">
          <h3>
            <span class="mark-word mark-patched">changed</span> <Isolated text={oneLine(each.type, 60)} />{" "}
            <button type="button" class="link mono" onClick={() => open(sides.b, each.id)}>
              <Isolated text={oneLine(each.id, 80)} />
            </button>
          </h3>
          <FieldTable fields={each.fields} />
        </article>
      ))}
      <Lone
        objects={diff.removed_objects}
        mark="only-a"
        word={`only in ${sides.a}`}
        open={(id) => open(sides.a, id)}
      />
      <Lone
        objects={diff.added_objects}
        mark="only-b"
        word={`only in ${sides.b}`}
        open={(id) => open(sides.b, id)}
      />
      {relations.length > 0 && (
        <details class="details">
          <summary>{plural(relations.length, "relation")} only in one of them</summary>
          <ul class="plain-list">
            {relations.slice(0, MOST_OBJECTS).map(([mark, each]) => (
              <li key={`${mark} ${each.id}`} class={mark}>
                <span class="mark-word">{mark === "only-a" ? "−" : "+"}</span>{" "}
                <RelationLine relation={each} />
              </li>
            ))}
          </ul>
        </details>
      )}
      {diff.moved_objects.length > 0 && (
        <p class="dim">
          {plural(diff.moved_objects.length, "object")} have the same content under another id.
        </p>
      )}
    </Section>
  );
}

function setMoreIn(view: ViewProps, side: string, object: string): void {
  const at = /@(\d+)$/.exec(side);
  view.navigate({
    run: runId(side),
    at: at ? Number(at[1]) : null,
    view: "world",
    event: null,
    more: { object },
  });
}

function RelationLine({ relation }: { relation: Relation }) {
  return <Isolated text={oneLine(`${relation.source_id} ${relation.type} ${relation.target_id}`, 200)} />;
}

function Lone(props: {
  objects: readonly WorldObject[];
  mark: string;
  word: string;
  open(id: string): void;
}) {
  if (props.objects.length === 0) return null;
  return (
    <ul class="plain-list">
      {props.objects.slice(0, MOST_OBJECTS).map((each) => (
        <li key={each.id} class={props.mark}>
          <span class="mark-word">{props.word}</span> <Isolated text={oneLine(each.type, 60)} />{" "}
          <button type="button" class="link" onClick={() => props.open(each.id)}>
            <Isolated text={oneLine(labelOf(each), 120)} />
          </button>
        </li>
      ))}
      {props.objects.length > MOST_OBJECTS && (
        <li class="dim">and {number(props.objects.length - MOST_OBJECTS)} more</li>
      )}
    </ul>
  );
}

/** How many events of each run are aligned; a diff of longer runs lists only the steps that differ. */
const MOST_EVENTS = 2000;

function Events({ diff, sides, view }: PartProps) {
  const { source } = view;
  const isLong = diff.a.events_after > MOST_EVENTS || diff.b.events_after > MOST_EVENTS;
  const loaded = useLoaded(async () => {
    if (isLong) return null;
    return Promise.all([
      eventsAfter(source, sides.a, diff.parts_at),
      eventsAfter(source, sides.b, diff.parts_at),
    ]);
  }, [source, diff]);
  const rows = useMemo(
    () =>
      loaded.value
        ? align(loaded.value[0], loaded.value[1], diff.steps)
        : loaded.isLoading
          ? []
          : differing(diff),
    [loaded.value, loaded.isLoading, diff],
  );
  return (
    <Section title="Events" aside={<span class="dim">{diff.steps.summary}</span>}>
      {loaded.error && <Problem error={loaded.error} retry={loaded.reload} />}
      {isLong && <p class="hint">The runs are long: only events that differ are listed.</p>}
      <div class="panes" role="table" aria-label="Events side by side">
        <div class="pane-row pane-head" role="row">
          <span role="columnheader" class="mono">
            {sides.a}
          </span>
          <span role="columnheader" class="mono">
            {sides.b}
          </span>
        </div>
        <Panes rows={rows} sides={sides} view={view} />
      </div>
      {rows.length === 0 && !loaded.isLoading && <p class="dim">No events follow in either run.</p>}
    </Section>
  );
}

function differing(diff: Diff): AlignedRow[] {
  const rows: AlignedRow[] = [
    ...diff.steps.changed.map(({ before, after }) => ({ kind: "changed" as const, a: before, b: after })),
    ...diff.steps.only_a.map((a) => ({ kind: "only_a" as const, a, b: null })),
    ...diff.steps.only_b.map((b) => ({ kind: "only_b" as const, a: null, b })),
  ];
  const place = (row: AlignedRow) => (row.a ?? row.b)?.position ?? 0;
  return rows.sort((x, y) => place(x) - place(y));
}

async function eventsAfter(source: Source, address: string, from: number): Promise<LedgerEvent[]> {
  const at = /@(\d+)$/.exec(address);
  const range = { limit: 1000, ...(at ? { at: Number(at[1]) } : {}) };
  const found: LedgerEvent[] = [];
  let after = from - 1;
  for (;;) {
    const page = await source.events(runId(address), after < 0 ? range : { ...range, after });
    found.push(...page.items);
    after = page.items.at(-1)?.position ?? after;
    if (page.next === null || page.items.length === 0 || found.length > 2 * MOST_EVENTS) return found;
  }
}

register({
  id: "diff",
  title: "Diff",
  order: 50,
  isShown: (_, source) => source.isLive,
  Component: DiffView,
});
