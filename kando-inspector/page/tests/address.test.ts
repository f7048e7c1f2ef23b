import assert from "node:assert/strict";
import { test } from "node:test";

import { formatAddress, parseAddress, START, tokenIn, withoutToken } from "../src/address";

test("an address names the run, the number of events, the view and the event", () => {
  const read = parseAddress("#y38ew@120?view=world&event=object.created-2");
  assert.deepEqual(read, {
    run: "y38ew",
    at: 120,
    view: "world",
    event: "object.created-2",
    more: {},
  });
});

test("an address that is written is read as the same", () => {
  const addresses = [
    START,
    { ...START, more: { state: "waiting", q: "acme & co" } },
    { ...START, more: { label: "tenant=a & co\nteam=x=y" } },
    { ...START, run: "a/b @ c", at: 0, view: "trace", event: "x?y#z" },
    { ...START, run: "demo" },
  ];
  for (const each of addresses) assert.deepEqual(parseAddress(formatAddress(each)), each);
});

test("a malformed address is read without an error", () => {
  for (const hash of ["", "#", "#%zz@12", "#run@", "#@5", "#?", "#run@99999999999999999999"]) {
    assert.equal(parseAddress(hash).view, null);
  }
  assert.equal(parseAddress("#run@").run, "run@");
  assert.equal(parseAddress("#@5").at, null);
});

test("a token is found and taken out of the address", () => {
  assert.equal(tokenIn("#token=abc&run=y38ew"), "abc");
  assert.equal(tokenIn("#y38ew@3"), null);
  assert.equal(withoutToken("#token=abc&run=y38ew"), "#y38ew");
  assert.equal(withoutToken("#token=abc"), "#");
});
