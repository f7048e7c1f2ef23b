/** What kind of event a type is: its colour in the timeline and the list. */

export type Kind = "object" | "relation" | "llm" | "tool" | "person" | "failure" | "runtime" | "other";

export const KINDS: Kind[] = [
  "object",
  "relation",
  "llm",
  "tool",
  "person",
  "failure",
  "runtime",
  "other",
];

export const BOOKKEEPING = new Set(["responder.fired", "responder.completed"]);

/** Return the name of a responder without that of the kit of its run, which all of them share. */
export function shortActor(actor: string, kit: string | null): string {
  if (!actor.trim()) return "(no actor)";
  return kit && actor.startsWith(`${kit}.`) ? actor.slice(kit.length + 1) : actor;
}

/** Return the kind of a type of events. */
export function kindOf(type: string): Kind {
  if (type === "responder.failed" || type === "budget.exhausted") return "failure";
  const family = type.slice(0, type.indexOf("."));
  switch (family) {
    case "object":
    case "relation":
    case "llm":
    case "tool":
      return family;
    case "person":
    case "human":
    case "approval":
      return "person";
    case "responder":
    case "kit":
    case "budget":
    case "branch":
    case "timer":
    case "run":
    case "workspace":
    case "inbox":
      return "runtime";
    default:
      return "other";
  }
}
