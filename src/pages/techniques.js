// Every way that the web has had of pushing, live against this server, over the same events.
//
// What happens on a card is written to its Trace; a technique is a function that runs until its signal says stop, and
// throws when it cannot go on. Cards start, stop and show that; nothing runs or draws while the page is hidden.
import { Client } from "/encke.js";

const MOUNT = document.body.dataset.mount;
const $ = (id) => document.getElementById(id);

const random = (count) => Array.from(crypto.getRandomValues(new Uint32Array(count)), (word) => word.toString(36));
/** This page's own, so that two of them do not hear each other. */
const CHANNEL = `/techniques/${random(2).join("")}`;
const TICK_MS = 1_000;

// ---- Accounting: what a card's technique has sent and received.

const LATENCIES = 100;
const WINDOW_MS = 12_000;

class Trace {
  /** Requests that the timeline may show: `{ side, sent, ended, useful, failed }`. */
  requests = [];
  /** Events that the timeline may show: `{ published, arrived }`. */
  events = [];
  #seen = new Set();
  #latencies = [];
  #floor;

  constructor(onChange) {
    this.onChange = onChange;
    this.reset();
  }

  /** Counts from nothing; events up to this number came before. */
  reset(floor = 0) {
    this.#floor = floor;
    this.total = { requests: 0, events: 0, expected: 0, repeated: 0, up: 0, down: 0 };
    this.#latencies = [];
    this.#seen.clear();
    this.onChange();
  }

  /** A request leaves. One on the side only serves another: it subscribes, or confirms. */
  send(bytes, side = false) {
    const request = { side, sent: performance.now(), ended: undefined, useful: side, failed: false };
    this.total.requests += 1;
    this.requests.push(request);
    this.up(bytes);
    return request;
  }

  end(request, failed = false) {
    request.ended ??= performance.now();
    request.failed ||= failed;
    this.onChange();
  }

  up(bytes) {
    this.total.up += bytes;
    this.onChange();
  }

  down(bytes) {
    this.total.down += bytes;
    this.onChange();
  }

  /** An event has come over this request. */
  arrive(request, { n, at }) {
    request.useful = true;
    if (n <= this.#floor) {
      return;
    }
    if (this.#seen.has(n)) {
      this.total.repeated += 1;
      return this.onChange();
    }
    this.#seen.add(n);
    const arrived = performance.now();
    this.total.events += 1;
    this.events.push({ published: at, arrived });
    this.#latencies.push(arrived - at);
    this.#latencies.splice(0, this.#latencies.length - LATENCIES);
    this.onChange();
  }

