// Somebody is logged in, so to say: a page of the server's own has a session, hears everything and waits. A page of
// another site knows its client id, and tries to speak in its name or to listen, by everything that a browser does
// across sites. All of it reaches the server, none of it does anything, and the session does not notice. Words: the
// host name of the other site, which is another site than 127.0.0.1 or only another origin.
import assert from "node:assert/strict";
import { createServer } from "node:http";

import { until } from "../interop/scenario.mjs";
import { browsing } from "./lib.mjs";
import { listening, noting } from "./noting.mjs";

/** The session: shakes hands, subscribes to everything, and goes on connecting. */
async function live(endpoint) {
  const say = async (...messages) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(messages) });
    return response.json();
  };
  const [{ clientId }] = await say({ channel: "/meta/handshake", supportedConnectionTypes: ["long-polling"] });
  await say({ channel: "/meta/subscribe", clientId, subscription: "/**" });
  Object.assign(window, { say, clientId, heard: [], troubles: [], waits: 0 });
  void (async () => {
    for (;;) {
      const waited = say({ channel: "/meta/connect", clientId, connectionType: "long-polling", id: "c" });
      window.waits += 1;
      for (const message of await waited) {
        if (message.channel !== "/meta/connect") {
          window.heard.push(message);
        } else if (message.successful !== true) {
          return void window.troubles.push(message);
        }
      }
    }
  })();
  return clientId;
}

/** What the other page has at hand. */
function equip() {
  window.form = (action, enctype, fields, method = "POST") => {
    const frame = document.createElement("iframe");
    frame.name = `frame${document.querySelectorAll("iframe").length}`;
    const form = document.createElement("form");
    Object.assign(form, { method, action, enctype, target: frame.name });
    for (const [name, value] of Object.entries(fields)) {
      const field = document.createElement("input");
      Object.assign(field, { type: "hidden", name, value });
      form.append(field);
    }
    document.body.append(frame, form);
    form.submit();
  };
  window.element = (name, properties) => document.body.append(Object.assign(document.createElement(name), properties));
  window.send = (url, options) =>
    void fetch(url, { method: "POST", credentials: "include", ...options }).then(
      (response) => response.type !== "opaque" && window.read.push(url),
      () => {},
    );
  window.read = [];
  window.stolen = (...messages) => window.read.push(messages);
}

const query = (text, name) => `?message=${encodeURIComponent(text)}&${name}=stolen`;

