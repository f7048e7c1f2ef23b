/** The cost of a run over time, and its limits. */

import { isData } from "./changes";
import type { LedgerEvent } from "../../data/shapes";

export interface CostPoint {
  readonly position: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** Cost up to and including this event, in US dollars. */
  readonly total: number;
}

/** Returns the points at which the cost of a run grew, and its first and last event. */
export function costOverTime(events: readonly LedgerEvent[]): CostPoint[] {
  const points: CostPoint[] = [];
  let total = 0;
  events.forEach((event, at) => {
    const cost = costOf(event);
    total += cost;
    if (cost > 0 || at === 0 || at === events.length - 1) {
      points.push({ position: event.position, time: Date.parse(event.timestamp), total });
    }
  });
  return points;
}

function costOf(event: LedgerEvent): number {
  const cost =
    event.type === "llm.response" || event.type === "responder.failed" ? event.data["cost_usd"] : 0;
  const isCached = event.data["cached"] === true;
  return typeof cost === "number" && cost > 0 && Number.isFinite(cost) && !isCached ? cost : 0;
}

export interface ToolUse {
  readonly tool: string;
  readonly calls: number;
  readonly errors: number;
  readonly seconds: number;
}

/** Returns how often each tool was called, most often first, with the time until its answers. */
export function toolUse(events: readonly LedgerEvent[]): ToolUse[] {
  const calls = new Map<string, LedgerEvent>();
  const found = new Map<string, { tool: string; calls: number; errors: number; seconds: number }>();
  for (const event of events) {
    if (event.type === "tool.called") {
      const tool = String(event.data["tool"] ?? "unknown");
      calls.set(event.id, event);
      const use = found.get(tool) ?? { tool, calls: 0, errors: 0, seconds: 0 };
      found.set(tool, { ...use, calls: use.calls + 1 });
    } else if (event.type === "tool.returned") {
      const call = event.cause.map((id) => calls.get(id)).find((each) => each !== undefined);
      const use = call && found.get(String(call.data["tool"] ?? "unknown"));
      if (!call || !use) continue;
      calls.delete(call.id);
      use.errors += "error" in event.data ? 1 : 0;
      use.seconds += Math.max(0, Date.parse(event.timestamp) - Date.parse(call.timestamp)) / 1000;
    }
  }
  return [...found.values()].sort((a, b) => b.calls - a.calls);
}

export interface LimitUse {
  readonly name: string;
  readonly label: string;
  readonly limit: number;
  readonly used: number | null;
}

const LABELS: Readonly<Record<string, string>> = {
  max_events: "Events",
  max_llm_cost_usd: "Cost of LLM calls (USD)",
  max_wall_seconds: "Seconds of work",
  max_recursion_depth: "Depth of causes",
  max_llm_calls: "LLM calls",
  max_llm_tokens: "Tokens of LLM calls",
  max_tool_calls: "Tool calls",
};

/** Returns the limits of a run, each with its use where the status has it. */
export function limitsOf(status: {
  readonly limits: unknown;
  readonly events: number;
  readonly llm_cost_usd: number;
  readonly llm_requests: number;
  readonly llm_cached: number;
  readonly llm_tokens?: number;
  readonly tool_calls?: number;
}): LimitUse[] {
  const used: Readonly<Record<string, number | undefined>> = {
    max_events: status.events,
    max_llm_cost_usd: status.llm_cost_usd,
    max_llm_calls: status.llm_requests - status.llm_cached,
    max_llm_tokens: status.llm_tokens,
    max_tool_calls: status.tool_calls,
  };
  if (!isData(status.limits)) return [];
  return Object.entries(status.limits).flatMap(([name, limit]) =>
    typeof limit === "number" && Object.hasOwn(LABELS, name)
      ? [{ name, label: LABELS[name] ?? name, limit, used: used[name] ?? null }]
      : [],
  );
}