  /** The median. */
  get latency() {
    return [...this.#latencies].sort((a, b) => a - b)[Math.floor(this.#latencies.length / 2)];
  }

  /** Drops what no timeline shows any more. */
  forget(now) {
    const since = now - WINDOW_MS - 1_000;
    const gone = ({ ended, arrived }) => (ended ?? arrived) < since;
    for (const list of [this.requests, this.events]) {
      while (list.length && gone(list[0])) {
        list.shift();
      }
    }
  }

  /** All that was open is so no more. */
  close() {
    this.requests.forEach((request) => this.end(request));
  }
}

// ---- Sizes. A script cannot see what a browser sends; this is what it knows of it.

const sizeOf = (text) => new TextEncoder().encode(text).length;
/** A head of these lines. */
const headSize = (lines) => sizeOf(lines.join("\r\n")) + 4;

/** About the bytes of a request's head. */
function requestHead(method, path, { accept = "*/*", more = [], dest = "empty", cookie = false }) {
  const mode = { script: "no-cors", iframe: "navigate" }[dest] ?? "cors";
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${location.host}`,
    "Connection: keep-alive",
    `User-Agent: ${navigator.userAgent}`,
    `Accept: ${accept}`,
    "Accept-Encoding: gzip, deflate, br, zstd",
    `Accept-Language: ${navigator.languages.join(",")};q=0.9`,
    ...more,
  ];
  if (dest !== "websocket") {
    lines.push(`Referer: ${location.href}`);
    lines.push("Sec-Fetch-Site: same-origin", `Sec-Fetch-Mode: ${mode}`, `Sec-Fetch-Dest: ${dest}`);
    if (navigator.userAgentData) {
      const { brands, mobile, platform } = navigator.userAgentData;
      const list = brands.map(({ brand, version }) => `"${brand}";v="${version}"`).join(", ");
      lines.push(`sec-ch-ua: ${list}`, `sec-ch-ua-mobile: ?${+mobile}`, `sec-ch-ua-platform: "${platform}"`);
    }
  }
  if (cookie) {
    lines.push("Cookie: BAYEUX_BROWSER=0123456789abcdefghijklmnop");
  }
  return headSize(lines);
}

/** The bytes of a response's head: exact where a script may read it, but for cookies. */
function responseHead(response) {
  const lines = [...response.headers].map(([name, value]) => `${name}: ${value}\r\n`);
  const unseen = response.body && !response.headers.has("content-length") ? "Transfer-Encoding: chunked\r\n".length : 0;
  return sizeOf(`HTTP/1.1 ${response.status} ${response.statusText}\r\n${lines.join("")}\r\n`) + unseen;
}

/** About the bytes of a response's head that no script may read. */
function unreadHead(type, ...more) {
  const fields = ["Cache-Control: no-store", `Content-Type: ${type};charset=UTF-8`, "X-Content-Type-Options: nosniff"];
  return headSize(["HTTP/1.1 200 OK", `Date: ${new Date().toUTCString()}`, ...fields, ...more]);
}

const STREAMED = ["Transfer-Encoding: chunked", "X-Accel-Buffering: no"];
/** With its length before it and the line's end behind. */
const chunkSize = (bytes) => bytes + bytes.toString(16).length + 4;
/** A WebSocket frame: what the server sends is not masked. */
const frameSize = (bytes, mask) => bytes + (bytes < 126 ? 2 : bytes < 65_536 ? 4 : 10) + (mask ? 4 : 0);

// ---- What techniques share.

/** A failure that is told on the card. */
class Problem extends Error {}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * Half of the techniques send no cookies: browsers keep a second set of six connections for such requests, and without
 * it those that wait would leave none to the others. Where the server insists on its cookie, they do send it.
 */
let apart = "omit";

async function ask(trace, signal, { messages, path = MOUNT, accept, credentials = apart, side }) {
  const body = messages && JSON.stringify(messages);
  const method = body ? "POST" : "GET";
  const headers = { ...(accept && { Accept: accept }), ...(body && { "Content-Type": "application/json" }) };
  const more = body
    ? ["Content-Type: application/json", `Content-Length: ${sizeOf(body)}`, `Origin: ${location.origin}`]
    : [];
  const head = requestHead(method, path, { accept, more, cookie: credentials !== "omit" });
  const request = trace.send(head + sizeOf(body ?? ""), side);
  try {
    const response = await fetch(path, { method, body, headers, signal, credentials });
    trace.down(responseHead(response));
    if (!response.ok) {
      throw new Problem(await refusalOf(response));
    }
    return { request, response };
  } catch (error) {
    trace.end(request, true);
    throw error instanceof Problem || signal.aborted ? error : new Problem("The server does not answer.");
  }
}

async function refusalOf(response) {
  const text = await response.text();
  return `The server says ${response.status}: ${text.length < 500 && !text.includes("<") ? text.trim() : "no more"}`;
}

/** A POST with messages, and the messages of its answer. */
async function post(trace, signal, messages, options) {
  const { request, response } = await ask(trace, signal, { messages, ...options });
  try {
    const text = await response.text();
    trace.down(sizeOf(text));
    return hear(trace, request, JSON.parse(text));
  } finally {
    trace.end(request);
  }
}

/** The text of a response, as it comes. */
async function* pieces(trace, { request, response }) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      trace.down(response.headers.has("content-length") ? value.length : chunkSize(value.length));
      yield decoder.decode(value, { stream: true });
    }
  } catch {
    throw new Problem("The stream broke off.");
  } finally {
    trace.end(request);
  }
}

/** The whole parts of a text that comes in pieces. */
async function* split(texts, separator) {
  let rest = "";
  for await (const text of texts) {
    const parts = (rest + text).split(separator);
    rest = parts.pop();
    yield* parts;
  }
}

const isEvent = ({ channel, data }) => channel === CHANNEL && data !== undefined;

/** Takes the events out of what came over a request; returns the rest. */
function hear(trace, request, messages) {
  messages.filter(isEvent).forEach(({ data }) => trace.arrive(request, data));
  return messages.filter((message) => !isEvent(message));
}

function granted(reply) {
  if (!reply?.successful) {
    throw Object.assign(new Problem(reply?.error ?? "The answer has no reply."), { reply });
  }
  return reply;
}

const HANDSHAKE = {
  channel: "/meta/handshake",
  version: "1.0",
  // Any that the server offers will do: what this page uses is up to each connect.
  supportedConnectionTypes:
    "websocket streaming eventsource long-polling cross-origin-long-polling callback-polling iframe".split(" "),
};
const SUBSCRIBE = { channel: "/meta/subscribe", subscription: CHANNEL };

/** A Bayeux session that is subscribed; `tell` sends messages and resolves with the replies. */
class Session {
  static async open(tell) {
    const session = new Session();
    session.tell = (message) => tell([{ ...message, clientId: session.clientId }]);
    const [shaken] = await tell([HANDSHAKE]);
    session.clientId = granted(shaken).clientId;
    const [subscribed] = await session.tell(SUBSCRIBE);
    granted(subscribed);
    return session;
  }

  /** Over requests without cookies, or with them where it has to be. */
  static async apart(trace, signal) {
    const tell = (messages) => post(trace, signal, messages, { side: messages[0].channel !== "/meta/connect" });
    try {
      return leaveAtEnd(await Session.open(tell), signal);
    } catch (error) {
      if (apart === "omit" && /session_unknown/.test(error.message)) {
        apart = "same-origin";
        return leaveAtEnd(await Session.open(tell), signal);
      }
      throw error;
    }
  }

  async connect(more) {
    const replies = await this.tell({ channel: "/meta/connect", connectionType: "long-polling", ...more });
    return granted(replies.find(({ channel }) => channel === "/meta/connect"));
  }

  message(more) {
    return { clientId: this.clientId, ...more };
  }
}

/** When the technique stops, the server is told, so that nothing of it lasts. */
function leaveAtEnd(session, signal, credentials = apart) {
  const leave = () => {
    const body = JSON.stringify([session.message({ channel: "/meta/disconnect" })]);
    const headers = { "Content-Type": "application/json" };
    fetch(MOUNT, { method: "POST", body, headers, credentials, keepalive: true }).catch(() => {});
  };
  signal.addEventListener("abort", leave, { once: true });
  return session;
}

/** How long the server wants the client to wait; it says so when too many tabs of one browser wait at once. */
const intervalOf = ({ advice }, former = 0) => advice?.interval ?? former;

/** Sessions with cookies begin one after the other: each is bound to the cookie, and the first one brings it. */
let turn = Promise.resolve();
function inTurn(begin) {
  const mine = turn.then(begin);
  turn = mine.catch(() => {});
  return mine;
}

const PROBE = "/service/probe";

/** The number that the server wants to see again, if it asks in these messages. */
const probeIn = (messages) => messages.find(({ channel, data }) => channel === PROBE && data?.probe)?.data.probe;

/** Says that a stream gets through. */
async function confirm(session, number) {
  const [reply] = await session.tell({ channel: PROBE, data: {}, ext: { probe: number } });
  granted(reply);
}

/** What the last message of a stream means; returns how long to wait before the next one. */
function finished(reply, unsure) {
  if (!reply) {
    throw new Problem("The stream broke off.");
  }
  if (granted(reply).advice?.["connection-type"]) {
    throw new Problem("The probe took too long: a proxy holds the stream back, or other tabs hold all connections.");
  }
  if (reply.advice?.["multiple-clients"]) {
    unsure("Other tabs of this browser hold as many connections as the server allows it.");
  }
  return intervalOf(reply);
}

const CANNOT_STREAM = "This browser’s fetch does not hand out a response before it is complete.";
const readsStreams = () => typeof globalThis.ReadableStream === "function" && "body" in Response.prototype;
/** Tells when the server does not answer the publisher. */
const outages = new EventTarget();
const callbacks = (globalThis.encke = {});
let lastCallback = 0;

const query = (messages) => `message=${encodeURIComponent(JSON.stringify(messages))}`;

/** Why a request failed that no script can look into: the same again, as one that can. */
async function explain(path, signal) {
  const response = await fetch(path, { signal }).catch(() => undefined);
  throw new Problem(response ? await refusalOf(response) : "The server does not answer.");
}

// ---- The techniques. `run(trace, signal, live, unsure)` calls `live` when an event would arrive, and `unsure` when
// none would for a while. `missing` says what the browser lacks.

const TECHNIQUES = {};

TECHNIQUES.intervalPolling = {
  async run(trace, signal, live) {
    const session = await Session.apart(trace, signal);
    live();
    for (;;) {
      await session.connect({ advice: { timeout: 0 } });
      await pause(TICK_MS, signal);
    }
  },
};

TECHNIQUES.longPolling = {
  async run(trace, signal, live) {
    const session = await Session.apart(trace, signal);
    live();
    await pollOn(session, signal);
  },
};

/** Each answer makes the next request. */
async function pollOn(session, signal, more) {
  for (let interval = 0; ; ) {
    interval = intervalOf(await session.connect(more), interval);
    await pause(interval, signal);
  }
}

TECHNIQUES.callbackPolling = {
  async run(trace, signal, live) {
    const tell = (messages) => callByScript(trace, signal, messages);
    const session = await inTurn(() => Session.open(tell));
    leaveAtEnd(session, signal, "same-origin");
    live();
    await pollOn(session, signal, { connectionType: "callback-polling" });
  },
};

/** A request as a script element: its answer is a call with the messages. */
async function callByScript(trace, signal, messages) {
  signal.throwIfAborted();
  const name = `call${(lastCallback += 1)}`;
  const path = `${MOUNT}?jsonp=encke.${name}&${query(messages)}`;
  const side = messages[0].channel !== "/meta/connect";
  const request = trace.send(requestHead("GET", path, { dest: "script", cookie: true }), side);
  const script = document.createElement("script");
  const answers = await new Promise((resolve) => {
    callbacks[name] = resolve;
    script.onload = script.onerror = () => resolve();
    // Nothing can cancel it: a script that is under way comes, and is called in vain.
    signal.addEventListener("abort", () => resolve(), { once: true });
    script.src = path;
    document.head.append(script);
  });
  delete callbacks[name];
  script.remove();
  trace.end(request, !answers);
  if (signal.aborted) {
    callbacks[name] = () => delete callbacks[name];
    throw signal.reason;
  }
  if (!answers) {
    return explain(`${MOUNT}?jsonp=encke.x&message=%5B%5D`, signal);
  }
  const body = sizeOf(`/**/encke.${name}(${JSON.stringify(answers)});`);
  const disposition = "Content-Disposition: attachment; filename=f.txt";
  trace.down(unreadHead("text/javascript", disposition, `Content-Length: ${body}`) + body);
  return hear(trace, request, answers);
}

TECHNIQUES.multipart = {
  missing: () => !readsStreams() && CANNOT_STREAM,
  async run(trace, signal, live) {
    for (;;) {
      const stream = await ask(trace, signal, { path: `/events${CHANNEL}`, accept: "multipart/x-mixed-replace" });
      const boundary = /boundary="?([^";]+)/.exec(stream.response.headers.get("Content-Type"))?.[1];
      if (!boundary) {
        throw new Problem("This browser does not say how the parts are kept apart.");
      }
      live();
      for await (const part of split(pieces(trace, stream), `--${boundary}\r\n`)) {
        const [, body] = part.split("\r\n\r\n");
        if (body) {
          hear(trace, stream.request, [JSON.parse(body)]);
        }
      }
      await pause(0, signal);
    }
  },
};

TECHNIQUES.streaming = {
  missing: () => !readsStreams() && CANNOT_STREAM,
  async run(trace, signal, live, unsure) {
    const session = await Session.apart(trace, signal);
    const connect = session.message({ channel: "/meta/connect", connectionType: "streaming" });
    for (;;) {
      const stream = await ask(trace, signal, { messages: [connect] });
      let last;
      for await (const line of split(pieces(trace, stream), "\n")) {
        const messages = line ? hear(trace, stream.request, JSON.parse(line)) : [];
        last = messages.find(({ channel }) => channel === "/meta/connect") ?? last;
        const probe = probeIn(messages);
        if (probe) {
          await confirm(session, probe);
          live();
        }
      }
      await pause(finished(last, unsure), signal);
    }
  },
};

TECHNIQUES.foreverFrame = {
  async run(trace, signal, live, unsure) {
    const cookies = { credentials: "same-origin", side: true };
    const tell = (messages) => post(trace, signal, messages, cookies);
    const session = await inTurn(() => Session.open(tell));
    leaveAtEnd(session, signal, "same-origin");
    for (;;) {
      const last = await loadFrame(trace, signal, session, live);
      await pause(finished(last, unsure), signal);
    }
  },
};

/** A page without an end in a hidden frame; resolves with the connect's reply, or nothing, when it ends after all. */
async function loadFrame(trace, signal, session, live) {
  signal.throwIfAborted();
  const name = `frame${(lastCallback += 1)}`;
  const messages = [session.message({ channel: "/meta/connect", connectionType: "iframe" })];
  const path = `${MOUNT}?iframe=encke.${name}&${query(messages)}`;
  const accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
  const more = ["Upgrade-Insecure-Requests: 1"];
  const request = trace.send(requestHead("GET", path, { accept, more, dest: "iframe", cookie: true }));
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "Forever frame";
  const OPENING = chunkSize(2_048 + "<!doctype html><title>encke</title><body>\n".length);
  let opened = false;
  let last;
  try {
    await new Promise((resolve, reject) => {
      callbacks[name] = (come) => {
        if (!opened) {
          opened = true;
          trace.down(unreadHead("text/html", ...STREAMED) + OPENING);
        }
        trace.down(chunkSize(sizeOf(`<script>parent.encke.${name}(${JSON.stringify(come)});</script>\n`)));
        const rest = hear(trace, request, come);
        last = rest.find(({ channel }) => channel === "/meta/connect") ?? last;
        const probe = probeIn(rest);
        if (probe) {
          confirm(session, probe).then(live, reject);
        }
      };
      frame.onload = resolve;
      // When its connection breaks, nobody is told. The publisher's most likely breaks with it.
      outages.addEventListener("outage", resolve, { once: true, signal });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      frame.src = path;
      document.body.append(frame);
    });
  } finally {
    trace.end(request, !opened);
    delete callbacks[name];
    frame.remove();
  }
  return opened || signal.aborted ? last : explain(`${MOUNT}?iframe=encke.x&message=%5B%5D`, signal);
}

TECHNIQUES.eventSource = {
  missing: () => typeof globalThis.EventSource !== "function" && "This browser has no EventSource.",
  async run(trace, signal, live, unsure) {
    const path = `/events${CHANNEL}`;
    const more = ["Cache-Control: no-cache"];
    const head = requestHead("GET", path, { accept: "text/event-stream", more, cookie: true });
    const source = new EventSource(path);
    let request = trace.send(head);
    try {
      await new Promise((resolve, reject) => {
        source.onopen = () => {
          if (request.ended) {
            request = trace.send(head); // It has opened it again by itself.
          }
          trace.down(unreadHead("text/event-stream", ...STREAMED) + chunkSize("retry: 5000\n\n".length));
          live();
        };
        source.onerror = () => {
          trace.end(request);
          if (source.readyState === EventSource.CLOSED) {
            explain(path, AbortSignal.timeout(1_000)).catch(reject);
          }
          unsure("It opens itself again soon.");
        };
        source.addEventListener(CHANNEL, ({ data }) => {
          trace.down(chunkSize(sizeOf(`event: ${CHANNEL}\ndata: ${data}\n\n`)));
          trace.arrive(request, JSON.parse(data));
        });
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    } finally {
      source.close();
      trace.end(request);
    }
  },
};

TECHNIQUES.webSocket = {
  missing: () => typeof globalThis.WebSocket !== "function" && "This browser has no WebSocket.",
  async run(trace, signal, live) {
    const url = new URL(MOUNT, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const upgrade = [
      "Upgrade: websocket",
      `Origin: ${location.origin}`,
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: 0123456789abcdef012345==",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ];
    const accepted = [
      `Date: ${new Date().toUTCString()}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Accept: 0123456789abcdef012345678901",
      "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ];
    const request = trace.send(requestHead("GET", MOUNT, { more: upgrade, dest: "websocket", cookie: true }));
    const socket = new WebSocket(url);
    let clientId;
    const say = (message) => {
      const text = JSON.stringify([{ ...message, clientId }]);
      trace.up(frameSize(sizeOf(text), true));
      socket.send(text);
    };
    const connect = () => say({ channel: "/meta/connect", connectionType: "websocket" });
    const answer = {
      "/meta/handshake": (reply) => {
        ({ clientId } = granted(reply));
        say(SUBSCRIBE);
        connect();
      },
      "/meta/subscribe": (reply) => granted(reply) && live(),
      "/meta/connect": (reply) => granted(reply) && setTimeout(connect, intervalOf(reply)),
    };
    try {
      await new Promise((resolve, reject) => {
        socket.onopen = () => {
          trace.down(headSize(["HTTP/1.1 101 Switching Protocols", ...accepted]));
          say(HANDSHAKE);
        };
        socket.onmessage = ({ data }) => {
          trace.down(frameSize(sizeOf(data), false));
          try {
            hear(trace, request, JSON.parse(data)).forEach((message) => answer[message.channel]?.(message));
          } catch (error) {
            reject(error);
          }
        };
        socket.onclose = ({ code, reason }) => {
          const why = code === 1006 ? "It was refused, or broke off." : `It was closed: ${code} ${reason}`;
          reject(new Problem(why));
        };
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    } finally {
      answer["/meta/connect"] = () => {};
      if (socket.readyState === WebSocket.OPEN && clientId) {
        socket.send(JSON.stringify([{ channel: "/meta/disconnect", clientId }]));
      }
      socket.onclose = null;
      socket.close();
      trace.end(request, !clientId);
    }
  },
};

// ---- Timelines: requests as bars from sent to answered, events as dots on them, the same seconds on all.

/** When what was published, for all timelines. */
const published = [];
const style = {};
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function readStyle() {
  const forced = matchMedia("(forced-colors: active)").matches;
  const values = getComputedStyle(document.documentElement);
  const system = { soft: "CanvasText", line: "GrayText", dust: "CanvasText" };
  for (const name of ["soft", "line", "ion-near", "dust-near", "dust"]) {
    style[name] = forced ? (system[name] ?? "Highlight") : values.getPropertyValue(`--${name}`).trim();
  }
  style.font = `11px ${values.getPropertyValue("--sans")}`;
}

/** A colour of the style sheet, with this opacity; system colours have none. */
const faded = (colour, alpha) => (/^#.{6}$/.test(colour) ? colour + alpha : colour);

class Timeline {
  static all = [];
  static #sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      target.timeline.#fit(contentRect);
    }
  });
  static #sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.timeline.visible = isIntersecting;
    }
  });
  /** The time at the right edge. It stands still while nothing runs. */
  static now = performance.now();

  constructor(canvas, trace) {
    Object.assign(this, { canvas, trace, visible: false, width: 0, height: 0 });
    this.context = canvas.getContext("2d");
    canvas.timeline = this;
    Timeline.all.push(this);
    Timeline.#sizes.observe(canvas);
    Timeline.#sight.observe(canvas);
  }

  #fit({ width, height }) {
    const scale = devicePixelRatio || 1;
    Object.assign(this, { width, height, scale });
    [this.canvas.width, this.canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    this.draw(Timeline.now);
  }

  draw(now) {
    const { context: c, width, height, trace } = this;
    if (!width) {
      return;
    }
    const tall = height > 50;
    // Room for half of what happens now.
    const end = width - (tall ? 16 : 8);
    const x = (time) => end - ((now - time) / WINDOW_MS) * end;
    const seen = (time) => time > now - WINDOW_MS - 500;
    const [top, bar] = tall ? [14, 22] : [5, height - 10];
    const middle = top + bar / 2;
    c.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    c.clearRect(0, 0, width, height);
    this.#grid(c, x, now, tall);

    for (const request of trace.requests) {
      if (request.side && tall) {
        this.#bar(c, x, now, request, top + bar + 6, 6);
      } else if (!request.side) {
        this.#bar(c, x, now, request, top, bar);
      }
    }

    c.strokeStyle = style.dust;
    c.lineWidth = 1.5;
    c.setLineDash([3, 3]);
    c.beginPath();
    for (const time of published.filter(seen)) {
      c.moveTo(x(time), 0);
      c.lineTo(x(time), tall ? height - 16 : height);
    }
    c.stroke();
    c.setLineDash([]);

    const radius = tall ? 5 : 4;
    for (const event of trace.events) {
      if (seen(event.arrived)) {
        c.fillStyle = style["dust-near"];
        c.strokeStyle = style.dust;
        c.lineWidth = 2;
        c.beginPath();
        c.moveTo(x(event.published), middle);
        c.lineTo(x(event.arrived), middle);
        c.stroke();
        c.lineWidth = 1.5;
        c.beginPath();
        c.arc(x(event.arrived), middle, radius, 0, 2 * Math.PI);
        c.fill();
        c.stroke();
      }
    }
  }

  #grid(c, x, now, tall) {
    c.strokeStyle = style.line;
    c.lineWidth = 1;
    c.beginPath();
    for (let ago = 0; ago < WINDOW_MS; ago += 1_000) {
      c.moveTo(x(now - ago), 0);
      c.lineTo(x(now - ago), tall ? this.height - 16 : this.height);
    }
    c.stroke();
    if (tall) {
      c.fillStyle = style.soft;
      c.font = style.font;
      c.textAlign = "center";
      for (const seconds of [10, 5, 0]) {
        c.fillText(seconds ? `${seconds} s ago` : "now", x(now - seconds * 1_000), this.height - 5);
      }
    }
  }

  /** A tail that grows brighter towards its head, as a comet's; one that brought nothing is grey. */
  #bar(c, x, now, { side, sent, ended, useful, failed }, top, height) {
    const [from, to] = [Math.max(x(sent), -20), x(ended ?? now)];
    if (to < -5) {
      return;
    }
    const colour = failed ? style.dust : useful || !ended ? style["ion-near"] : style.soft;
    c.fillStyle = colour;
    if (to - from < 4) {
      return c.fillRect(from, top, Math.max(to - from, side ? 2 : 3), height);
    }
    const gradient = c.createLinearGradient(from, 0, to, 0);
    gradient.addColorStop(0, faded(colour, "14"));
    gradient.addColorStop(1, faded(colour, "8c"));
    c.fillStyle = gradient;
    c.fillRect(from, top, to - from, height);
    c.fillStyle = colour;
    c.fillRect(from, top, 2, height);
    if (ended) {
      c.fillRect(to - 3, top, 3, height);
    }
  }

  static #drawn = 0;
  static #frame;

  /** Draws for as long as something runs and the page is seen. */
  static go() {
    Timeline.#frame ??= requestAnimationFrame(Timeline.#step);
  }

  static #step(now) {
    Timeline.#frame = undefined;
    if (document.hidden || !cards.some(({ runs }) => runs)) {
      return;
    }
    // Thirty times a second is smooth; for whoever wants no motion, it steps.
    if (now - Timeline.#drawn >= (calm.matches ? 1_000 : 30)) {
      Timeline.#drawn = now;
      Timeline.redraw(performance.now());
    }
    Timeline.go();
  }

  static #whole = 0;

  /** Those out of sight are drawn once a second, to have something to show when they come into it. */
  static redraw(now) {
    const whole = now - Timeline.#whole >= 1_000;
    Timeline.#whole = whole ? now : Timeline.#whole;
    Timeline.now = now;
    while (published[0] < now - WINDOW_MS - 1_000) {
      published.shift();
    }
    cards.forEach(({ trace }) => trace.forget(now));
    Timeline.all.filter(({ visible }) => visible || whole).forEach((timeline) => timeline.draw(now));
  }
}

