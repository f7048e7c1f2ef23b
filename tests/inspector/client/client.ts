// A program with the generated client: every request and result is checked by the compiler.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Event = components["schemas"]["Event"];

const [base = "", token = "", run = ""] = process.argv.slice(2);
const client = createClient<paths>({
  baseUrl: base,
  headers: { authorization: `Bearer ${token}` },
});

async function allEvents(): Promise<Event[]> {
  const found: Event[] = [];
  let cursor: string | undefined;
  do {
    const { data, error } = await client.GET("/api/v1/runs/{run}/events", {
      params: { path: { run }, query: { limit: 3, ...(cursor ? { cursor } : {}) } },
    });
    if (error) throw new Error(`${error.code}: ${error.detail}`);
    found.push(...data.items);
    cursor = data.next ?? undefined;
  } while (cursor);
  return found;
}

const session = await client.GET("/api/v1/session");
const world = await client.GET("/api/v1/runs/{run}/world", {
  params: { path: { run }, query: { at: 3 } },
});
const city = await client.GET("/api/v1/runs/{run}/objects/{object}", {
  params: { path: { run, object: "city/bern" } },
});
const missing = await client.GET("/api/v1/runs/{run}/metrics", {
  params: { path: { run: "none" } },
});

console.log(
  JSON.stringify({
    role: session.data?.role,
    events: (await allEvents()).map((event) => event.id),
    objects: world.data?.objects.map((object) => object.id),
    city: city.data?.data["name"],
    missing: missing.error?.code,
  }),
);
