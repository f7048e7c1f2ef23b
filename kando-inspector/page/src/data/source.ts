/** The one interface through which the page reads runs and acts on them. */

import type {
  Approval,
  Artifact,
  Branch,
  Conversation,
  Diff,
  Json,
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

export interface RunFilter {
  state?: string;
  kit?: string;
  q?: string;
  /** Labels that the runs have, each as NAME=VALUE. */
  label?: string[];
  limit?: number;
  cursor?: string;
}

export interface EventRange {
  /** Position of the last event that is already known; omitted for the first events. */
  after?: number;
  limit?: number;
  type?: string;
  branch?: string;
  at?: number | null;
}

/** Number of the last event that counts; null for all events. */
export type At = number | null;

export interface StartRequest {
  kit: string;
  goal?: string;
  settings?: JsonObject;
  llm?: string;
  max_usd?: number;
  demo?: boolean;
  labels?: Record<string, string>;
}

/** A fork at a number of events, or before an event, with changes. */
export interface ForkRequest {
  at?: number;
  before?: string;
  id?: string;
  [change: string]: unknown;
}

export interface Decision {
  decision: "approve" | "deny";
  reason?: string;
  args?: Json;
}

/** An answer of a model, the result of a tool, a reply of a person, or an error instead. */
export type Answer =
  | { text: string }
  | { data: Json }
  | { result: Json }
  | { reply: Json }
  | { error: string };

export interface RunListener {
  event?(event: LedgerEvent): void;
  status?(status: RunStatus): void;
  /** A piece of an answer that is not recorded yet. */
  text?(piece: { request_id: string; text: string }): void;
  /** The connection was lost (false) or is back (true). */
  connected?(isConnected: boolean): void;
  /** Nothing follows: the run was deleted, or cannot be read. */
  ended?(error: SourceError): void;
}

export interface RunsListener {
  changed(run: Partial<RunStatus> & { run_id: string }): void;
  deleted(run: string): void;
  /** The connection is back: what happened meanwhile is not known. */
  reconnected(): void;
}

/** An error with the code of the command line, and a hint that names the cure. */
export class SourceError extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly hint: string | null = null,
    readonly status = 0,
  ) {
    super(message);
    this.name = "SourceError";
  }
}

export interface Source {
  /** Whether events can still arrive: false for an exported file. */
  readonly isLive: boolean;

  session(): Promise<Session>;
  kits(): Promise<Kit[]>;

  runs(filter?: RunFilter): Promise<Page<RunStatus>>;
  status(run: string, at?: At): Promise<RunStatus>;
  events(run: string, range?: EventRange): Promise<Page<LedgerEvent>>;
  event(run: string, id: string): Promise<LedgerEvent>;
  world(run: string, at?: At): Promise<World>;
  object(run: string, id: string, at?: At): Promise<WorldObject & { [more: string]: unknown }>;
  relation(run: string, id: string, at?: At): Promise<Relation & { [more: string]: unknown }>;
  trace(
    run: string,
    event: string,
    direction: "causes" | "effects",
    at?: At,
  ): Promise<LedgerEvent[]>;
  branches(run: string): Promise<Branch[]>;
  approvals(run: string, at?: At): Promise<Approval[]>;
  conversations(run: string, at?: At): Promise<Conversation[]>;
  artifacts(run: string, at?: At): Promise<Artifact[]>;
  artifact(run: string, id: string, at?: At): Promise<Artifact>;
  metrics(run: string, at?: At): Promise<Metrics>;
  /** The addresses are RUN or RUN@N. */
  diff(a: string, b: string): Promise<Diff>;
  compare(runs: string[]): Promise<Outcome[]>;
  /** Address of a download, or null where there is none. */
  downloadUrl(run: string, what: "export" | { artifact: string; format: string }): string | null;

  /** Follow a run from the event after `after`; returns a function that ends it. */
  follow(run: string, after: number, listener: RunListener): () => void;
  /** Follow all runs; returns a function that ends it. */
  followRuns(listener: RunsListener): () => void;

  start(request: StartRequest): Promise<RunStatus>;
  resume(run: string): Promise<RunStatus>;
  pause(run: string): Promise<RunStatus>;
  cancel(run: string): Promise<RunStatus>;
  /** Change labels: values by name; null removes one. */
  label(run: string, labels: Record<string, string | null>): Promise<RunStatus>;
  /** Delete a run and its child runs for good; returns the ids of all. */
  delete(run: string): Promise<{ run_ids: string[] }>;
  fork(run: string, request: ForkRequest): Promise<RunStatus>;
  decide(run: string, request: string, decision: Decision): Promise<JsonObject>;
  answer(run: string, request: string, answer: Answer): Promise<JsonObject>;
  send(run: string, type: string, data: JsonObject, key?: string): Promise<JsonObject>;
  /** Continue a conversation of the run; about null is its first one. */
  say(run: string, text: string, about: string | null, key: string): Promise<JsonObject>;
}
