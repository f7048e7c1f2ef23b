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
import { type Column, FiguresTable } from "./parts/figures-table";
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
  const columns: Column<(typeof rows)[number]>[] = [
    { title: "Responder", isName: true, cell: ([name]) => <Isolated text={oneLine(name, 80)} /> },
    { title: "Firings", isNumber: true, cell: ([, each]) => number(each.firings) },
    { title: "Events", isNumber: true, isExtra: true, cell: ([, each]) => number(each.events) },
    counted("Failures", ([, each]) => each.failures),
    ...usageColumns<(typeof rows)[number]>(([, each]) => each.llm),
  ];
  return (
    <Section title="By responder">
      <FiguresTable rows={rows} columns={columns} keyOf={([name]) => name} />
    </Section>
  );
}

function Models({ metrics }: { metrics: Metrics }) {
  const rows = Object.entries(metrics.models).sort(
    ([, a], [, b]) => b.cost_usd - a.cost_usd || b.requests - a.requests,
  );
  if (rows.length === 0) return null;
  const columns: Column<(typeof rows)[number]>[] = [
    { title: "Model", isName: true, cell: ([name]) => <Isolated text={oneLine(name, 80)} /> },
    { title: "From the cache", isNumber: true, isExtra: true, cell: ([, each]) => number(each.cached) },
    counted("Errors", ([, each]) => each.errors),
    ...usageColumns<(typeof rows)[number]>(([, each]) => each),
  ];
  return (
    <Section title="By model">
      <FiguresTable rows={rows} columns={columns} keyOf={([name]) => name} />
    </Section>
  );
}

/** A column of what went wrong. */
function counted<Row>(title: string, count: (row: Row) => number): Column<Row> {
  const tone = (row: Row) => (count(row) ? "is-bad" : "dim");
  return { title, isNumber: true, isExtra: true, cell: (row) => number(count(row)), tone };
}

function usageColumns<Row>(usage: (row: Row) => Usage): Column<Row>[] {
  const tone = (row: Row) => (usage(row).requests ? "" : "dim");
  const column = (title: string, cell: (of: Usage) => string, isExtra = false): Column<Row> => ({
    title,
    isNumber: true,
    isExtra,
    cell: (row) => cell(usage(row)),
    tone,
  });
  return [
    column("LLM calls", (of) => number(of.requests)),
    column("Tokens in", (of) => number(of.input_tokens), true),
    column("Tokens out", (of) => number(of.output_tokens), true),
    column("Cost", (of) => usd(of.cost_usd)),
  ];
}

function Tools({ tools }: { tools: readonly ToolUse[] }) {
  if (tools.length === 0) return null;
  const columns: Column<ToolUse>[] = [
    { title: "Tool", isName: true, cell: (each) => <Isolated text={oneLine(each.tool, 80)} /> },
    { title: "Calls", isNumber: true, cell: (each) => number(each.calls) },
    { ...counted<ToolUse>("Errors", (each) => each.errors), isExtra: false },
    { title: "Time until the answers", isNumber: true, cell: (each) => duration(each.seconds * 1000) },
  ];
  return (
    <Section title="By tool">
      <FiguresTable rows={tools} columns={columns} keyOf={(each) => each.tool} />
    </Section>
  );
}

register({ id: "cost", title: "Cost", order: 60, Component: CostView });
