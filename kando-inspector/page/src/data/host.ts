/** The host of an MCP App: it shows the page in a frame, and passes on the run of the tool `show_run`. */

import type { EmbeddedData } from "./embedded";
import { SourceError } from "./source";

const PROTOCOL = "2026-01-26";

interface Message {
  jsonrpc: "2.0";
  id?: number | string;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message?: string };
}

/** Return whether a host of MCP Apps shows the document. */
export function isHosted(document: Document): boolean {
  return document.querySelector('meta[name="kando-host"][content="mcp"]') !== null && window.parent !== window;
}

/** Return the run that the host shows: the one that the call of the tool names. */
export async function hostedData(): Promise<EmbeddedData> {
  const host = connect();
  const named = new Promise<string>((resolve) => {
    host.heard = ({ method, params }) => {
      if (method !== "ui/notifications/tool-input" && method !== "ui/notifications/tool-result") return;
      const given = (params?.["arguments"] ?? params?.["structuredContent"]) as { run_id?: unknown } | undefined;
      if (typeof given?.run_id === "string") resolve(given.run_id);
    };
  });
  await host.ask("ui/initialize", {
    protocolVersion: PROTOCOL,
    appInfo: { name: "kando-inspector", version: "1" },
    appCapabilities: {},
  });
  host.tell("ui/notifications/initialized", {});
  host.tell("ui/notifications/size-changed", { height: 720 });
  const uri = `kando://runs/${encodeURIComponent(await named)}/page`;
  const read = await host.ask("resources/read", { uri });
  const [first] = (read["contents"] ?? []) as { text?: string }[];
  if (!first?.text) throw new SourceError("The host returned no run.", "not_found");
  return JSON.parse(first.text) as EmbeddedData;
}

interface Host {
  /** Called with each notification of the host. */
  heard(message: Message): void;
  ask(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>>;
  tell(method: string, params: Record<string, unknown>): void;
}

function connect(): Host {
  const waiting = new Map<number, { resolve(result: Record<string, unknown>): void; reject(error: SourceError): void }>();
  let last = 0;
  // The origin of a host is not known to its apps.
  const send = (message: Message) => window.parent.postMessage(message, "*");
  const host: Host = {
    heard: () => {},
    ask: (method, params) =>
      new Promise((resolve, reject) => {
        waiting.set(++last, { resolve, reject });
        send({ jsonrpc: "2.0", id: last, method, params });
      }),
    tell: (method, params) => send({ jsonrpc: "2.0", method, params }),
  };
  window.addEventListener("message", (event: MessageEvent<Message>) => {
    const message = event.data;
    if (event.source !== window.parent || message?.jsonrpc !== "2.0") return;
    if (message.method !== undefined) {
      if (message.id !== undefined) send({ jsonrpc: "2.0", id: message.id, result: {} });
      else host.heard(message);
      return;
    }
    const asked = waiting.get(Number(message.id));
    waiting.delete(Number(message.id));
    if (message.error) asked?.reject(new SourceError(message.error.message ?? "The host refused.", "host"));
    else asked?.resolve(message.result ?? {});
  });
  return host;
}
