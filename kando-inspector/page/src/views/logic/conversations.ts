/** The conversations of a run, read from its requests to models and their answers. */

import type { LedgerEvent } from "../../data/shapes";
import { type Data, isData, isSame } from "./changes";

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: unknown;
}

export interface Message {
  readonly role: string;
  readonly content: unknown;
  readonly calls: readonly ToolCall[];
  /** Of a result of a tool: the call that it answers. */
  readonly answers: string | null;
  readonly error: string | null;
  /** The event with which the message entered the conversation. */
  readonly event: LedgerEvent | null;
}

export interface Compaction {
  readonly why: string;
  readonly before: number | null;
  readonly after: number | null;
  readonly event: LedgerEvent;
}

export type Entry = { readonly message: Message } | { readonly compaction: Compaction };

export interface Conversation {
  readonly id: string;
  readonly about: string | null;
  readonly askedBy: string;
  readonly model: string;
  readonly entries: readonly Entry[];
  readonly turns: number;
  readonly isWaiting: boolean;
}

/** A conversation in a list of the server: its requests, without their messages. */
export interface Listed {
  readonly id: string;
  readonly asked_by: string;
  readonly about: string | null;
  readonly turns: readonly {
    readonly request_id: string;
    readonly position: number;
    readonly answer_id: string | null;
  }[];
}

/**
 * Returns the ids of the few events that hold all messages of a long conversation: each request has
 * the messages before it, until a compaction replaces them.
 */
export function eventsWithAll(listed: Listed, compactions: readonly LedgerEvent[]): string[] {
  const ends = [...compactions.map((each) => each.position), Infinity];
  const last = ends.flatMap((end) => listed.turns.filter((turn) => turn.position < end).at(-1) ?? []);
  return [
    ...new Set(
      last.flatMap((turn) =>
        turn.answer_id === null ? [turn.request_id] : [turn.request_id, turn.answer_id],
      ),
    ),
  ];
}

/** The types of events from which conversations are read. */
export const CONVERSATION_TYPES = ["llm.request", "llm.response", "conversation.compacted", "human.message"];

interface Draft {
  id: string;
  about: string | null;
  askedBy: string;
  model: string;
  entries: Entry[];
  /** The messages that the next request is expected to begin with. */
  sent: readonly unknown[];
  turns: number;
  open: Set<string>;
}

/** Returns the conversations of a run, the one that changed last first. */
export function conversationsIn(events: readonly LedgerEvent[]): Conversation[] {
  const drafts = new Map<string, Draft>();
  const asked = new Map<string, Draft>();
  for (const event of events) {
    if (event.type === "llm.request") {
      const draft = draftOf(drafts, event);
      asked.set(event.id, draft);
      addRequest(draft, event);
      bringToEnd(drafts, draft);
    } else if (event.type === "llm.response") {
      const request = event.cause.find((id) => asked.has(id)) ?? "";
      const draft = asked.get(request);
      draft?.open.delete(request);
      draft?.entries.push({ message: answerOf(event) });
    } else if (event.type === "conversation.compacted") {
      const draft = drafts.get(String(event.data["conversation_id"]));
      if (!draft) continue;
      draft.entries.push({ compaction: compactionOf(event) });
      draft.sent = [];
    }
  }
  return [...drafts.values()]
    .reverse()
    .map(({ sent: _, open, ...draft }) => ({ ...draft, isWaiting: open.size > 0 }));
}

function draftOf(drafts: Map<string, Draft>, event: LedgerEvent): Draft {
  const of = event.data["conversation"];
  const id = isData(of) && typeof of["id"] === "string" ? of["id"] : event.id;
  const about = event.data["cause_object_id"];
  const draft: Draft = drafts.get(id) ?? {
    id,
    about: typeof about === "string" ? about : null,
    askedBy: event.actor,
    model: "",
    entries: [],
    sent: [],
    turns: 0,
    open: new Set(),
  };
  drafts.set(id, draft);
  return draft;
}