// ---- Cards.

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...inside);
  return element;
}

const withUnit = (element, number, unit) => element.replaceChildren(number, make("small", "", ` ${unit}`));

function showBytes(element, bytes, about = "≈ ") {
  if (!Number.isFinite(bytes)) {
    return element.replaceChildren("–");
  }
  const [number, unit] =
    bytes < 1_000 ? [Math.round(bytes), "B"] : bytes < 999_500 ? [bytes / 1_000, "kB"] : [bytes / 1e6, "MB"];
  const digits = unit === "B" || number >= 99.5 ? 0 : 1;
  element.replaceChildren(make("small", "", about), number.toFixed(digits), make("small", "", ` ${unit}`));
}

function showTime(element, ms) {
  if (ms === undefined) {
    return element.replaceChildren("–");
  }
  withUnit(element, ms < 10 ? ms.toFixed(1) : Math.round(ms), "ms");
}

const WORDS = {
  off: "stopped",
  starting: "starting",
  live: "live",
  trouble: "tries again",
  missing: "not in this browser",
};
/** The pauses before another try; after a run that was longer than the longest, they begin anew. */
const RETRY_MS = { first: 500, most: 16_000 };

class Card {
  runs = false;
  state = "off";
  #abort;

  constructor(article) {
    this.article = article;
    this.technique = TECHNIQUES[article.dataset.technique];
    this.name = article.querySelector("h2").textContent;
    this.trace = new Trace(() => this.#touch());
    article.append($("gauges").content.cloneNode(true));
    this.pill = make("span", "pill", make("i", ""), make("span", ""));
    this.button = make("button", "quiet", "Start");
    this.button.type = "button";
    this.button.addEventListener("click", () => (this.runs ? this.stop() : this.start()));
    article.querySelector("header").append(this.pill, this.button);
    new Timeline(article.querySelector("canvas"), this.trace);
    this.row = this.#makeRow();
    this.missing = this.technique.missing?.() || "";
    this.button.disabled = Boolean(this.missing);
    this.#become(this.missing ? "missing" : "off", this.missing);
  }

  #makeRow() {
    const link = make("a", "", this.name);
    link.href = `#${this.article.id}`;
    const name = make("th", "", link);
    name.scope = "row";
    const canvas = make("canvas", "");
    canvas.setAttribute("aria-hidden", "true");
    const cells = ["requests", "each", "latency"].map((gauge) => {
      const cell = make("td", gauge === "each" ? "number part" : "number");
      cell.dataset.gauge = gauge;
      return cell;
    });
    const row = make("tr", "", name, make("td", "lane", canvas), ...cells);
    // On a narrow screen the rows are laid out as a grid, and are still rows.
    row.role = "row";
    name.role = "rowheader";
    row.querySelectorAll("td").forEach((cell) => (cell.role = "cell"));
    $("rows").append(row);
    new Timeline(canvas, this.trace);
    return row;
  }

