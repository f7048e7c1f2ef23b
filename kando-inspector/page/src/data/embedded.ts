/** Runs in the page itself: an exported file, which only reads. */

import { labelsOf } from "./labels";
import type {
  Approval,
  Artifact,
  Branch,
  Conversation,
  Diff,
  JsonObject,
  Kit,
  LedgerEvent,
  Metrics,
  Outcome,
  Page,
  Relation,
  RunStatus,
  Session,
  Usage,
  World,
  WorldObject,
} from "./shapes";
import { type At, type EventRange, type RunFilter, type Source, SourceError } from "./source";
import { projectWorld } from "./world";

/** Id of the script element that holds the runs, of type application/json. */
export const ELEMENT = "kando-data";

/** A run with everything that the page shows of it. */
export interface EmbeddedRun {
  status: RunStatus;
  events: LedgerEvent[];
  metrics?: Metrics;
  branches?: Branch[];
  approvals?: Approval[];
  conversations?: Conversation[];
  /** The approvals and questions, with after which number of events each was open. */
  waits?: { from: number; until: number | null; item: Approval }[];
  /** What each event changes in the metrics. */
  usage?: UsageChanges;
}

export interface UsageChanges {
  /** The names that lead to each figure in the metrics. */
  figures: string[][];
  /** Of each change three numbers: the position of the event, the figure, and its new value. */
  changes: number[];
}

export interface EmbeddedData {
  format: "kando-page-1";
  version: string;
  runs: EmbeddedRun[];
}

const BOOKKEEPING = new Set(["responder.fired", "responder.completed", "responder.failed"]);

/** Return the runs that a document holds, or null if it is the page of a server. */
export function embeddedData(document: Document): EmbeddedData | null {
  const text = document.getElementById(ELEMENT)?.textContent;
  return text ? (JSON.parse(text) as EmbeddedData) : null;
}

export class EmbeddedSource implements Source {
  readonly isLive = false;

  constructor(private readonly data: EmbeddedData) {}

  async session(): Promise<Session> {
    return { role: "look", version: this.data.version, limits: {} };
  }

  async kits(): Promise<Kit[]> {
    return [];
  }

  async runs(filter: RunFilter = {}): Promise<Page<RunStatus>> {
    const found = this.data.runs.map((each) => each.status).filter((each) => matches(each, filter));
    return { items: found, next: null };
  }

  async status(run: string): Promise<RunStatus> {
    return this.run(run).status;
  }

  async events(run: string, range: EventRange = {}): Promise<Page<LedgerEvent>> {
    const first = range.after === undefined ? 0 : range.after + 1;
    const all = this.upTo(run, range.at ?? null);
    const end = first + (range.limit ?? 1000);
    const items = all.slice(first, end).filter((each) => !range.type || each.type === range.type);
    return { items, next: end < all.length ? String(end - 1) : null };
  }

  async event(run: string, id: string): Promise<LedgerEvent> {
    const found = this.run(run).events.find((each) => each.id === id);
    if (!found) throw notFound(`The run has no event ${id}.`);
    return found;
  }

  async world(run: string, at: At = null): Promise<World> {
    return projectWorld(this.upTo(run, at));
  }

  async object(run: string, id: string, at: At = null): Promise<WorldObject & { [more: string]: unknown }> {
    const found = (await this.world(run, at)).objects.find((each) => each.id === id);
    if (!found) throw notFound(`The run has no object ${id}.`);
    return { ...found };
  }

  async relation(run: string, id: string, at: At = null): Promise<Relation & { [more: string]: unknown }> {
    const found = (await this.world(run, at)).relations.find((each) => each.id === id);
    if (!found) throw notFound(`The run has no relation ${id}.`);
    return { ...found };
  }

  async trace(
    run: string,
    event: string,
    direction: "causes" | "effects",
    at: At = null,
  ): Promise<LedgerEvent[]> {
    const events = this.upTo(run, at);
    const start = startOf(events, event);
    if (!start) throw notFound(`The run has no event, object or relation ${event}.`);
    return direction === "causes" ? causesOf(events, start) : effectsOf(events, start);
  }

