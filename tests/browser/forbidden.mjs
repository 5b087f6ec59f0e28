// A page of a site that is not allowed tries everything that a browser lets it try. All of it is refused, and nothing was
// done. Words: the host name of the site, which is another site than 127.0.0.1 or only another origin, and whether the
// daemon offers all transports.
import assert from "node:assert/strict";
import { until } from "../interop/scenario.mjs";
import { browsing } from "./lib.mjs";
import { noting } from "./noting.mjs";
import { serve } from "./site.mjs";

const HANDSHAKE = { channel: "/meta/handshake", version: "1.0", supportedConnectionTypes: ["callback-polling"] };
const PUBLISH = { channel: "/stolen", clientId: "x", data: 1 };

/** What a page tries, each with the message of a handshake; true if it got through as far as a page can tell. */
const ATTEMPTS = {
  WebSocket: (endpoint) =>
    new Promise((told) => {
      const socket = new WebSocket(endpoint.replace(/^http/, "ws"));
      socket.onopen = () => told(true);
      socket.onerror = () => told(false);
    }),
  EventSource: (endpoint) =>
    new Promise((told) => {
      const source = new EventSource(new URL("/events/**", endpoint), { withCredentials: true });
      source.onopen = () => told(true);
      source.onerror = () => told(source.readyState !== EventSource.CLOSED);
    }),
  "JSONP script": (endpoint, messages) =>
    new Promise((told) => {
      window.stolen = () => told(true);
      const script = document.createElement("script");
      script.src = `${endpoint}?message=${encodeURIComponent(messages)}&jsonp=stolen`;
      script.onload = script.onerror = () => told(false);
      document.body.append(script);
    }),
  "forever frame": (endpoint, messages) =>
    new Promise((told) => {
      window.stolen = () => told(true);
      const frame = document.createElement("iframe");
      frame.src = `${endpoint}?message=${encodeURIComponent(messages)}&iframe=stolen`;
      frame.onload = () => told(false);
      document.body.append(frame);
    }),
  "form as text/plain": (endpoint, messages) =>
    new Promise((told) => {
      const frame = document.createElement("iframe");
      frame.name = "target";
      const form = document.createElement("form");
      Object.assign(form, { method: "POST", action: endpoint, enctype: "text/plain", target: "target" });
      const field = document.createElement("input");
      Object.assign(field, { name: "message", value: messages });
      form.append(field);
      document.body.append(frame, form);
      frame.onload = () => told(false);
      form.submit();
    }),
  "fetch as text/plain": (endpoint, messages) =>
    fetch(endpoint, { method: "POST", body: messages, credentials: "include" }).then(() => true, () => false),
  "fetch without CORS": (endpoint, messages) =>
    fetch(endpoint, { method: "POST", body: messages, mode: "no-cors", credentials: "include" }).then(() => false),
  "fetch with a preflight": (endpoint, messages) =>
    fetch(endpoint, { method: "POST", body: messages, headers: { "Content-Type": "application/json" } }).then(
      () => true,
      () => false,
    ),
};

await browsing(async ({ newContext, endpoint }, host, offers) => {
  const site = await serve(endpoint);
  const context = await newContext();
  // Somebody who uses the server with this browser: the cookie is there.
  const own = await context.newPage();
  await own.goto(new URL("/", endpoint).href);
  await own.waitForSelector('#pill[data-state="connected"]');
  assert.ok((await context.cookies()).some(({ name }) => name === "BAYEUX_BROWSER"));

  const page = await context.newPage();
  await page.goto(`http://${host}:${site}/`);
  const answers = [];
  const open = `http://127.0.0.1:${await noting(endpoint, answers)}/cometd`;

  const messages = JSON.stringify([HANDSHAKE, PUBLISH]);
  for (const [name, attempt] of Object.entries(ATTEMPTS)) {
    const before = answers.length;
    assert.equal(await page.evaluate(`(${attempt})(${JSON.stringify(open)}, ${JSON.stringify(messages)})`), false, name);
    await until(`an answer to ${name}`, () => answers.length > before);
    // What is not offered at all is not found out to be another site's.
    const refused = ["JSONP script", "forever frame"].includes(name) && offers !== "all" ? [400, 403] : [403];
    const told = answers.slice(before);
    assert.ok(told.every((status) => refused.includes(status)), `${name}: ${told}`);
  }
});