  async start() {
    if (this.runs || this.missing) {
      return;
    }
    this.runs = true;
    const { signal } = (this.#abort = new AbortController());
    this.#become("starting");
    showAll();
    Timeline.go();
    let wait = RETRY_MS.first;
    while (!signal.aborted) {
      await publisherIsThere;
      const attempt = new AbortController();
      const end = () => attempt.abort();
      signal.addEventListener("abort", end);
      // What comes from an attempt that is over changes nothing any more.
      const become = (...words) => attempt.signal.aborted || this.#become(...words);
      const begun = performance.now();
      try {
        signal.throwIfAborted();
        await this.technique.run(this.trace, attempt.signal, () => become("live"), (why) => become("starting", why));
      } catch (error) {
        if (!signal.aborted) {
          become("trouble", error instanceof Problem ? error.message : String(error));
          if (!(error instanceof Problem)) {
            reportError(error);
          }
        }
      }
      end();
      signal.removeEventListener("abort", end);
      this.trace.close();
      wait = performance.now() - begun > RETRY_MS.most ? RETRY_MS.first : Math.min(wait * 2, RETRY_MS.most);
      await pause(wait, signal).catch(() => {});
    }
  }

  stop() {
    if (this.runs) {
      this.runs = false;
      this.#abort.abort();
      this.trace.close();
      this.#become("off");
      showAll();
    }
  }

  #become(state, why = "") {
    this.state = this.article.dataset.state = this.pill.dataset.state = state;
    this.pill.lastChild.textContent = WORDS[state];
    this.button.textContent = this.runs ? "Stop" : "Start";
    this.button.setAttribute("aria-label", `${this.button.textContent} ${this.name}`);
    const trouble = this.article.querySelector(".trouble");
    trouble.hidden = !why;
    trouble.textContent = why;
  }

