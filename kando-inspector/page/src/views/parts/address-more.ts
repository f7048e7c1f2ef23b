/** The parts of the address that only one view reads, such as the run that a diff compares with. */

import { parseAddress } from "../../address";
import type { ViewProps } from "../registry";

/** Return a part of the address by its name, or null. */
export function more(name: string): string | null {
  return parseAddress(location.hash).more[name] ?? null;
}

/** Go to another value of parts of the address; the other parts stay, and null removes one. */
export function setMore(props: ViewProps, changes: Record<string, string | null>, view?: string): void {
  const parts = { ...parseAddress(location.hash).more };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete parts[name];
    else parts[name] = value;
  }
  props.navigate(view ? { view, more: parts } : { more: parts });
}
