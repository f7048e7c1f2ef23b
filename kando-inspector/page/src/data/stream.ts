/** Server-sent events that resume: after a lost connection, and after the tab was hidden. */

/** How long to wait before a refused connection is tried again, at first and at most. */
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

export interface StreamOptions {
  /** Return the address, with the position from which the stream continues. */
  url(): string;
  /** Handle a message by the name of its event. */
  handlers: Record<string, (data: unknown) => void>;
  connected(isConnected: boolean): void;
}

/** Open a stream; returns a function that closes it. */
export function openStream({ url, handlers, connected }: StreamOptions): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let wait = FIRST_WAIT;

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    // Browsers open few connections to a server: a hidden tab must not keep one.
    if (document.hidden) return;
    const opened = new EventSource(url());
    source = opened;
    for (const [name, handle] of Object.entries(handlers)) {
      opened.addEventListener(name, (message) => {
        handle(JSON.parse((message as MessageEvent<string>).data));
      });
    }
    opened.onopen = () => {
      wait = FIRST_WAIT;
      connected(true);
    };
    opened.onerror = () => {
      connected(false);
      // The browser itself tries again after a lost connection, but not after a refusal.
      if (opened.readyState !== EventSource.CLOSED) return;
      timer = window.setTimeout(open, wait);
      wait = Math.min(LONGEST_WAIT, 2 * wait);
    };
  };
  const changed = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  document.addEventListener("visibilitychange", changed);
  open();
  return () => {
    document.removeEventListener("visibilitychange", changed);
    close();
  };
}