  #touched = false;

  /** Shows the numbers soon: at most ten times a second, however much comes. */
  #touch() {
    if (!this.#touched) {
      this.#touched = true;
      setTimeout(() => {
        this.#touched = false;
        this.#show();
        showParts();
      }, 100);
    }
  }

  get each() {
    const { up, down, events } = this.trace.total;
    return events ? (up + down) / events : undefined;
  }

  #show() {
    const { total, latency } = this.trace;
    const { requests, events, expected, repeated, up, down } = total;
    for (const element of [...this.article.querySelectorAll("[data-gauge]"), ...this.row.querySelectorAll("td")]) {
      const draw = {
        requests: () => element.replaceChildren(requests.toLocaleString("en")),
        events: () => withUnit(element, events.toLocaleString("en"), `of ${Math.max(expected, events)}`),
        latency: () => showTime(element, latency),
        up: () => showBytes(element, up),
        down: () => showBytes(element, down),
        each: () => showBytes(element, this.each),
      };
      draw[element.dataset.gauge]?.();
    }
    Object.assign(this.article.dataset, { requests, events, expected, repeated });
  }
}

/** How the costs of an event compare. */
function showParts() {
  const most = Math.max(...cards.map(({ each = 0 }) => each));
  for (const { row, each = 0 } of cards) {
    row.querySelector(".part").style.setProperty("--part", most ? (each / most).toFixed(3) : "0");
  }
}

