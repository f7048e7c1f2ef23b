/** The views of a run: each file in this folder registers one; `index.ts` imports them all. */

import type { ComponentType } from "preact";

import type { Address } from "../address";
import type { EventIndex } from "../data/event-index";
import type { RunStatus } from "../data/shapes";
import type { At, Source } from "../data/source";

export interface ViewProps {
  source: Source;
  /** Id of the run. */
  run: string;
  /** Number of the last event that counts; null if the page follows the run. */
  at: At;
  /** Number of events that count: `at`, or the length of the run. */
  end: number;
  /** State of the run at its head, never at `at`. */
  status: RunStatus;
  /** The events that are loaded so far. */
  events: EventIndex;
  /** Id of the selected event, or null. */
  event: string | null;
  /** Whether the page may act: a server, and a person with the role act. */
  canAct: boolean;
  /** Select an event: it is shown in the detail pane. */
  select(event: string | null): void;
  /** Go to another run, number of events or view; the fields that are left out stay. */
  navigate(to: Partial<Address>): void;
  /** Say a short text: shown for a moment, and read by screen readers. */
  announce(text: string): void;
}

export interface View {
  /** Its name in the address. */
  id: string;
  title: string;
  /** Place among the tabs: lower is further left. The list of events has 0. */
  order: number;
  /** Whether the tab is shown; always if omitted. */
  isShown?(status: RunStatus, source: Source): boolean;
  /** A number beside the title, such as pending approvals; none if it returns 0. */
  count?(status: RunStatus): number;
  Component: ComponentType<ViewProps>;
}

const registered = new Map<string, View>();

/** Add a view, or replace the view with the same id. */
export function register(view: View): void {
  registered.set(view.id, view);
}

/** Return the views in the order of their tabs. */
export function views(): View[] {
  return [...registered.values()].sort((a, b) => a.order - b.order);
}
