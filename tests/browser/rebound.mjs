// A page whose name belongs to its own site until it is loaded, and to the daemon's address from then on (DNS
// rebinding): to the browser all that it asks of the daemon is of the same origin. Only the name in `Host` tells, and
// only with `allowed-hosts`. Words: a name that is not among them, and one that is: there the same page does it all.
import assert from "node:assert/strict";
import { createServer as createSite } from "node:http";
import { connect, createServer } from "node:net";

import { browsing } from "./lib.mjs";
import { listening, noting } from "./noting.mjs";

const REFUSED = 421;

/** What the page has at hand. */
function equip() {
  const shake = { channel: "/meta/handshake", version: "1.0", supportedConnectionTypes: ["long-polling"] };
  window.text = JSON.stringify([shake]);
  window.shaken = (heard) => heard.includes('"successful":true');
  window.scripted = (name) => `/cometd?message=${encodeURIComponent(text)}&${name}=stolen`;
  window.post = async (path, body, headers) => {
    const response = await fetch(path, { method: "POST", body, headers });
    return shaken(await response.text());
  };
  /** Whether the function `stolen` is called before the element has come to its end. */
  window.called = (name, src) =>
    new Promise((done) => {
      window.stolen = (messages) => done(shaken(JSON.stringify(messages)));
      const made = Object.assign(document.createElement(name), { src });
      made.onload = made.onerror = () => done(false);
      document.body.append(made);
    });
}

/** Each tries to begin a session, or to hear of others; whether that worked. The daemon's own name is at hand. */
const ATTEMPTS = {
  "fetch": () => post("/cometd", text, { "Content-Type": "application/json" }),
  "fetch as a form": () => post("/cometd", new URLSearchParams({ message: text })),
  "fetch with the word of a proxy": (own) =>
    post("/cometd", text, { "Content-Type": "application/json", "X-Forwarded-Host": `${own}:${location.port}` }),
  "XMLHttpRequest": () =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      request.onloadend = () => done(shaken(request.responseText));
      request.open("POST", "/cometd");
      request.setRequestHeader("Content-Type", "application/json");
      request.send(text);
    }),
  "WebSocket": () =>
    new Promise((done) => {
      const socket = new WebSocket(`ws://${location.host}/cometd`);
      socket.onopen = () => socket.send(text);
      socket.onmessage = ({ data }) => done(shaken(data));
      socket.onclose = () => done(false);
    }),
  "EventSource": () =>
    new Promise((done) => {
      const source = new EventSource("/events/**");
      source.onopen = () => done(true);
      source.onerror = () => done(false);
    }),
  "JSONP": () => called("script", scripted("jsonp")),
  "forever frame": () => called("iframe", scripted("iframe")),
  "the module": () => import("/encke.js").then(() => true, () => false),
};

/** Where the names lead to: to the port that they have when a connection is first used, for some are opened in advance. */
async function naming(port) {
  const names = { port };
  const relay = createServer((client) => {
    client.on("error", () => {});
    client.once("readable", () => {
      const server = connect(names.port, "127.0.0.1");
      client.pipe(server).pipe(client);
      client.on("error", () => server.destroy());
      server.on("error", () => client.destroy());
    });
  });
  return Object.assign(names, { leadTo: await listening(relay) });
}

/** The site of the page. No connection to it is used again, so that none is left when the name leads elsewhere. */
const site = await listening(
  createSite((asked, answer) => {
    answer.writeHead(200, { "Content-Type": "text/html", "Connection": "close" }).end("<!doctype html><body>");
  }),
);
const names = await naming(site);
const flags = ["--no-proxy-server", `--host-resolver-rules=MAP *.example 127.0.0.1:${names.leadTo}`];

await browsing(async ({ newContext, endpoint }, stranger, own) => {
  const answers = [];
  const daemon = await noting(endpoint, answers);
  for (const [name, works] of [[stranger, false], [own, true]]) {
    const page = await (await newContext()).newPage();
    names.port = site;
    await page.goto(`http://${name}:${new URL(endpoint).port}/`);
    await page.evaluate(equip);
    names.port = daemon;
    for (const [attempt, act] of Object.entries(ATTEMPTS)) {
      answers.length = 0;
      assert.equal(await page.evaluate(`(${act})(${JSON.stringify(own)})`), works, `${name}: ${attempt}`);
      assert.ok(answers.length > 0, `${name}: ${attempt}`);
      assert.ok(answers.every((status) => (status === REFUSED) !== works), `${name}: ${attempt}: ${answers}`);
    }
    // By a name nobody may publish without a session, whether it is the daemon's or not.
    answers.length = 0;
    await page.evaluate(() => post("/publish/stolen", "1", { "Content-Type": "application/json" }));
    // Browsers ask once more after a 421.
    assert.deepEqual([...new Set(answers)], [works ? 403 : REFUSED], name);
  }
}, flags);