// ---- The publisher: a client of its own, which no card counts.

const client = new Client(MOUNT);
let publisherIsThere;
/** The number of the last event, and that of the last one before the counters were set to nothing. */
let [count, before] = [0, 0];
const showCount = () => ($("published").textContent = (count - before).toLocaleString("en"));

client.onState((state, detail) => {
  $("pill").dataset.state = state;
  $("pill").title = detail.reason ?? "The publisher’s connection";
  $("state").textContent = { connected: "connected", refused: "refused", idle: "disconnected" }[state] ?? "connecting";
  const gone = (state === "reconnecting" && detail.attempt > 0) || state === "refused";
  if (gone) {
    outages.dispatchEvent(new Event("outage"));
  }
  tell(gone ? `Nothing can be published: ${detail.reason}` : "");
});

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function publish() {
  const expecting = cards.filter(({ state }) => state === "live").map(({ trace }) => trace.total);
  expecting.forEach((total) => (total.expected += 1));
  const at = performance.now();
  published.push(at);
  count += 1;
  showCount();
  try {
    await client.publish(CHANNEL, { n: count, at });
  } catch (error) {
    expecting.forEach((total) => (total.expected -= 1));
    tell(`Not published: ${error.message}`);
  }
}

let pace;

/**
 * Publishes at the chosen pace, while anything listens, the page is seen and there is a connection. Not quite evenly:
 * else the events would fall in step with what polls.
 */
