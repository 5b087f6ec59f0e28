// The browser builds of cometd.js and of Faye, in a page of the daemon's own site or of another.
// Words: cometd or faye, its transport, `own` or `other` site, the port of the site.
import assert from "node:assert/strict";
import { connected, Raw } from "../interop/lib.mjs";
import { until } from "../interop/scenario.mjs";
import { browsing } from "./lib.mjs";
import { serve } from "./site.mjs";

const COUNT = 100;

const isConnect = (text) => text.includes('"/meta/connect"');

/** How a connect of each transport is seen on the network. */
const LOOKS = {
  "long-polling": ({ type, method, body }) => ["xhr", "fetch"].includes(type) && method === "POST" && body.startsWith("["),
  "cross-origin-long-polling": ({ type, method, body }) => type === "xhr" && method === "POST" && body.startsWith("message="),
  "callback-polling": ({ type, method, url }) => type === "script" && method === "GET" && url.searchParams.has("message"),
  eventsource: ({ type, method, body }) => type === "xhr" && method === "POST" && body.startsWith("["),
  websocket: ({ type }) => type === "frame",
};

/** Everything that a page asks for, as the browser tells it. */
function watch(page) {
  const seen = { requests: [], sockets: 0, streams: [], answers: [] };
  page.on("request", (request) => {
    const url = new URL(request.url());
    const body = request.postData() ?? "";
    const said = new URLSearchParams(body).get("message") ?? url.searchParams.get("message") ?? body;
    seen.requests.push({ type: request.resourceType(), method: request.method(), url, body, said });
  });
  page.on("requestfinished", async (request) => {
    if (["xhr", "fetch"].includes(request.resourceType())) {
      const text = await (await request.response()).text().catch(() => "");
      seen.answers.push(text);
    }
  });
  page.on("websocket", (socket) => {
    seen.sockets += 1;
    socket.on("framesent", ({ payload }) => {
      seen.requests.push({ type: "frame", method: "", url: new URL(socket.url()), body: payload, said: payload });
    });
  });
  return seen;
}

await browsing(async ({ newContext, endpoint, complaints }, library, transport, where, port) => {
  const site = await serve(endpoint, Number(port));
  const url = where === "own" ? `http://127.0.0.1:${site}/cometd` : endpoint;
  const page = await (await newContext()).newPage();
  complaints(page);
  const seen = watch(page);
  await page.goto(`http://127.0.0.1:${site}/`);
  await page.waitForFunction(() => window.libraries);
  await page.evaluate(([name, ...words]) => (window.client = window.libraries[name](...words)), [library, url, transport]);

  const client = (act, ...words) => page.evaluate(([act, words]) => window.client[act](...words), [act, words]);
  const log = () => page.evaluate(() => window.log);
  const replies = async (channel) => (await log()).messages.filter((message) => message.channel === channel);
  const holds = (count) => page.waitForFunction((count) => window.log.heard.length >= count, count);
  /** Waits for so many connects that were answered after now. */
  const goesOn = async (count) => {
    const wanted = (await replies("/meta/connect")).length + count;
    const answered = (wanted) =>
      window.log.messages.filter(({ channel }) => channel === "/meta/connect").length >= wanted;
    await page.waitForFunction(answered, wanted);
  };

  await client("open");
  await client("subscribe", "/count/*");
  await page.waitForFunction((transport) => window.log.used.at(-1) === transport, transport);
  await goesOn(1);

  // From somebody else, in order and once; and back.
  const other = await connected("cometd:websocket", endpoint);
  const expected = Array.from({ length: COUNT }, (_, n) => ({ n }));
  await Promise.all(expected.map((data) => other.publish("/count/up", data)));
  await holds(COUNT);
  const heard = [];
  await other.subscribe("/back", (data) => heard.push(data));
  await client("publish", "/back", { text: "Grüße & <b>, 100 % + 1" });
  await until("what the page says", () => heard.length > 0);
  assert.deepEqual(heard, [{ text: "Grüße & <b>, 100 % + 1" }]);

  // Nothing happens, connects end by themselves, and it goes on.
  await goesOn(2);
  const last = (await replies("/meta/connect")).slice(-2);
  assert.ok(last.every(({ successful }) => successful), JSON.stringify(last));
  await other.publish("/count/up", { n: COUNT });
  await holds(COUNT + 1);
  assert.deepEqual((await log()).heard, [...expected, { n: COUNT }]);
  const handshakes = await replies("/meta/handshake");
  assert.equal(handshakes.length, 1, "one session all the time");

  // It said that it uses that transport, and the browser saw it. Faye goes on as it shook hands until that is open, which
  // takes the longer the busier the machine is.
  const { used } = await log();
  const since = used.indexOf(transport);
  assert.ok(since === 0 || (since > 0 && library === "faye"), `it used ${used}`);
  assert.deepEqual([...new Set(used.slice(since))], [transport]);
  const endpoints = seen.requests.filter((request) => request.url.pathname.startsWith("/cometd"));
  const connects = endpoints.filter(({ said }) => isConnect(said));
  assert.ok(connects.length > 2);
  for (const connect of connects.slice(since)) {
    assert.ok(LOOKS[transport](connect), `${transport} does not look like ${JSON.stringify(connect)}`);
  }
  assert.equal(seen.sockets, transport === "websocket" ? 1 : 0);
  const streams = endpoints.filter(({ type }) => type === "eventsource");
  // A poll that was held before the stream was known to be open has ended it; the browser opens another one.
  const most = since > 1 ? 2 : 1;
  const [fewest, bound] = transport === "eventsource" ? [1, most] : [0, 0];
  assert.ok(streams.length >= fewest && streams.length <= bound, JSON.stringify(streams));
  if (["eventsource", "websocket", "callback-polling"].includes(transport)) {
    const elsewhere = seen.answers.filter((text) => text.includes('"channel":"/count/up"'));
    assert.deepEqual(elsewhere, [], "no event came another way");
  }

  await client("close");
  const raw = new Raw(endpoint);
  raw.clientId = handshakes[0].clientId;
  const [reply] = await raw.connect();
  assert.equal(reply.error, "402::session_unknown");
  const { length } = (await log()).heard;
  await other.publish("/count/up", "nobody there");
  assert.equal((await log()).heard.length, length);
});
