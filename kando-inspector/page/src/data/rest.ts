/** Runs over the REST interface of `kando serve`. */

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
import {
  type Answer,
  type At,
  type Decision,
  type EventRange,
  type ForkRequest,
  type RunFilter,
  type RunListener,
  type RunsListener,
  type Source,
  SourceError,
  type StartRequest,
} from "./source";
import { openStream } from "./stream";

type Query = Record<string, string | number | string[] | null | undefined>;

/** Return the query of an address, without the names that have no value. */
export function queryOf(query: Query): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) {
      for (const each of value) parts.append(name, each);
    } else if (value !== null && value !== undefined && value !== "") {
      parts.set(name, String(value));
    }
  }
  const text = parts.toString();
  return text ? `?${text}` : "";
}

/** Return the error that a response describes as application/problem+json. */
export function problemOf(status: number, body: unknown): SourceError {
  const about = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const text = (name: string) => (typeof about[name] === "string" ? (about[name] as string) : null);
  const message = text("detail") ?? text("title") ?? `The server answered with status ${status}.`;
  return new SourceError(message, text("code") ?? `http_${status}`, text("hint"), status);
}

export class RestSource implements Source {
  readonly isLive = true;

  constructor(private readonly base = "/api/v1") {}

  /** Exchange the token of the page's address for a cookie. */
  async exchange(token: string): Promise<void> {
    await this.call("POST", "/session", { token });
  }

  session(): Promise<Session> {
    return this.get("/session");
  }

  kits(): Promise<Kit[]> {
    return this.items("/kits");
  }

  runs(filter: RunFilter = {}): Promise<Page<RunStatus>> {
    return this.get("/runs", { ...filter });
  }

  status(run: string, at: At = null): Promise<RunStatus> {
    return this.get(of(run), { at });
  }

  events(run: string, range: EventRange = {}): Promise<Page<LedgerEvent>> {
    return this.get(of(run, "events"), { ...range });
  }

  event(run: string, id: string): Promise<LedgerEvent> {
    return this.get(of(run, "events", id));
  }

  world(run: string, at: At = null): Promise<World> {
    return this.get(of(run, "world"), { at });
  }

  object(run: string, id: string, at: At = null): Promise<WorldObject & { [more: string]: unknown }> {
    return this.get(of(run, "objects", id), { at });
  }

  relation(run: string, id: string, at: At = null): Promise<Relation & { [more: string]: unknown }> {
    return this.get(of(run, "relations", id), { at });
  }

  trace(
    run: string,
    event: string,
    direction: "causes" | "effects",
    at: At = null,
  ): Promise<LedgerEvent[]> {
    return this.items(of(run, "trace", event), { direction, at });
  }

  branches(run: string): Promise<Branch[]> {
    return this.items(of(run, "branches"));
  }

  approvals(run: string, at: At = null): Promise<Approval[]> {
    return this.items(of(run, "approvals"), { at });
  }

  conversations(run: string, at: At = null): Promise<Conversation[]> {
    return this.items(of(run, "conversations"), { at });
  }

  artifacts(run: string, at: At = null): Promise<Artifact[]> {
    return this.items(of(run, "artifacts"), { at });
  }

  artifact(run: string, id: string, at: At = null): Promise<Artifact> {
    return this.get(of(run, "artifacts", id), { at });
  }

  metrics(run: string, at: At = null): Promise<Metrics> {
    return this.get(of(run, "metrics"), { at });
  }

  diff(a: string, b: string): Promise<Diff> {
    return this.get("/diff", { a, b });
  }

  async compare(runs: string[]): Promise<Outcome[]> {
    const query = new URLSearchParams(runs.map((run) => ["run", run]));
    return itemsIn(await this.call<Page<Outcome>>("GET", `/compare?${query}`));
  }

  downloadUrl(run: string, what: "export" | { artifact: string; format: string }): string {
    if (what === "export") return this.base + of(run, "export");
    return this.base + of(run, "artifacts", what.artifact) + queryOf({ format: what.format });
  }

