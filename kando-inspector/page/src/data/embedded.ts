/** Runs in the page itself: an exported file, which only reads. */

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
  artifacts?: Artifact[];
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

  async approvals(run: string): Promise<Approval[]> {
    return this.run(run).approvals ?? [];
  }

  async conversations(run: string): Promise<Conversation[]> {
    return this.run(run).conversations ?? [];
  }

  async artifacts(run: string): Promise<Artifact[]> {
    return this.run(run).artifacts ?? [];
  }

  async artifact(run: string, id: string): Promise<Artifact> {
    const all = await this.artifacts(run);
    const found = all.find((each) => each.id === id) ?? all.find((each) => each.name === id);
    if (!found) throw notFound(`The run has no artifact ${id}.`);
    return found;
  }

  async metrics(run: string): Promise<Metrics> {
    const found = this.run(run).metrics;
    if (!found) throw notFound("The file holds no metrics.");
    return found;
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
    (!words || `${run.run_id} ${run.goal ?? ""}`.toLowerCase().includes(words))
  );
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