  async branches(run: string): Promise<Branch[]> {
    return this.run(run).branches ?? [];
  }

  async approvals(run: string, at: At = null): Promise<Approval[]> {
    const { approvals = [], waits = [], events } = this.run(run);
    // At the end, those of child runs wait, too.
    if (at === null || at >= events.length) return approvals;
    return waits
      .filter((each) => each.from <= at && (each.until === null || at < each.until))
      .map((each) => each.item);
  }

  async conversations(run: string): Promise<Conversation[]> {
    return this.run(run).conversations ?? [];
  }

  async artifacts(run: string, at: At = null): Promise<Artifact[]> {
    return (await this.world(run, at)).objects.flatMap(artifactOf);
  }

  async artifact(run: string, id: string, at: At = null): Promise<Artifact> {
    const all = await this.artifacts(run, at);
    const found = all.find((each) => each["object_id"] === id) ?? all.findLast((each) => each.name === id);
    if (!found) throw notFound(`The run has no artifact ${id}.`);
    return found;
  }

  async metrics(run: string, at: At = null): Promise<Metrics> {
    const { metrics, usage } = this.run(run);
    if (!metrics) throw notFound("The file holds no metrics.");
    const events = this.upTo(run, at);
    if (!usage || events.length === metrics.events) return metrics;
    return metricsOf(run, events, usage);
  }

  async diff(): Promise<Diff> {
    throw readOnly("compare runs");
  }

  async compare(): Promise<Outcome[]> {
    throw readOnly("compare runs");
  }

  downloadUrl(): null {
    return null;
  }

  follow(): () => void {
    return () => {};
  }

  followRuns(): () => void {
    return () => {};
  }

  start(): Promise<RunStatus> {
    return Promise.reject(readOnly("start a run"));
  }

  resume(): Promise<RunStatus> {
    return Promise.reject(readOnly("resume it"));
  }

  pause(): Promise<RunStatus> {
    return Promise.reject(readOnly("pause it"));
  }

  cancel(): Promise<RunStatus> {
    return Promise.reject(readOnly("cancel it"));
  }

  label(): Promise<RunStatus> {
    return Promise.reject(readOnly("label it"));
  }

  delete(): Promise<{ run_ids: string[] }> {
    return Promise.reject(readOnly("delete it"));
  }

  fork(): Promise<RunStatus> {
    return Promise.reject(readOnly("fork it"));
  }

  decide(): Promise<JsonObject> {
    return Promise.reject(readOnly("decide an approval"));
  }

  answer(): Promise<JsonObject> {
    return Promise.reject(readOnly("answer a request"));
  }

  say(): Promise<JsonObject> {
    return Promise.reject(readOnly("send a message"));
  }

  send(): Promise<JsonObject> {
    return Promise.reject(readOnly("send a message"));
  }

  private run(id: string): EmbeddedRun {
    const found = this.data.runs.find((each) => each.status.run_id === id);
    if (!found) throw notFound(`The file holds no run ${id}.`);
    return found;
  }

  private upTo(run: string, at: At): LedgerEvent[] {
    const { events } = this.run(run);
    return at === null || at >= events.length ? events : events.slice(0, at);
  }
}

function matches(run: RunStatus, filter: RunFilter): boolean {
  const words = filter.q?.toLowerCase();
  return (
    (!filter.state || run.state === filter.state) &&
    (!filter.kit || run.kit === filter.kit) &&
    (filter.label ?? []).every((each) => labelsOf(run).includes(each)) &&
    (!words || `${run.run_id} ${run.goal ?? ""}`.toLowerCase().includes(words))
  );
}

/** Return the artifact that an object is: one whose data has the texts name, media_type and text. */
function artifactOf({ id, type, data }: WorldObject): Artifact[] {
  const { name, media_type, text } = data;
  if (typeof name !== "string" || typeof media_type !== "string" || typeof text !== "string") return [];
  return [{ name, media_type, text, object_id: id, object_type: type }];
}

