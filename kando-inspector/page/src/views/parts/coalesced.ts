/** Loads of values that change quickly, such as the world while a person scrubs. */

import { useEffect, useRef, useState } from "preact/hooks";

import { SourceError } from "../../data/source";
import { asError } from "../../ui/hooks";

export interface Coalesced<T> {
  /** The value of the last load that succeeded, which may be one of older inputs. */
  value: T | null;
  error: SourceError | null;
  isLoading: boolean;
  reload(): void;
}

/**
 * Load a value again when an input changes, one load at a time: of the inputs that change during a
 * load, only the last ones are loaded.
 */
export function useCoalesced<T>(load: () => Promise<T>, inputs: readonly unknown[]): Coalesced<T> {
  const [state, setState] = useState<{ value: T | null; error: SourceError | null; isLoading: boolean }>({
    value: null,
    error: null,
    isLoading: true,
  });
  const [count, setCount] = useState(0);
  const queue = useRef({ isBusy: false, next: null as (() => Promise<T>) | null, isMounted: true });
  useEffect(() => {
    queue.current.isMounted = true;
    return () => {
      queue.current.isMounted = false;
    };
  }, []);
  useEffect(() => {
    const mine = queue.current;
    mine.next = load;
    if (mine.isBusy) return;
    mine.isBusy = true;
    const run = async (): Promise<void> => {
      while (mine.next && mine.isMounted) {
        const now = mine.next;
        mine.next = null;
        setState((old) => ({ ...old, isLoading: true }));
        try {
          const value = await now();
          if (mine.isMounted) setState({ value, error: null, isLoading: mine.next !== null });
        } catch (error) {
          if (mine.isMounted)
            setState((old) => ({
              value: mine.next ? old.value : null,
              error: asError(error),
              isLoading: mine.next !== null,
            }));
        }
      }
      mine.isBusy = false;
    };
    void run();
  }, [...inputs, count]);
  return { ...state, reload: () => setCount((before) => before + 1) };
}
