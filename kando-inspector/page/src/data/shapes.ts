/** The JSON forms of runs, events and differences, as kando/app/shapes.py writes them. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export interface Page<Item> {
  items: Item[];
  /** Cursor of the next page; null on the last page. */
  next: string | null;
}

export interface LedgerEvent {
  id: string;
  type: string;
  source: string;
  actor: string;
  cause: string[];
  timestamp: string;
  data: JsonObject;
  /** Number of events before it. */
  position: number;
}

export type RunState =
  | "finished"
  | "waiting"
  | "stopped"
  | "running"
  | "exhausted"
  | "failed"
  | "damaged"
  | "paused"
  | "cancelled";

export interface Claim {
  host: string;
  pid: number;
  group: string | null;
  epoch: number;
  since: string;
}

export interface ChildRun {
  run_id: string;
  event_id: string;
  kit: string;
  state: RunState | null;
  is_open: boolean;
}

export interface RunStatus {
  run_id: string;
  state: RunState;
  goal: string | null;
  kit: string | null;
  kit_version: string | null;
  events: number;
  objects: Record<string, number>;
  relations: Record<string, number>;
  llm_requests: number;
  llm_answered: number;
  llm_cached: number;
  llm_cost_usd: number;
  llm_unpriced: number;
  llm_tokens: number;
  tool_calls: number;
  unanswered: number;
  timers: number;
  created_at: string | null;
  updated_at: string | null;
  last_event_id: string | null;
  problem: string | null;
  parent_id: string | null;
  fork_position: number | null;
  own: Record<string, number> | null;
  approvals: number;
  questions: number;
  /** Such as max_llm_cost_usd, max_llm_calls, max_events; empty for a run without limits. */
  limits: Record<string, number>;
  unread: number;
  parked: number;
  parked_reasons: string[];
  claim: Claim | null;
  deadlines: { event_id: string; expires_at: string }[];
  reminders: { event_id: string; reminded: number; remind_at: string }[];
  children: ChildRun[];
  started_by: { run_id: string; event_id: string } | null;
  /** Values by name. */
  labels: Record<string, string>;
}

export interface WorldObject {
  id: string;
  type: string;
  data: JsonObject;
  /** Id of the event that created it. */
  event_id: string;
  /** Id of the event that last created or patched it. */
  changed_by: string;
}

export interface Relation {
  id: string;
  type: string;
  source_id: string;
  target_id: string;
  data: JsonObject;
  /** Id of the event that created it. */
  event_id: string;
}

export interface World {
  /** Number of events that it is projected from. */
  position: number;
  objects: WorldObject[];
  relations: Relation[];
}

export interface Branch {
  id: string;
  parent_id: string | null;
  fork_position: number | null;
  length: number;
  depth: number;
  started_by: string | null;
  state?: RunState;
  goal?: string | null;
}

/** A call, an object or a question that waits for a person. */
export interface Approval {
  event_id: string;
  kind?: string;
  question: string | null;
  /** JSON Schema of the reply to a question; null for an approval and for a reply in text. */
  schema: JsonObject | null;
  cause_object_id?: string | null;
  requested_at: string;
  expires_at: string | null;
  reminded: number;
  remind_at: string | null;
  [more: string]: unknown;
}

export interface Conversation {
  id: string;
  [more: string]: unknown;
}

export interface Artifact {
  id?: string;
  name: string;
  media_type: string;
  text?: string;
  [more: string]: unknown;
}

export interface Usage {
  requests: number;
  answers: number;
  cached: number;
  errors: number;
  cost_usd: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
}

export interface Metrics {
  run_id: string;
  events: number;
  types: Record<string, number>;
  llm: Usage;
  models: Record<string, Usage>;
  responders: Record<string, { firings: number; events: number; failures: number; llm: Usage }>;
  started_at: string | null;
  ended_at: string | null;
  elapsed_seconds: number;
}

export type Fields = Record<string, { before: Json; after: Json }>;

export interface Side {
  source: string;
  events: number;
  events_after: number;
  llm_after: Usage;
  seconds_after: number;
}

export interface Diff {
  summary: string;
  added_objects: WorldObject[];
  removed_objects: WorldObject[];
  patched_objects: { id: string; type: string; fields: Fields }[];
  added_relations: Relation[];
  removed_relations: Relation[];
  moved_objects: { before: WorldObject; after: WorldObject }[];
  moved_relations: { before: Relation; after: Relation }[];
  /** Number of events that both runs share. */
  parts_at: number;
  steps: {
    summary: string;
    changed: { before: LedgerEvent; after: LedgerEvent; fields: Fields }[];
    only_a: LedgerEvent[];
    only_b: LedgerEvent[];
  };
  a: Side;
  b: Side;
}

export interface Outcome {
  run_id: string;
  state: RunState;
  events: number;
  objects: Record<string, number>;
  relations: Record<string, number>;
  llm: Usage;
  elapsed_seconds: number;
  parts_at: number;
}

export interface Kit {
  name: string;
  distribution: string;
  version: string;
  about: string;
}

export interface Session {
  role: "look" | "act";
  version: string;
  limits: JsonObject;
}
