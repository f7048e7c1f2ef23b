/** Numbers, times and costs as people read them. */

const counts = new Intl.NumberFormat("en");

/** Return 12345 as 12,345. */
export function number(value: number): string {
  return counts.format(value);
}

/** Return "1 event", "2 events". */
export function plural(value: number, name: string): string {
  return `${number(value)} ${name}${value === 1 ? "" : "s"}`;
}

/** Return a cost in US dollars; small ones keep two digits that count. */
export function usd(value: number): string {
  if (value === 0) return "$0";
  if (Math.abs(value) >= 1) return `$${value.toFixed(2)}`;
  const digits = Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value)))));
  return `$${value.toFixed(digits)}`;
}

/** Return a time span in its largest unit: 350 ms, 4.2 s, 3 min, 5 h, 2 d. */
export function duration(milliseconds: number): string {
  const ms = Math.abs(milliseconds);
  if (ms < 1) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 60) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  if (hours < 48) return `${hours < 10 ? hours.toFixed(1) : Math.round(hours)} h`;
  return `${Math.round(hours / 24)} d`;
}

/** Return how long ago a time was: "3 min ago". */
export function age(at: string | null, now: number): string {
  if (!at) return "";
  const ms = now - Date.parse(at);
  if (!Number.isFinite(ms)) return "";
  if (ms < 5000) return "just now";
  // Tenths of a second are of no use here.
  return ms < 10_000 ? `${Math.floor(ms / 1000)} s ago` : `${duration(ms)} ago`;
}

/** Return a time of day with milliseconds, in the time zone of the reader. */
export function clock(ms: number): string {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return "";
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  return `${time}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Return a date and time in the time zone of the reader. */
export function moment(at: string | null): string {
  const ms = at ? Date.parse(at) : Number.NaN;
  if (!Number.isFinite(ms)) return "";
  return new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}
