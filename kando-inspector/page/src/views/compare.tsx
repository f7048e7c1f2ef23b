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
import { register, type ViewProps } from "./registry";

/** How many branches are compared unless a person chooses others. */
const FIRST = 20;

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
  return (
    <div class="table-frame">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">State</th>
            <th scope="col" class="is-number">
              Diverges at
            </th>
            <th scope="col" class="is-number">
              Events
            </th>
            <th scope="col" class="is-number">
              Cost
            </th>
            <th scope="col" class="is-number">
              LLM calls
            </th>
            <th scope="col" class="is-number">
              Tokens
            </th>
            <th scope="col" class="is-number">
              Time
            </th>
            {types.slice(0, 12).map((type) => (
              <th key={type} scope="col" class="is-number">
                <Isolated text={oneLine(type, 24)} />
              </th>
            ))}
            <th scope="col">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {outcomes.map((each, place) => (
            <tr key={each.run_id} class={each.run_id === view.run ? "is-chosen" : ""}>
              <th scope="row">
                <button
                  type="button"
                  class="link mono"
                  onClick={() => view.navigate({ run: each.run_id, view: "world" })}
                >
                  {each.run_id}
                </button>
              </th>
              <td>
                <StateBadge state={each.state} />
              </td>
              <td class="is-number dim">{place === 0 ? "" : number(each.parts_at)}</td>
              <td class="is-number">{number(each.events)}</td>
              <td class={each.llm.cost_usd === least && least > 0 ? "is-number is-best" : "is-number"}>
                {usd(each.llm.cost_usd)}
              </td>
              <td class="is-number">{number(each.llm.requests)}</td>
              <td class="is-number">{number(each.llm.input_tokens + each.llm.output_tokens)}</td>
              <td class="is-number">{duration(each.elapsed_seconds * 1000)}</td>
              {types.slice(0, 12).map((type) => {
                const size = each.objects[type] ?? 0;
                const differs = first !== undefined && size !== (first.objects[type] ?? 0);
                return (
                  <td key={type} class={differs ? "is-number is-changed" : "is-number"}>
                    {number(size)}
                  </td>
                );
              })}
              <td>
                {place > 0 && first && (
                  <button
                    type="button"
                    class="link"
                    aria-label={`Diff ${first.run_id} with ${each.run_id}`}
                    onClick={() => setMore(view, { a: first.run_id, b: each.run_id }, "diff")}
                  >
                    Diff
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

register({
  id: "compare",
  title: "Compare",
  order: 55,
  isShown: (_, source) => source.isLive,
  Component: CompareView,
});
