/** Labels of runs, each as NAME=VALUE. */

import type { RunStatus } from "./shapes";

const LABEL = /^[a-z][a-z0-9._/-]{0,62}=/;

/** Return the labels of a run, sorted by name. */
export function labelsOf(run: RunStatus): string[] {
  return Object.entries(run.labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}

/** A label in a form; one without a name does not count. */
export interface LabelRow {
  name: string;
  value: string;
}

/** Return the labels of a run as rows of a form, sorted by name. */
export function rowsOf(labels: Record<string, string>): LabelRow[] {
  return Object.entries(labels)
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Return what differs between labels and the rows of a form: null removes a label. */
export function changesOf(labels: Record<string, string>, rows: readonly LabelRow[]): Record<string, string | null> {
  const found = new Map<string, string | null>(rows.filter((each) => each.name).map((each) => [each.name, each.value]));
  for (const name of Object.keys(labels)) if (!found.has(name)) found.set(name, null);
  return Object.fromEntries([...found].filter(([name, value]) => (Object.hasOwn(labels, name) ? labels[name] : null) !== value));
}

/** Return a name that two rows have, or null. */
export function repeatedName(rows: readonly LabelRow[]): string | null {
  const names = rows.map((each) => each.name).filter(Boolean);
  return names.find((each, i) => names.indexOf(each) < i) ?? null;
}

/** Whether a text is a label, with its value. */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}
