/** Hooks that several parts of the page share. */

import type { RefObject } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { type Address, formatAddress, parseAddress } from "../address";
import type { EventIndex } from "../data/event-index";
import { SourceError } from "../data/source";

export type Navigate = (to: Partial<Address>, how?: "push" | "replace") => void;

/** Browsers refuse many changes of the address in a short time. */
const ADDRESS_DELAY = 200;

/** Put an address into that of the document; a frame without an origin can only set its fragment. */
function writeAddress(address: Address, how: "push" | "replace"): void {
  const text = formatAddress(address);
  try {
    if (how === "push") history.pushState(null, "", text);
    else history.replaceState(null, "", text);
  } catch {
    location.hash = text;
  }
}

/** Hold the state that the address names, both ways. */
export function useAddress(): [Address, Navigate] {
  const first = useRef(location.hash);
  const [address, setAddress] = useState(() => parseAddress(first.current));
  const current = useRef(address);
  const timer = useRef(0);

  useEffect(() => {
    const read = () => {
      clearTimeout(timer.current);
      current.current = parseAddress(location.hash);
      setAddress(current.current);
    };
    addEventListener("hashchange", read);
    addEventListener("popstate", read);
    // The address may have changed since the first drawing, before there was a listener.
    if (location.hash !== first.current) read();
    return () => {
      removeEventListener("hashchange", read);
      removeEventListener("popstate", read);
    };
  }, []);

  const navigate = useCallback<Navigate>((to, how = "push") => {
    const other = to.run !== undefined && to.run !== current.current.run;
    const base = other ? { run: null, at: null, view: null, event: null, more: {} } : current.current;
    current.current = { ...base, ...to };
    clearTimeout(timer.current);
    setAddress(current.current);
    if (how === "push") {
      writeAddress(current.current, "push");
      return;
    }
    timer.current = window.setTimeout(
      () => writeAddress(current.current, "replace"),
      ADDRESS_DELAY,
    );
  }, []);
  return [address, navigate];
}

export interface Loaded<T> {
  value: T | null;
  error: SourceError | null;
  isLoading: boolean;
  reload(): void;
}

/** Load a value again whenever one of `inputs` changes; the old value stays until then. */
export function useLoaded<T>(load: () => Promise<T>, inputs: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ value: T | null; error: SourceError | null }>({
    value: null,
    error: null,
  });
  const [isLoading, setLoading] = useState(true);
  const [count, setCount] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setLoading(true);
    load()
      .then((value) => isCurrent && setState({ value, error: null }))
      .catch((error: unknown) => isCurrent && setState({ value: null, error: asError(error) }))
      .finally(() => isCurrent && setLoading(false));
    return () => {
      isCurrent = false;
    };
  }, [...inputs, count]);
  const reload = useCallback(() => setCount((before) => before + 1), []);
  return { ...state, isLoading, reload };
}

/** Return an error of the source; any other error gets the code "page". */
export function asError(error: unknown): SourceError {
  if (error instanceof SourceError) return error;
  return new SourceError(error instanceof Error ? error.message : String(error), "page");
}

/** Draw again when the index changes, at most once a frame. */
export function useVersion(index: EventIndex | null): number {
  const [version, setVersion] = useState(index?.version ?? 0);
  useEffect(() => {
    if (!index) return;
    let frame = 0;
    const update = () => {
      frame = 0;
      setVersion(index.version);
    };
    update();
    const end = index.subscribe(() => {
      frame ||= requestAnimationFrame(update);
    });
    return () => {
      end();
      cancelAnimationFrame(frame);
    };
  }, [index]);
  return version;
}

/** Return the size of an element, which changes with the window. */
export function useSize(ref: RefObject<HTMLElement | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const read = () => {
      const { clientWidth: width, clientHeight: height } = element;
      setSize((old) => (old.width === width && old.height === height ? old : { width, height }));
    };
    read();
    const observer = new ResizeObserver(read);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** Return the time now, which is read again every few seconds. */
export function useNow(milliseconds = 10_000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
  return now;
}

/** Return a value of the browser's storage; the page works without a storage, too. */
export function stored(name: string): string | null {
  try {
    return localStorage.getItem(`kando.${name}`);
  } catch {
    return null;
  }
}

/** Keep a value in the browser's storage, if it has one. */
export function store(name: string, value: string): void {
  try {
    localStorage.setItem(`kando.${name}`, value);
  } catch {
    // An exported file that is opened from a disk may have no storage.
  }
}