function setPace() {
  clearTimeout(pace);
  const every = Number(document.querySelector('[name="pace"]:checked').value);
  if (every && !document.hidden && cards.some(({ runs }) => runs)) {
    const next = () => {
      setPace();
      if (client.state === "connected") {
        publish();
      }
    };
    pace = setTimeout(next, every * (0.75 + Math.random() / 2));
  }
}

// ---- Controls.

function showAll() {
  const some = cards.some(({ runs }) => runs);
  $("all").textContent = some ? "Stop all" : "Start all";
  setPace();
}

readStyle();
const cards = [];
for (const article of document.querySelectorAll("[data-technique]")) {
  cards.push(new Card(article));
}

$("all").addEventListener("click", () => {
  const some = cards.some(({ runs }) => runs);
  cards.forEach((card) => (some ? card.stop() : card.start()));
  $("announce").textContent = some ? "All stopped" : "All started";
});
$("publish").addEventListener("click", publish);
$("reset").addEventListener("click", () => {
  before = count;
  cards.forEach(({ trace }) => trace.reset(count));
  showCount();
});
document.querySelectorAll('[name="pace"]').forEach((input) => input.addEventListener("change", setPace));

/** What ran before the page was hidden. */
let asleep = [];
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    asleep = cards.filter(({ runs }) => runs);
    asleep.forEach((card) => card.stop());
  } else {
    asleep.splice(0).forEach((card) => card.start());
  }
});

for (const media of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(media).addEventListener("change", () => {
    readStyle();
    Timeline.all.forEach((timeline) => timeline.draw(Timeline.now));
  });
}

showBytes($("head-size"), requestHead("GET", MOUNT, { cookie: true }), "");
publisherIsThere = client.connect().catch((error) => tell(`Nothing can be published: ${error.message}`));
if (document.hidden) {
  asleep = [...cards];
} else {
  // A frame that never ends would keep the page itself from being loaded.
  const begin = () => cards.forEach((card) => card.start());
  if (document.readyState === "complete") {
    begin();
  } else {
    addEventListener("load", begin, { once: true });
  }
}
