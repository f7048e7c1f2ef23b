/** The page: the list of runs, or one run. */

import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { tokenIn, withoutToken } from "../address";
import { embeddedData, EmbeddedSource } from "../data/embedded";
import { hostedData, isHosted } from "../data/host";
import { RestSource } from "../data/rest";
import type { Session } from "../data/shapes";
import type { Source, SourceError } from "../data/source";
import { RunPage } from "../run/page";
import { RunList } from "../runs/list";
import { asError, store, stored, useAddress } from "./hooks";
import { type Binding, Help, useKeys } from "./keys";
import { Announce, Problem } from "./parts";

/** How long a short text is shown. */
const SHOWN = 4000;

interface Opened {
  source: Source;
  session: Session;
}

/** Return the token in the address, which must not stay there: a person may copy the address. */
function takeToken(): string | null {
  const token = tokenIn(location.hash);
  if (token !== null) {
    history.replaceState(null, "", withoutToken(location.hash));
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
  return token;
}

/** The token that was not exchanged yet; read at once, since the address may change before the first drawing. */
let given = takeToken();

/** Open the runs in the document, that of its host, or those of the server that sent it. */
async function open(): Promise<Opened> {
  const embedded = isHosted(document) ? await hostedData() : embeddedData(document);
  if (embedded) {
    const source = new EmbeddedSource(embedded);
    return { source, session: await source.session() };
  }
  const source = new RestSource();
  given = takeToken() ?? given;
  if (given !== null) {
    await source.exchange(given);
    given = null;
  }
  return { source, session: await source.session() };
}

export function App() {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [error, setError] = useState<SourceError | null>(null);
  const start = useCallback(() => {
    setError(null);
    open().then(setOpened, (problem: unknown) => setError(asError(problem)));
  }, []);
  useEffect(start, []);
  const [said, announce] = useAnnouncements();
  return (
    <Announce.Provider value={announce}>
      {opened ? <Page {...opened} announce={announce} /> : <Opening error={error} retry={start} />}
      <div class="toast" role="status" aria-live="polite">
        {said && (
          <p key={said.number} dir="auto">
            {said.text}
          </p>
        )}
      </div>
    </Announce.Provider>
  );
}

function Opening({ error, retry }: { error: SourceError | null; retry(): void }) {
  if (!error) return <main class="opening">Loading</main>;
  return (
    <main class="opening">
      <h1>Kando</h1>
      <Problem error={error} retry={retry} />
    </main>
  );
}

function Page({ source, session, announce }: Opened & { announce(text: string): void }) {
  const [address, navigate] = useAddress();
  const [hasHelp, setHelp] = useState(false);
  const [bindings, setBindings] = useState<Binding[]>([]);
  const [theme, nextTheme] = useTheme(announce);
  const only = useOnlyRun(source);
  const run = address.run ?? only;
  const general = useMemo<Binding[]>(
    () => [
      { keys: ["?"], about: "Show this help", run: () => setHelp(true) },
      { keys: ["t"], about: "Change the colours: system, light, dark", run: nextTheme },
    ],
    [nextTheme],
  );
  useKeys(general);
  const canAct = source.isLive && session.role === "act";
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={only ? `#${encodeURIComponent(only)}` : "#"}>
          <svg aria-hidden="true" viewBox="0 0 16 16" width="18" height="18">
            <path d="M3 8 13 3M3 8l10 5" stroke="currentColor" stroke-width="1.4" />
            <circle cx="3" cy="8" r="2.4" />
            <circle cx="13" cy="3" r="2.4" />
            <circle cx="13" cy="13" r="2.4" />
          </svg>
          Kando
        </a>
        {!only && (
          <nav aria-label="Pages">
            <a href="#" aria-current={run ? undefined : "page"}>
              Runs
            </a>
          </nav>
        )}
        <div class="buttons">
          {!canAct && <span class="badge">{source.isLive ? "look only" : "exported file"}</span>}
          <button
            type="button"
            class="icon-button"
            aria-label={`Colours: ${theme}`}
            title={`Colours: ${theme} (t)`}
            onClick={nextTheme}
          >
            <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14">
              <circle cx="8" cy="8" r="5.6" fill="none" stroke="currentColor" stroke-width="1.5" />
              <path d={HALVES[theme] ?? ""} fill="currentColor" />
            </svg>
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label="Keyboard help"
            title="Keyboard help (?)"
            onClick={() => setHelp(true)}
          >
            ?
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {run ? (
          <RunPage
            key={run}
            source={source}
            address={{ ...address, run }}
            navigate={navigate}
            canAct={canAct}
            setBindings={setBindings}
          />
        ) : (
          <RunList source={source} address={address} navigate={navigate} canAct={canAct} />
        )}
      </main>
      {hasHelp && (
        <Help bindings={[...general, ...(run ? bindings : [])]} close={() => setHelp(false)} />
      )}
    </>
  );
}

/** The address holds the state of the page, so the link must not change it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** Return the run of an exported file that holds one run only. */
function useOnlyRun(source: Source): string | null {
  const [only, setOnly] = useState<string | null>(null);
  useEffect(() => {
    if (source.isLive) return;
    void source.runs().then((page) => {
      if (page.items.length === 1) setOnly(page.items[0]?.run_id ?? null);
    });
  }, [source]);
  return only;
}

function useAnnouncements(): [{ text: string; number: number } | null, (text: string) => void] {
  const [said, setSaid] = useState<{ text: string; number: number } | null>(null);
  const timer = useRef(0);
  const count = useRef(0);
  const announce = useCallback((text: string) => {
    clearTimeout(timer.current);
    setSaid({ text, number: ++count.current });
    timer.current = window.setTimeout(() => setSaid(null), SHOWN);
  }, []);
  return [said, announce];
}

const THEMES = ["system", "light", "dark"];

/** The filled part of the icon of each theme. */
const HALVES: Record<string, string> = {
  system: "M8 2.4a5.6 5.6 0 0 0 0 11.2z",
  light: "",
  dark: "M8 2.4a5.6 5.6 0 0 0 0 11.2A5.6 5.6 0 0 0 8 2.4z",
};

function useTheme(announce: (text: string) => void): [string, () => void] {
  const [theme, setTheme] = useState(() => {
    const kept = stored("theme");
    return kept && THEMES.includes(kept) ? kept : "system";
  });
  // Before the first paint, which would have the other colours.
  useLayoutEffect(() => {
    store("theme", theme);
    const system = matchMedia("(prefers-color-scheme: dark)");
    const show = () => {
      const isDark = theme === "system" ? system.matches : theme === "dark";
      document.documentElement.dataset.theme = isDark ? "dark" : "light";
    };
    show();
    system.addEventListener("change", show);
    return () => system.removeEventListener("change", show);
  }, [theme]);
  const next = useCallback(() => {
    setTheme((old) => {
      const following = THEMES[(THEMES.indexOf(old) + 1) % THEMES.length] ?? "system";
      announce(`Colours: ${following}`);
      return following;
    });
  }, [announce]);
  return [theme, next];
}
