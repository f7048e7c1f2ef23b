/** Labels of runs, each as NAME=VALUE. */

import type { RunStatus } from "./shapes";

const LABEL = /^[a-z][a-z0-9._/-]{0,62}=/;

/** Return the labels of a run, sorted by name. */
export function labelsOf(run: RunStatus): string[] {
  return Object.entries(run.labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}

/** Whether a text is a label, with its value. */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}