  follow(run: string, after: number, listener: RunListener): () => void {
    let last = after;
    const close = openStream({
      url: () => this.base + of(run, "stream") + queryOf({ after: last }),
      handlers: {
        event: (data) => {
          const event = data as LedgerEvent;
          // A browser that connects again may get an event twice.
          if (event.position <= last) return;
          last = event.position;
          listener.event?.(event);
        },
        status: (data) => listener.status?.(data as RunStatus),
        text: (data) => listener.text?.(data as { request_id: string; text: string }),
        problem: (data) => {
          close();
          listener.ended?.(problemOf(0, data));
        },
      },
      connected: (isConnected) => listener.connected?.(isConnected),
    });
    return close;
  }

  followRuns(listener: RunsListener): () => void {
    let wasLost = false;
    return openStream({
      url: () => `${this.base}/stream`,
      handlers: {
        run: (data) => listener.changed(data as RunStatus),
        deleted: (data) => listener.deleted((data as { run_id: string }).run_id),
      },
      connected: (isConnected) => {
        if (isConnected && wasLost) listener.reconnected();
        wasLost = !isConnected;
      },
    });
  }

  start(request: StartRequest): Promise<RunStatus> {
    return this.call("POST", "/runs", { ...request });
  }

  resume(run: string): Promise<RunStatus> {
    return this.call("POST", of(run, "resume"), {});
  }

  pause(run: string): Promise<RunStatus> {
    return this.call("POST", of(run, "pause"), {});
  }

  cancel(run: string): Promise<RunStatus> {
    return this.call("POST", of(run, "cancel"), {});
  }

  label(run: string, labels: Record<string, string | null>): Promise<RunStatus> {
    return this.call("POST", of(run, "labels"), { labels });
  }

  delete(run: string): Promise<{ run_ids: string[] }> {
    return this.call("DELETE", of(run));
  }

  fork(run: string, request: ForkRequest): Promise<RunStatus> {
    return this.call("POST", of(run, "forks"), { ...request });
  }

  decide(run: string, request: string, decision: Decision): Promise<JsonObject> {
    return this.call("POST", of(run, "approvals", request), { ...decision });
  }

  answer(run: string, request: string, answer: Answer): Promise<JsonObject> {
    return this.call("POST", of(run, "answers", request), { ...answer });
  }

  say(run: string, text: string, about: string | null, key: string): Promise<JsonObject> {
    return this.call("POST", of(run, "messages"), { text, key, ...(about === null ? {} : { about }) });
  }

  send(run: string, type: string, data: JsonObject, key?: string): Promise<JsonObject> {
    return this.call("POST", of(run, "messages"), { type, data, ...(key ? { key } : {}) });
  }

  private get<T>(path: string, query: Query = {}): Promise<T> {
    return this.call("GET", path + queryOf(query));
  }

  private async items<T>(path: string, query: Query = {}): Promise<T[]> {
    const found: T[] = [];
    let cursor: string | null = null;
    do {
      const page: Page<T> = await this.get(path, { ...query, cursor });
      found.push(...itemsIn(page));
      cursor = page.next ?? null;
    } while (cursor !== null);
    return found;
  }

  private async call<T>(method: string, path: string, body?: JsonObject | object): Promise<T> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    let response: Response;
    try {
      response = await fetch(this.base + path, {
        method,
        headers,
        credentials: "same-origin",
        ...(body !== undefined ? { body: JSON.stringify(body) } : {}),
      });
    } catch {
      throw new SourceError("The server does not answer.", "unreachable", "Start it: `kando ui`.");
    }
    const text = await response.text();
    let value: unknown = null;
    try {
      value = text ? JSON.parse(text) : null;
    } catch {
      // A proxy may answer with text: the status describes the error.
    }
    if (!response.ok) throw problemOf(response.status, value);
    return value as T;
  }
}

/** Return the path of a run or of a part of it. */
function of(run: string, ...parts: string[]): string {
  return ["/runs", run, ...parts].map((part, i) => (i ? encodeURIComponent(part) : part)).join("/");
}

function itemsIn<T>(page: Page<T> | T[]): T[] {
  return Array.isArray(page) ? page : page.items;
}
