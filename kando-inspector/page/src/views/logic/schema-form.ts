/** A form for the JSON Schema of a reply: its fields, and the reply that the fields hold. */

import { type Data, isData } from "./changes";

export type FieldKind = "text" | "number" | "integer" | "boolean" | "choice" | "json";

export interface FormField {
  /** Name of the property; empty if the schema is of one value. */
  readonly name: string;
  readonly label: string;
  readonly help: string;
  readonly kind: FieldKind;
  readonly required: boolean;
  readonly choices: readonly unknown[];
  /** The text that the field has first. */
  readonly initial: string;
}

/** Returns the fields of a form: one for each property of an object, else one for the value. */
export function formFields(schema: unknown): FormField[] {
  if (!isData(schema)) return [fieldOf("", {}, true)];
  const properties = schema["properties"];
  if (schema["type"] !== "object" || !isData(properties)) return [fieldOf("", schema, true)];
  const required = Array.isArray(schema["required"]) ? (schema["required"] as unknown[]) : [];
  return Object.entries(properties).map(([name, each]) =>
    fieldOf(name, isData(each) ? each : {}, required.includes(name)),
  );
}

function fieldOf(name: string, schema: Data, required: boolean): FormField {
  const choices = Array.isArray(schema["enum"]) ? (schema["enum"] as unknown[]) : [];
  const text = (key: string): string => (typeof schema[key] === "string" ? schema[key] : "");
  const initial = schema["default"];
  const kind = kindOf(schema, choices);
  return {
    name,
    label: text("title") || name || "Reply",
    help: text("description"),
    kind,
    required,
    choices,
    initial:
      initial === undefined
        ? ""
        : kind === "text" && typeof initial === "string"
          ? initial
          : JSON.stringify(initial),
  };
}

function kindOf(schema: Data, choices: readonly unknown[]): FieldKind {
  if (choices.length) return "choice";
  switch (schema["type"]) {
    case "string":
      return "text";
    case "number":
    case "integer":
    case "boolean":
      return schema["type"];
    default:
      return "json";
  }
}

export type Reply = { readonly value: unknown } | { readonly error: string; readonly field: string };

/** Returns the reply that the fields hold, or what is wrong with the first malformed field. */
export function replyOf(fields: readonly FormField[], texts: ReadonlyMap<string, string>): Reply {
  const reply: Record<string, unknown> = {};
  for (const field of fields) {
    const text = texts.get(field.name) ?? field.initial;
    if (text === "" && field.kind !== "text") {
      if (field.required) return { error: `${field.label} is missing.`, field: field.name };
      continue;
    }
    if (text === "" && !field.required) continue;
    const found = valueOf(field, text);
    if ("error" in found) return { ...found, field: field.name };
    if (field.name === "") return found;
    Object.defineProperty(reply, field.name, { value: found.value, enumerable: true });
  }
  return { value: reply };
}

function valueOf(field: FormField, text: string): { value: unknown } | { error: string } {
  if (field.kind === "text") return { value: text };
  try {
    const value: unknown = JSON.parse(text);
    if (field.kind === "number" && typeof value !== "number")
      return { error: `${field.label} must be a number.` };
    if (field.kind === "integer" && !Number.isInteger(value))
      return { error: `${field.label} must be a whole number.` };
    if (field.kind === "boolean" && typeof value !== "boolean")
      return { error: `${field.label} must be true or false.` };
    return { value };
  } catch {
    return { error: field.kind === "json" ? `${field.label} must be JSON.` : `${field.label} is malformed.` };
  }
}
