/** What a run used: by responder, model and tool, over time, and how much of its limits is left. */

import { useMemo } from "preact/hooks";

import type { Metrics, RunStatus, Usage } from "../data/shapes";
import { kando, runAt } from "../ui/commands";
import { duration, moment, number, plural, usd } from "../ui/format";
import { CopyCommand, Empty, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import {
  type CostPoint,
  costOverTime,
  type LimitUse,
  limitsOf,
  type ToolUse,
  toolUse,
} from "./logic/spending";
import { oneLine } from "./logic/text";
import { useCoalesced } from "./parts/coalesced";
import { Section } from "./parts/controls";
import { eventsOfTypes } from "./parts/events-of-types";
import { register, type ViewProps } from "./registry";

/** The types of events from which costs over time and the use of tools are read. */
const TYPES = ["llm.response", "tool.called", "tool.returned", "responder.failed"];

function CostView(props: ViewProps) {
  const { source, run, at, end } = props;
  const {
    value: metrics,
    error,
    reload,
  } = useCoalesced(() => source.metrics(run, at), [source, run, at, end]);
  if (error) return <Problem error={error} retry={reload} />;
  if (!metrics) return <Empty>Loading the costs…</Empty>;
  return (
    <div class="cost">
      <div class="toolbar">
        <CopyCommand command={kando("metrics", runAt(run, at))} label="Copy as command" />
      </div>
      <Totals metrics={metrics} status={props.status} isNow={at === null} />
      <Limits
        limits={limitsOf(at === null ? props.status : { ...props.status, ...usedAt(metrics) })}
        view={props}
      />
      <OverTime view={props} metrics={metrics} />
      <Responders metrics={metrics} />
      <Models metrics={metrics} />
    </div>
  );
}

function usedAt(metrics: Metrics) {
  const llm = metrics.llm;
  const tools = metrics.types["tool.called"] ?? 0;
  return {
    events: metrics.events,
    llm_cost_usd: llm.cost_usd,
    llm_requests: llm.requests,
    llm_cached: llm.cached,
    llm_tokens: llm.input_tokens + llm.output_tokens,
    tool_calls: tools,
  };
}

function Totals({ metrics, status, isNow }: { metrics: Metrics; status: RunStatus; isNow: boolean }) {
  const llm = metrics.llm;
  const own = isNow ? status.own?.["llm_cost_usd"] : undefined;
  const facts: [string, string, string][] = [
    ["Cost", usd(llm.cost_usd), typeof own === "number" ? `${usd(own)} by this branch itself` : ""],
    ["LLM calls", number(llm.requests), llm.cached ? `${number(llm.cached)} from the cache` : ""],
    [
      "Tokens",
      number(llm.input_tokens + llm.output_tokens),
      `${number(llm.input_tokens)} in, ${number(llm.output_tokens)} out`,
    ],
    ["Tool calls", number(metrics.types["tool.called"] ?? 0), ""],
    ["Events", number(metrics.events), ""],
    ["Time", duration(metrics.elapsed_seconds * 1000), "from the first event to the last"],
  ];
  return (
    <>
      <dl class="totals">
        {facts.map(([title, value, note]) => (
          <div key={title} class="total">
            <dt>{title}</dt>
            <dd>
              <span class="total-value">{value}</span>
              {note && <span class="dim"> {note}</span>}
            </dd>
          </div>
        ))}
      </dl>
      {status.llm_unpriced > 0 && (
        <p class="hint">
          {plural(status.llm_unpriced, "answer")} had no known price and are not part of the cost.
        </p>
      )}
    </>
  );
}

function Limits({ limits, view }: { limits: readonly LimitUse[]; view: ViewProps }) {
  if (limits.length === 0) {
    return (
      <p class="hint">
        The run has no limits.{" "}
        <CopyCommand
          command={kando("resume", view.run, "--budget-usd", 1)}
          label="Copy the command that resumes it with a limit"
        />
      </p>
    );
  }
  return (
    <Section title="Limits">
      <ul class="limits">
        {limits.map((each) => {
          const isMoney = each.name === "max_llm_cost_usd";
          const shown = (value: number) => (isMoney ? usd(value) : number(value));
          const share = each.used === null ? 0 : each.limit > 0 ? Math.min(1, each.used / each.limit) : 1;
          return (
            <li key={each.name}>
              <span class="limit-name">{each.label}</span>
              {each.used !== null && (
                <meter
                  class={share >= 0.9 ? "is-near" : ""}
                  min={0}
                  max={1}
                  high={0.9}
                  value={share}
                  aria-label={`${each.label}: ${Math.round(share * 100)}% used`}
                />
              )}
              <span class="limit-value">
                {each.used === null
                  ? `at most ${shown(each.limit)}`
                  : `${shown(each.used)} of ${shown(each.limit)}`}
              </span>
            </li>
          );
        })}
      </ul>
    </Section>
  );
}

function OverTime({ view, metrics }: { view: ViewProps; metrics: Metrics }) {
  const { source, run, end } = view;
  const { value, error } = useCoalesced(() => eventsOfTypes(source, run, TYPES, end), [source, run, end]);
  const points = useMemo(() => withEnds(costOverTime(value ?? []), metrics), [value, metrics]);
  const tools = useMemo(() => toolUse(value ?? []), [value]);
  const ceiling = view.status.limits["max_llm_cost_usd"] ?? null;
  if (error) return <Problem error={error} />;
  return (
    <>
      {metrics.llm.cost_usd > 0 && (
        <Section title="Cost over time">
          <Chart points={points} ceiling={ceiling} />
        </Section>
      )}
      <Tools tools={tools} />
    </>
  );
}

/** Adds the first and the last event of the run, which cost nothing. */
function withEnds(points: readonly CostPoint[], metrics: Metrics): CostPoint[] {
  const [start, end] = [metrics.started_at, metrics.ended_at].map((each) =>
    each ? Date.parse(each) : Number.NaN,
  );
  const found = [...points];
  if (start !== undefined && Number.isFinite(start)) found.unshift({ position: 0, time: start, total: 0 });
  if (end !== undefined && Number.isFinite(end))
    found.push({ position: metrics.events - 1, time: end, total: found.at(-1)?.total ?? 0 });
  return found;
}

const WIDTH = 640;
const HEIGHT = 160;

/** How many points of the cost are drawn. */
const MOST_POINTS = 1000;

function Chart({ points, ceiling }: { points: readonly CostPoint[]; ceiling: number | null }) {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return null;
  const span = Math.max(1, last.time - first.time);
  const isNear = ceiling !== null && ceiling <= last.total * 4;
  const top = Math.max(last.total, isNear ? ceiling : 0) * 1.08 || 1;
  const x = (point: CostPoint) => ((point.time - first.time) / span) * WIDTH;
  const y = (value: number) => HEIGHT - (value / top) * HEIGHT;
  const step = Math.ceil(points.length / MOST_POINTS);
  const drawn = points.filter((_, at) => at % step === 0 || at === points.length - 1);
  let path = `M0 ${HEIGHT}`;
  for (const each of drawn) path += `H${x(each).toFixed(1)}V${y(each.total).toFixed(1)}`;
  const label = `The cost grew to ${usd(last.total)} in ${duration(span)}${ceiling !== null ? `; the limit is ${usd(ceiling)}` : ""}.`;
  return (
    <figure class="chart">
      <svg
        viewBox={`-3 -4 ${WIDTH + 6} ${HEIGHT + 8}`}
        role="img"
        aria-label={label}
        preserveAspectRatio="none"
      >
        <path class="chart-area" d={`${path}V${HEIGHT}Z`} />
        <path class="chart-line" d={path} vector-effect="non-scaling-stroke" />
        {isNear && (
          <path
            class="chart-limit"
            d={`M0 ${y(ceiling).toFixed(1)}H${WIDTH}`}
            vector-effect="non-scaling-stroke"
          />
        )}
      </svg>
      <figcaption>
        <span>{moment(new Date(first.time).toISOString())}</span>
        <span>
          {usd(last.total)}
          {ceiling !== null && ` of ${usd(ceiling)}`}
        </span>
        <span>{moment(new Date(last.time).toISOString())}</span>
      </figcaption>
    </figure>
  );
}

function Responders({ metrics }: { metrics: Metrics }) {
  const rows = Object.entries(metrics.responders).sort(
    ([, a], [, b]) =>
      b.llm.cost_usd - a.llm.cost_usd || b.llm.requests - a.llm.requests || b.firings - a.firings,
  );
  if (rows.length === 0) return null;
  return (
    <Section title="By responder">
      <div class="table-frame">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Responder</th>
              <th scope="col" class="is-number">
                Firings
              </th>
              <th scope="col" class="is-number is-extra">
                Events
              </th>
              <th scope="col" class="is-number is-extra">
                Failures
              </th>
              <UsageHead />
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, each]) => (
              <tr key={name}>
                <th scope="row">
                  <Isolated text={oneLine(name, 80)} />
                </th>
                <td class="is-number">{number(each.firings)}</td>
                <td class="is-number is-extra">{number(each.events)}</td>
                <td class={each.failures ? "is-number is-extra is-bad" : "is-number is-extra dim"}>
                  {number(each.failures)}
                </td>
                <UsageCells usage={each.llm} />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function Models({ metrics }: { metrics: Metrics }) {
  const rows = Object.entries(metrics.models).sort(
    ([, a], [, b]) => b.cost_usd - a.cost_usd || b.requests - a.requests,
  );
  if (rows.length === 0) return null;
  return (
    <Section title="By model">
      <div class="table-frame">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Model</th>
              <th scope="col" class="is-number is-extra">
                From the cache
              </th>
              <th scope="col" class="is-number is-extra">
                Errors
              </th>
              <UsageHead />
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, each]) => (
              <tr key={name}>
                <th scope="row">
                  <Isolated text={oneLine(name, 80)} />
                </th>
                <td class="is-number is-extra">{number(each.cached)}</td>
                <td class={each.errors ? "is-number is-extra is-bad" : "is-number is-extra dim"}>
                  {number(each.errors)}
                </td>
                <UsageCells usage={each} />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function UsageHead() {
  return (
    <>
      <th scope="col" class="is-number">
        LLM calls
      </th>
      <th scope="col" class="is-number is-extra">
        Tokens in
      </th>
      <th scope="col" class="is-number is-extra">
        Tokens out
      </th>
      <th scope="col" class="is-number">
        Cost
      </th>
    </>
  );
}

function UsageCells({ usage }: { usage: Usage }) {
  const dim = usage.requests ? "" : " dim";
  return (
    <>
      <td class={`is-number${dim}`}>{number(usage.requests)}</td>
      <td class={`is-number is-extra${dim}`}>{number(usage.input_tokens)}</td>
      <td class={`is-number is-extra${dim}`}>{number(usage.output_tokens)}</td>
      <td class={`is-number${dim}`}>{usd(usage.cost_usd)}</td>
    </>
  );
}

function Tools({ tools }: { tools: readonly ToolUse[] }) {
  if (tools.length === 0) return null;
  return (
    <Section title="By tool">
      <div class="table-frame">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Tool</th>
              <th scope="col" class="is-number">
                Calls
              </th>
              <th scope="col" class="is-number">
                Errors
              </th>
              <th scope="col" class="is-number">
                Time until the answers
              </th>
            </tr>
          </thead>
          <tbody>
            {tools.map((each) => (
              <tr key={each.tool}>
                <th scope="row">
                  <Isolated text={oneLine(each.tool, 80)} />
                </th>
                <td class="is-number">{number(each.calls)}</td>
                <td class={each.errors ? "is-number is-bad" : "is-number dim"}>{number(each.errors)}</td>
                <td class="is-number">{duration(each.seconds * 1000)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

register({ id: "cost", title: "Cost", order: 60, Component: CostView });