/** Each tries to have the text taken for that session's, or to get what that session gets. */
const ATTEMPTS = {
  "form": ({ endpoint, text }) => form(endpoint, "application/x-www-form-urlencoded", { message: text }),
  "form, multipart": ({ endpoint, text }) => form(endpoint, "multipart/form-data", { message: text }),
  "form, text/plain": ({ endpoint, text }) => form(endpoint, "text/plain", { message: text }),
  // The equals sign of the form ends up within a string: JSON, if nobody asks for its type.
  "form, text/plain that is JSON": ({ endpoint, text }) =>
    form(endpoint, "text/plain", { [`${text.slice(0, -2)},"x":"`]: '"}]' }),
  "form from nowhere": ({ endpoint, text }) => {
    const page = `<form method=POST action="${endpoint}"><input name=message></form><script>
      document.forms[0][0].value = ${JSON.stringify(text)}; document.forms[0].submit()<\/script>`;
    element("iframe", { sandbox: "allow-scripts allow-forms", srcdoc: page });
  },
  "form to /publish": ({ origin }) => form(`${origin}/publish/stolen`, "text/plain", { a: "1" }),
  "fetch as text/plain": ({ endpoint, text }) => send(endpoint, { body: text }),
  "fetch as text/plain without CORS": ({ endpoint, text }) => send(endpoint, { body: text, mode: "no-cors" }),
  "fetch as a form without CORS": ({ endpoint, text }) =>
    send(endpoint, { body: new URLSearchParams({ message: text }), mode: "no-cors" }),
  "fetch without a type": ({ endpoint, text }) => send(endpoint, { body: new Blob([text]), mode: "no-cors" }),
  "fetch as JSON": ({ endpoint, text }) =>
    send(endpoint, { body: text, headers: { "Content-Type": "application/json" } }),
  "fetch without a referrer": ({ endpoint, text }) =>
    send(endpoint, { body: text, mode: "no-cors", referrerPolicy: "no-referrer" }),
  "fetch to /publish": ({ origin }) => send(`${origin}/publish/stolen`, { body: "1", mode: "no-cors" }),
  "fetch of /events": ({ origin }) => send(`${origin}/events/**`, { method: "GET" }),
  "beacon": ({ endpoint, text }) => void navigator.sendBeacon(endpoint, text),
  "beacon as a form": ({ endpoint, text }) =>
    void navigator.sendBeacon(endpoint, new URLSearchParams({ message: text })),
  "XMLHttpRequest": ({ endpoint, text }) => {
    const request = new XMLHttpRequest();
    request.withCredentials = true;
    request.onload = () => read.push("XMLHttpRequest");
    request.open("POST", endpoint);
    request.send(text);
  },
  "WebSocket": ({ endpoint, text }) => {
    const socket = new WebSocket(endpoint.replace(/^http/, "ws"));
    socket.onopen = () => socket.send(text);
    socket.onmessage = ({ data }) => read.push(data);
  },
  "EventSource of the session": ({ endpoint, id }) => {
    const source = new EventSource(`${endpoint}/${id}`, { withCredentials: true });
    source.onopen = () => read.push("EventSource");
  },
  "EventSource of /events": ({ origin }) => {
    const source = new EventSource(`${origin}/events/**`, { withCredentials: true });
    source.onopen = () => read.push("EventSource");
  },
  "script": ({ scripted }) => element("script", { src: scripted }),
  "script without a referrer": ({ scripted }) => element("script", { src: scripted, referrerPolicy: "no-referrer" }),
  "script as a module": ({ scripted }) => element("script", { src: scripted, type: "module" }),
  "script of /events": ({ origin }) => element("script", { src: `${origin}/events/**` }),
  "image": ({ scripted }) => element("img", { src: scripted }),
  "style sheet": ({ scripted }) => element("link", { rel: "stylesheet", href: scripted }),
  "object": ({ scripted }) => element("object", { data: scripted }),
  "frame": ({ framed }) => element("iframe", { src: framed }),
  "frame without a referrer": ({ framed }) => element("iframe", { src: framed, referrerPolicy: "no-referrer" }),
  "form by GET": ({ endpoint, text }) =>
    form(endpoint, "application/x-www-form-urlencoded", { message: text, jsonp: "stolen" }, "GET"),
  "window": ({ scripted }) => void window.open(scripted),
  "window without a referrer": ({ scripted }) => void window.open(scripted, "_blank", "noreferrer"),
};

/** The other site: one empty page. Returns its port. */
function serve() {
  const page = (asked, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><body>");
  return listening(createServer(page));
}

await browsing(async ({ newContext, endpoint }, host) => {
  const { origin } = new URL(endpoint);
  const context = await newContext();
  const own = await context.newPage();
  await own.goto(`${origin}/encke.js`);
  const id = await own.evaluate(live, endpoint);
  await own.waitForFunction(() => window.waits >= 2);

  const site = `http://${host}:${await serve()}/`;
  const page = await context.newPage();
  await page.goto(site);
  await page.evaluate(equip);
  const answers = [];
  const open = `http://127.0.0.1:${await noting(endpoint, answers)}`;

  const text = JSON.stringify([{ channel: "/stolen", clientId: id, data: 1 }]);
  const words = { endpoint: `${open}/cometd`, origin: open, id, text };
  for (const [name, attempt] of Object.entries(ATTEMPTS)) {
    const before = answers.length;
    // Each has a URL of its own: a script that is still on its way is not asked for again by another element.
    words.scripted = `${words.endpoint}${query(text, "jsonp")}&at=${before}`;
    words.framed = `${words.endpoint}${query(text, "iframe")}&at=${before}`;
    await page.evaluate(`(${attempt})(${JSON.stringify(words)})`);
    await until(`an answer to ${name}`, () => answers.length > before);
    const told = answers.slice(before);
    assert.ok(told.every((status) => status >= 400), `${name}: ${told}`);
    assert.deepEqual(await page.evaluate(() => window.read), [], name);
  }

  // The one whose session it is has not noticed, and can still speak and hear.
  const say = () => window.say({ channel: "/own", clientId: window.clientId, data: 2 });
  const [{ successful }] = await own.evaluate(say);
  assert.equal(successful, true);
  await own.waitForFunction(() => window.heard.length > 0);
  const { heard, troubles } = await own.evaluate(() => ({ heard: window.heard, troubles: window.troubles }));
  assert.deepEqual(heard, [{ channel: "/own", data: 2 }]);
  assert.deepEqual(troubles, []);
});