/** Return the metrics after some events. */
function metricsOf(run: string, events: LedgerEvent[], { figures, changes }: UsageChanges): Metrics {
  const types: Record<string, number> = Object.create(null);
  for (const { type } of events) types[type] = (types[type] ?? 0) + 1;
  const [started_at, ended_at] = [events[0]?.timestamp ?? null, events.at(-1)?.timestamp ?? null];
  const metrics: Metrics = {
    run_id: run,
    events: events.length,
    types,
    llm: noUsage(),
    models: Object.create(null),
    responders: Object.create(null),
    started_at,
    ended_at,
    elapsed_seconds: started_at && ended_at ? (microseconds(ended_at) - microseconds(started_at)) / 1e6 : 0,
  };
  const accounts = figures.map((names) => ({ names, figure: names.at(-1) ?? "" }));
  for (let i = 0; i < changes.length; i += 3) {
    const [position, number, value] = [changes[i] ?? 0, changes[i + 1] ?? 0, changes[i + 2] ?? 0];
    if (position >= events.length) break;
    const changed = accounts[number];
    if (changed) accountOf(metrics, changed.names)[changed.figure] = value;
  }
  const { models, responders } = metrics;
  return { ...metrics, types: sorted(types), models: sorted(models), responders: sorted(responders) };
}

/** Return a time in microseconds; Date has milliseconds. */
function microseconds(time: string): number {
  const beyond = /\.\d{3}(\d{1,3})/.exec(time)?.[1] ?? "";
  return Date.parse(time) * 1000 + Number(beyond.padEnd(3, "0"));
}

/** Return the same by name in the order of the names, as the server does. */
function sorted<Value>(byName: Record<string, Value>): Record<string, Value> {
  const found: Record<string, Value> = Object.create(null);
  for (const name of Object.keys(byName).sort()) found[name] = byName[name] as Value;
  return found;
}

/** Return the part of the metrics that has a figure; one that is missing is made. */
function accountOf(metrics: Metrics, [part, name = "", inner]: string[]): Record<string, number> {
  if (part === "models") {
    metrics.models[name] ??= noUsage();
    return metrics.models[name] as unknown as Record<string, number>;
  }
  if (part !== "responders") return metrics.llm as unknown as Record<string, number>;
  metrics.responders[name] ??= { firings: 0, events: 0, failures: 0, llm: noUsage() };
  const found = metrics.responders[name];
  return (inner === "llm" ? found.llm : found) as unknown as Record<string, number>;
}

function noUsage(): Usage {
  return {
    requests: 0,
    answers: 0,
    cached: 0,
    errors: 0,
    cost_usd: 0,
    input_tokens: 0,
    output_tokens: 0,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
  };
}

/** Return an event by its id, or the one that created the object or relation with this id. */
function startOf(events: LedgerEvent[], id: string): LedgerEvent | undefined {
  return (
    events.find((each) => each.id === id) ??
    events.find((each) => each.type === "object.created" && each.data.id === id) ??
    events.find((each) => each.type === "relation.created" && each.data.id === id)
  );
}

function causesOf(events: LedgerEvent[], start: LedgerEvent): LedgerEvent[] {
  const byId = new Map(events.map((each) => [each.id, each]));
  const found = new Set([start]);
  const waiting = [...start.cause];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    const cause = byId.get(id);
    if (!cause || found.has(cause)) continue;
    found.add(cause);
    waiting.push(...cause.cause);
  }
  return [...found].sort((a, b) => b.position - a.position);
}

function effectsOf(events: LedgerEvent[], start: LedgerEvent): LedgerEvent[] {
  const known = new Set([start.id]);
  const found = [start];
  for (const event of events.slice(start.position + 1)) {
    if (BOOKKEEPING.has(event.type) || !event.cause.some((id) => known.has(id))) continue;
    known.add(event.id);
    found.push(event);
  }
  return found;
}

function notFound(message: string): SourceError {
  return new SourceError(message, "not_found", null, 404);
}

function readOnly(what: string): SourceError {
  const hint = "`kando import` restores the run from its .jsonl export; `kando ui` opens it.";
  return new SourceError(`An exported file only shows a run; it cannot ${what}.`, "read_only", hint, 403);
}