function bringToEnd(drafts: Map<string, Draft>, draft: Draft): void {
  drafts.delete(draft.id);
  drafts.set(draft.id, draft);
}

function addRequest(draft: Draft, event: LedgerEvent): void {
  const messages = Array.isArray(event.data["messages"]) ? (event.data["messages"] as unknown[]) : [];
  let known = 0;
  while (known < draft.sent.length && isSame(draft.sent[known], messages[known])) known++;
  const isCompacted = draft.sent.length === 0 && draft.entries.length > 0;
  messages.slice(known).forEach((each, place) => {
    const message = messageOf(each, event);
    // The answer that the last request got is already among the entries.
    if (place === 0 && message.role === "assistant" && !isCompacted && holdsAnswer(draft)) return;
    draft.entries.push({ message });
  });
  draft.sent = messages;
  draft.turns += 1;
  draft.model = String(event.data["model"] ?? "");
  draft.open.add(event.id);
}

function holdsAnswer(draft: Draft): boolean {
  const last = draft.entries.at(-1);
  return last !== undefined && "message" in last && last.message.role === "assistant";
}

function messageOf(value: unknown, event: LedgerEvent): Message {
  const data: Data = isData(value) ? value : {};
  const answers = data["tool_call_id"];
  return {
    role: typeof data["role"] === "string" ? data["role"] : "unknown",
    content: data["content"] ?? "",
    calls: callsOf(data["tool_calls"]),
    answers: typeof answers === "string" ? answers : null,
    error: null,
    event,
  };
}

function answerOf(event: LedgerEvent): Message {
  const { error, text, data } = event.data;
  const message = isData(error) ? (error["message"] ?? error["type"]) : error;
  const failed =
    error === undefined || error === null
      ? null
      : typeof message === "string"
        ? message
        : JSON.stringify(message);
  const content = typeof text === "string" && text ? text : (data ?? "");
  return {
    role: "assistant",
    content,
    calls: callsOf(event.data["tool_calls"]),
    answers: null,
    error: failed,
    event,
  };
}

function callsOf(value: unknown): ToolCall[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isData).map((each) => ({
    id: String(each["id"] ?? ""),
    name: String(each["name"] ?? "unknown"),
    arguments: each["arguments"] ?? {},
  }));
}

function compactionOf(event: LedgerEvent): Compaction {
  const { why, tokens_before: before, tokens_after: after } = event.data;
  const number = (value: unknown): number | null => (typeof value === "number" ? value : null);
  return { why: String(why ?? ""), before: number(before), after: number(after), event };
}

export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "image"; readonly address: string; readonly about: string }
  | { readonly kind: "file"; readonly about: string };

const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
/** Longest image that the page shows, in characters of base64: 20 MiB, as in a ledger. */
const LONGEST_IMAGE = 27_962_028;

/** Returns the parts of a message's content; only images of types that cannot run code are shown. */
export function partsOf(content: unknown): Part[] {
  if (typeof content === "string") return content ? [{ kind: "text", text: content }] : [];
  if (!Array.isArray(content))
    return content === null || content === undefined
      ? []
      : [{ kind: "text", text: JSON.stringify(content, null, 2) }];
  return content.map(partOf);
}

function partOf(value: unknown): Part {
  if (!isData(value)) return { kind: "text", text: String(value) };
  const { type, text, media_type: media, data, name } = value;
  if (type === "text" && typeof text === "string") return { kind: "text", text };
  if ((type === "image" || type === "file") && typeof media === "string") {
    const size = typeof data === "string" ? Math.floor((data.length * 3) / 4) : 0;
    const about = `${typeof name === "string" ? `${name}, ` : ""}${media}, ${size.toLocaleString("en-US")} bytes`;
    const isShown =
      type === "image" &&
      IMAGES.has(media) &&
      typeof data === "string" &&
      data.length <= LONGEST_IMAGE &&
      BASE64.test(data);
    return isShown
      ? { kind: "image", address: `data:${media};base64,${data}`, about }
      : { kind: "file", about };
  }
  return { kind: "text", text: JSON.stringify(value, null, 2) };
}
