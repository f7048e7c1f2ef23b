/** The address of a state of the page: #RUN@N?view=world&event=ID, and #?state=waiting for the list. */

export interface Address {
  /** Id of the run; null for the list of runs. */
  run: string | null;
  /** Number of the last event that counts; null follows the run. */
  at: number | null;
  view: string | null;
  event: string | null;
  /**
   * The other names and values after the question mark, such as the filter of the list. A name that
   * is given several times has each of its values on a line.
   */
  more: Record<string, string>;
}

export const START: Address = { run: null, at: null, view: null, event: null, more: {} };

/** Read an address; a malformed number of events counts as none. */
export function parseAddress(hash: string): Address {
  const text = hash.startsWith("#") ? hash.slice(1) : hash;
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1));
  const found = /^(.*)@(\d+)$/.exec(path);
  const number = found ? Number(found[2]) : null;
  const run = decode(found ? (found[1] ?? "") : path).replace(/^\//, "");
  const more: Record<string, string> = {};
  for (const [name, value] of query) {
    if (name === "view" || name === "event") continue;
    const before = more[name];
    more[name] = before === undefined ? value : `${before}\n${value}`;
  }
  return {
    run: run || null,
    at: run && number !== null && Number.isSafeInteger(number) ? number : null,
    view: query.get("view"),
    event: query.get("event"),
    more,
  };
}

/** Write an address, with its number sign. */
export function formatAddress(address: Address): string {
  const query = new URLSearchParams();
  if (address.view) query.set("view", address.view);
  if (address.event) query.set("event", address.event);
  for (const [name, value] of Object.entries(address.more)) {
    for (const line of value ? value.split("\n") : []) query.append(name, line);
  }
  const run = address.run ? encodeURIComponent(address.run) : "";
  const at = run && address.at !== null ? `@${address.at}` : "";
  const rest = query.toString();
  return `#${run}${at}${rest ? `?${rest}` : ""}`;
}

/** Return the token of an address that `kando ui` opened, or null. */
export function tokenIn(hash: string): string | null {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token");
}

/** Return an address without its token; a run may follow it as run=RUN. */
export function withoutToken(hash: string): string {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const run = parts.get("run");
  return run ? `#${run}` : "#";
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
