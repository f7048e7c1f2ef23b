/** Several runs in a table: their states, worlds, costs and where they diverge from the first. */

import { useState } from "preact/hooks";

import type { Outcome } from "../data/shapes";
import { kando } from "../ui/commands";
import { duration, number, usd } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { CopyCommand, Empty, Problem, StateBadge } from "../ui/parts";
import { Isolated } from "../ui/text";
import { oneLine } from "./logic/text";
import { more, setMore } from "./parts/address-more";
import { type Column, FiguresTable } from "./parts/figures-table";
import { register, type ViewProps } from "./registry";

/** How many branches are compared unless a person chooses others. */
const FIRST = 20;

/** How many types of objects have a column. */
const MOST_TYPES = 12;

function CompareView(props: ViewProps) {
  const { source, run } = props;
  const chosen = more("runs");
  const branches = useLoaded(() => source.branches(run), [source, run]);
  const ids =
    chosen?.split(",").filter(Boolean) ?? (branches.value ?? []).slice(0, FIRST).map((each) => each.id);
  const key = ids.join(",");
  const { value, error, reload } = useLoaded(
    async () => (ids.length ? source.compare(ids) : []),
    [source, key],
  );
  return (
    <div class="compare">
      <Choice key={key} view={props} runs={ids} />
      {branches.error && !chosen && <Problem error={branches.error} retry={branches.reload} />}
      {error && <Problem error={error} retry={reload} />}
      {value && value.length > 0 && <Outcomes outcomes={value} view={props} />}
      {value?.length === 1 && (
        <Empty>
          The run has no branches to compare with. Fork it in the tab Branches, or enter the ids of other runs
          above.
        </Empty>
      )}
    </div>
  );
}

function Choice({ view, runs }: { view: ViewProps; runs: readonly string[] }) {
  const [text, setText] = useState(runs.join(" "));
  return (
    <form
      class="toolbar"
      onSubmit={(event) => {
        event.preventDefault();
        setMore(view, {
          runs:
            text
              .split(/[\s,]+/)
              .filter(Boolean)
              .join(",") || null,
        });
      }}
    >
      <label class="inline-label is-growing">
        <span>Runs</span>
        <input
          type="text"
          class="mono"
          value={text}
          placeholder="Ids of runs or branches"
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="button primary">
        Compare
      </button>
      {runs.length > 0 && <CopyCommand command={kando("compare", ...runs)} />}
    </form>
  );
}

function Outcomes({ outcomes, view }: { outcomes: readonly Outcome[]; view: ViewProps }) {
  const [first] = outcomes;
  const types = [...new Set(outcomes.flatMap((each) => Object.keys(each.objects)))].sort();
  const least = Math.min(...outcomes.map((each) => each.llm.cost_usd));
  const figure = (title: string, cell: (each: Outcome) => string): Column<Outcome> => ({
    title,
    isNumber: true,
    cell,
  });
  const columns: Column<Outcome>[] = [
    {
      title: "Run",
      isName: true,
      cell: (each) => (
        <button
          type="button"
          class="link mono"
          onClick={() => view.navigate({ run: each.run_id, view: "world" })}
        >
          {each.run_id}
        </button>
      ),
    },
    { title: "State", cell: (each) => <StateBadge state={each.state} /> },
    {
      title: "Diverges at",
      isNumber: true,
      cell: (each, place) => (place === 0 ? "" : number(each.parts_at)),
      tone: () => "dim",
    },
    figure("Events", (each) => number(each.events)),
    {
      ...figure("Cost", (each) => usd(each.llm.cost_usd)),
      tone: (each) => (each.llm.cost_usd === least && least > 0 ? "is-best" : ""),
    },
    figure("LLM calls", (each) => number(each.llm.requests)),
    figure("Tokens", (each) => number(each.llm.input_tokens + each.llm.output_tokens)),
    figure("Time", (each) => duration(each.elapsed_seconds * 1000)),
    ...types.slice(0, MOST_TYPES).map((type): Column<Outcome> => ({
      title: <Isolated text={oneLine(type, 24)} />,
      isNumber: true,
      cell: (each) => number(each.objects[type] ?? 0),
      tone: (each) =>
        first !== undefined && (each.objects[type] ?? 0) !== (first.objects[type] ?? 0) ? "is-changed" : "",
    })),
    {
      title: <span class="visually-hidden">Actions</span>,
      cell: (each, place) =>
        place > 0 &&
        first && (
          <button
            type="button"
            class="link"
            aria-label={`Diff ${first.run_id} with ${each.run_id}`}
            onClick={() => setMore(view, { a: first.run_id, b: each.run_id }, "diff")}
          >
            Diff
          </button>
        ),
    },
  ];
  return (
    <FiguresTable
      rows={outcomes}
      columns={columns}
      keyOf={(each) => each.run_id}
      isChosen={(each) => each.run_id === view.run}
    />
  );
}

register({
  id: "compare",
  title: "Compare",
  order: 55,
  isShown: (_, source) => source.isLive,
  Component: CompareView,
});
