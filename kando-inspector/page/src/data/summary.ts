/** A short text that says what an event holds. */

import type { Json, JsonObject, LedgerEvent } from "./shapes";

const LONGEST = 140;

/** Names of fields that describe an object best, best first. */
const TELLING = ["title", "name", "statement", "question", "text", "goal", "summary", "path", "url", "status"];

/** Return one line about an event, cut to a length that a list shows. */
export function readSummary(event: LedgerEvent): string {
  return shortCopy(summarise(event));
}

function summarise({ type, data }: LedgerEvent): string {
  switch (type) {
    case "object.created":
      return `${word(data.type)} ${word(data.id)}${after(": ", describe(asObject(data.data)))}`;
    case "object.patched":
      return `${word(data.id)}${after(": ", fields(asObject(data.patch)))}`;
    case "relation.created":
      return `${word(data.source_id)} ${word(data.type)} ${word(data.target_id)}`;
    case "relation.removed":
      return word(data.id);
    case "llm.request":
      return lastMessage(data.messages) || word(data.model);
    case "llm.response":
      return answerText(data);
    case "tool.called":
      return `${word(data.tool)}(${fields(asObject(data.arguments), ": ")})`;
    case "tool.returned":
      return failure(data) || cut(brief(data.result ?? null));
    case "responder.fired":
      return word(data.responder);
    case "responder.completed":
      return `${word(data.responder)}, ${count(data.outputs, "output")}`;
    case "responder.failed":
      return `${word(data.responder)}${after(": ", failure(data))}`;
    case "run.labelled":
      return fields(asObject(data.labels), "=");
    case "kit.loaded":
      return `${word(data.name)} ${word(data.version)}`;
    default:
      return describe(data) || failure(data) || cut(brief(data));
  }
}

/** Return the text of an answer of a model, or its error. */
export function answerText(data: JsonObject): string {
  if (typeof data.text === "string" && data.text) return data.text;
  return failure(data) || brief(data.data ?? data.tool_calls ?? null);
}

/** Return the error of an answer in words, or an empty text. */
export function failure(data: JsonObject): string {
  const { error } = data;
  if (typeof error === "string") return error;
  const about = asObject(error);
  if (!about) return "";
  return [word(about.type ?? about.code), word(about.message)].filter(Boolean).join(": ");
}

function lastMessage(messages: Json | undefined): string {
  if (!Array.isArray(messages)) return "";
  const last = asObject(messages.at(-1));
  const content = last?.content;
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  const texts = content.map((part) => asObject(part)?.text).filter((each) => typeof each === "string");
  return texts.join(" ");
}

function describe(data: JsonObject | null): string {
  if (!data) return "";
  for (const name of TELLING) {
    const value = data[name];
    if (typeof value === "string" && value) return value;
  }
  return "";
}

function fields(data: JsonObject | null, between = " = "): string {
  if (!data) return "";
  return Object.entries(data)
    .slice(0, 4)
    .map(([name, value]) => `${name}${between}${cut(brief(value), 40)}`)
    .join(", ");
}

/** Return a value as short JSON; deep parts are left out. */
function brief(value: Json | undefined, depth = 0): string {
  if (value === undefined) return "";
  if (typeof value === "string") return depth ? JSON.stringify(cut(value)) : value;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) {
    if (depth > 1) return `[${value.length}]`;
    return `[${value.slice(0, 5).map((each) => brief(each, depth + 1)).join(", ")}${value.length > 5 ? ", …" : ""}]`;
  }
  const names = Object.keys(value);
  if (depth > 1) return `{${names.length}}`;
  const parts = names.slice(0, 5).map((name) => `${cut(name)}: ${brief(value[name], depth + 1)}`);
  return `{${parts.join(", ")}${names.length > 5 ? ", …" : ""}}`;
}

function word(value: Json | undefined): string {
  return typeof value === "string" ? cut(value) : "";
}

function count(value: Json | undefined, name: string): string {
  const number = typeof value === "number" ? value : 0;
  return `${number} ${name}${number === 1 ? "" : "s"}`;
}

function after(prefix: string, text: string): string {
  return text ? prefix + text : "";
}

function asObject(value: Json | undefined): JsonObject | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null;
}

function cut(text: string, longest = LONGEST): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Cut a text to one line, as a copy: a slice would keep all of a long text in memory. */
function shortCopy(text: string): string {
  const line = cut(text).replace(/\s+/g, " ").trim();
  return decoder.decode(encoder.encode(line));
}
