// What the scenarios share: the client libraries behind one thin face, and a session spoken by hand.
//
// A client is named KIND:TRANSPORT, such as `cometd:websocket`; without a transport it is long-polling. At the end of a
// scenario it is checked that each client did use the transport that it is named after.

import assert from "node:assert/strict";
import { Socket } from "node:net";

import { CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";
import faye from "faye";
import WebSocket from "ws";

import { Client } from "../../src/pages/encke.js";
import { EventSource } from "./eventsource.mjs";
import { scenario as run, sleep, until } from "./scenario.mjs";

export { daemon, sleep, until } from "./scenario.mjs";

// The cometd library expects a browser. All its clients of one process share one cookie jar, as the tabs of a browser do.
adapt();

/** WebSockets that this process has asked for, whichever library did. */
let upgrades = 0;
const { write } = Socket.prototype;
Socket.prototype.write = function (bytes, ...rest) {
  upgrades += /^upgrade: websocket\r$/im.test(Buffer.from(bytes).toString("latin1")) ? 1 : 0;
  return write.call(this, bytes, ...rest);
};

/** Every client of this scenario. */
const clients = [];

/** Runs a scenario; at its end each client has used the transport that it is named after, and no other. */
export async function scenario(body) {
  await run(async (...words) => {
    await body(...words);
    const named = clients.filter(({ transport }) => transport !== "any");
    for (const { kind, transport, used, sessions } of named) {
      assert.ok(used.has(transport), `${kind} was to use ${transport}, not ${[...used]}`);
      // Faye lets its WebSocket go before a later session, and goes on with long-polling until it has another. encke.js
      // begins with it, and moves.
      const fayeMoves = kind === "faye" && sessions > 1;
      const mayUse = kind === "encke" || fayeMoves ? [transport, "long-polling"] : [transport];
      assert.deepEqual([...used].filter((type) => !mayUse.includes(type)), [], `${kind} was to use ${transport} alone`);
    }
    const sockets = named.filter(({ transport }) => transport === "websocket").length;
    assert.ok(upgrades >= sockets, `${upgrades} upgrades for ${sockets} clients with a WebSocket`);
    if (sockets === 0 && named.length > 0 && named.length === clients.length) {
      assert.equal(upgrades, 0, "nobody asks for a WebSocket");
    }
  });
}

/** Stops this whole process for a while, as a laptop that sleeps: no timer runs, no answer is read. */
export function fallAsleep(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What a client has received, in order: `[channel, data]`. */
class Inbox {
  events = [];

  /** A listener that writes down what it hears. */
  listener = (data, channel) => {
    this.events.push([channel, data]);
  };

  async holds(count) {
    await until(`event ${count}, having ${this.events.length}`, () => this.events.length >= count);
  }
}

export function inbox() {
  return new Inbox();
}

/** What every client records: each message from the server, as it came. */
class Recorder {
  messages = [];
  /** Times that it could not do what it wanted. */
  failures = 0;
  /** What the newest connect said of its transport. */
  connectionType;
  /** What any connect said of that. */
  used = new Set();

  record(message) {
    this.messages.push({ ...message, at: performance.now() });
  }

  sending(message) {
    if (message.connectionType) {
      this.connectionType = message.connectionType;
      this.used.add(message.connectionType);
    }
  }

  /** The replies on a meta channel. */
  replies(channel) {
    return this.messages.filter((message) => message.channel === channel && message.successful !== undefined);
  }

  /** The events, as they were on the wire: before the library gives one to several listeners. */
  events(channel) {
    return this.messages.filter((message) => message.channel === channel && message.data !== undefined);
  }

  async replied(channel, count) {
    await until(`reply ${count} on ${channel}`, () => this.replies(channel).length >= count);
    return this.replies(channel)[count - 1];
  }

  /** How many sessions it has asked for. */
  get sessions() {
    return this.replies("/meta/handshake").length;
  }

  /** The session of now. */
  get clientId() {
    return this.replies("/meta/handshake").findLast((reply) => reply.successful)?.clientId;
  }

  /** The advice that holds now. */
  get advice() {
    return this.messages.findLast((message) => message.advice)?.advice;
  }
}

/** cometd.js through cometd-nodejs-client. */
class CometDClient extends Recorder {
  /** Whether it makes its subscriptions again by itself when it gets another session. */
  subscribesAgain = false;

  constructor(url, { transport }) {
    super();
    this.lib = new CometD();
    for (const type of ["websocket", "long-polling", "callback-polling"]) {
      if (transport !== "any" && transport !== type) {
        this.lib.unregisterTransport(type);
      }
    }
    this.lib.configure({ url, logLevel: "warn", backoffIncrement: 200, maxSendBayeuxMessageSize: 1 << 20 });
    this.lib.registerExtension("recorder", {
      incoming: (message) => (this.record(message), message),
      outgoing: (message) => (this.sending(message), message),
    });
    this.lib.addListener("/meta/unsuccessful", () => (this.failures += 1));
  }

  /** Resolves with the handshake reply, and that is before the first connect is sent. */
  open() {
    return new Promise((done) => this.lib.handshake((reply) => reply.successful && done(reply)));
  }

  subscribe(channel, listener) {
    return new Promise((done, refused) => {
      const hear = (message) => listener(message.data, message.channel);
      const handle = this.lib.subscribe(channel, hear, (reply) =>
        reply.successful ? done({ cancel: () => this.#cancel(handle) }) : refused(refusal(reply)),
      );
    });
  }

  #cancel(handle) {
    return new Promise((done, refused) => {
      this.lib.unsubscribe(handle, (reply) => (reply.successful ? done() : refused(refusal(reply))));
    });
  }

  publish(channel, data) {
    return new Promise((done, refused) => {
      this.lib.publish(channel, data, (reply) => (reply.successful ? done(reply) : refused(refusal(reply))));
    });
  }

  /** Everything that the function sends travels as one request. */
  batch(send) {
    this.lib.batch(send);
  }

  /** Does this after every handshake, as the library's documentation has subscriptions made. */
  onHandshake(act) {
    this.lib.addListener("/meta/handshake", (reply) => {
      if (reply.successful) {
        this.lib.batch(act);
      }
    });
  }

  close() {
    return new Promise((done, refused) => {
      this.lib.disconnect((reply) => (reply.successful ? done() : refused(refusal(reply))));
    });
  }
}

/** The server's error, or what kept it from answering. */
function refusal({ error, failure = {} }) {
  const { httpCode, websocketCode, reason, exception } = failure;
  const status = websocketCode ? `WebSocket code ${websocketCode}` : `HTTP status ${httpCode}`;
  return new Error(error ?? `no reply, ${status}, ${reason ?? exception}`);
}

/** Faye's Node client. It subscribes again by itself after a new handshake. */
class FayeClient extends Recorder {
  subscribesAgain = true;

  constructor(url, { transport }) {
    super();
    this.lib = new faye.Client(url, { retry: 1 });
    if (transport === "long-polling") {
      this.lib.disable("websocket");
    }
    this.lib.addExtension({
      incoming: (message, pass) => (this.record(message), pass(message)),
      outgoing: (message, pass) => {
        this.sending(message);
        const isFirst = message.channel === "/meta/handshake" && this.sessions === 0;
        isFirst ? this.#tried(() => pass(message)) : pass(message);
      },
    });
    this.lib.on("transport:down", () => (this.failures += 1));
  }

  /**
   * Calls back when it has a WebSocket, or knows that there is none. It opens one beside the handshake, ten milliseconds
   * before that; if that is too little, on a busy machine, it begins with long-polling.
   */
  #tried(act) {
    const sockets = [...(this.lib._dispatcher.transports.websocket?.values() ?? [])];
    sockets.length ? sockets[0].isUsable(act) : act();
  }

  async open() {
    this.lib.connect();
    return this.replied("/meta/handshake", 1);
  }

  async subscribe(channel, listener) {
    const handle = this.lib.subscribe(channel).withChannel((from, data) => listener(data, from));
    await failing(handle);
    return {
      cancel: async () => {
        const before = this.replies("/meta/unsubscribe").length;
        handle.cancel();
        const reply = await this.replied("/meta/unsubscribe", before + 1);
        assert.equal(reply.successful, true);
      },
    };
  }

  publish(channel, data) {
    return failing(this.lib.publish(channel, data));
  }

  /** Faye sends what is said in one turn as one request (of up to 2 KiB) by itself. */
  batch(send) {
    send();
  }

  onHandshake() {}

  async close() {
    await failing(this.lib.disconnect());
  }
}

/** Faye's errors, as Bayeux writes them. */
async function failing(promise) {
  try {
    return await promise;
  } catch (error) {
    throw new Error(`${error.code}:${(error.params ?? []).join(",")}:${error.message}`);
  }
}

/** What a browser has and Node, in the oldest version that will do, has not. */
const BROWSER = { WebSocket, EventSource };

/** Our own with everything it does written down, batch by batch. */
export function journal(url, options) {
  const client = new Client(url, { retryMin: 50, ...BROWSER, ...options });
  const log = { client, states: [], sent: [], received: [] };
  clients.push({ kind: "encke", transport: "any" });
  client.onState((state) => log.states.at(-1) === state || log.states.push(state));
  client.onWire((direction, messages) => (direction === "out" ? log.sent : log.received).push(messages));
  return log;
}

/** Our own, as the daemon serves it. It subscribes again by itself after a new handshake. */
class EnckeClient extends Recorder {
  subscribesAgain = true;

  /** With any transport but long-polling, which it begins with, it waits until that is live. */
  constructor(url, { transport, ...options }) {
    super();
    const only = transport !== "any" && { transports: [...new Set([transport, "long-polling"])] };
    this.lib = new Client(url, { ...BROWSER, ...only, ...options });
    this.lib.onWire((direction, messages) => {
      messages.forEach((message) => (direction === "in" ? this.record(message) : this.sending(message)));
    });
    this.lib.onState((state) => (this.failures += state === "reconnecting" ? 1 : 0));
  }

  async open() {
    await this.lib.connect();
    if (this.transport !== "any") {
      await until(`${this.transport} to be live`, () => this.lib.transport === this.transport);
    }
    return this.replied("/meta/handshake", 1);
  }

  async subscribe(channel, listener) {
    const subscription = this.lib.subscribe(channel, (data, message) => listener(data, message.channel));
    await subscription.ready;
    return subscription;
  }

  publish(channel, data) {
    return this.lib.publish(channel, data);
  }

  batch(send) {
    this.lib.batch(send);
  }

  onHandshake() {}

  close() {
    return this.lib.disconnect();
  }
}

const KINDS = { cometd: CometDClient, faye: FayeClient, encke: EnckeClient };

/** A client that has not spoken yet. With the transport `any` it is as it comes. */
export function client(name, url, options) {
  const [kind, transport = "long-polling"] = name.split(":");
  assert.ok(KINDS[kind], `no client called ${kind}`);
  const one = new KINDS[kind](url, { transport, ...options });
  Object.assign(one, { kind, transport });
  clients.push(one);
  return one;
}

/** A client with a session, whose connect goes round by itself. */
export async function connected(kind, url, options) {
  const one = client(kind, url, options);
  await one.open();
  return one;
}

/** A session spoken by hand, with fetch and a cookie of its own. */
export class Raw {
  connectionType = "long-polling";

  constructor(url, cookie) {
    this.url = url;
    this.cookie = cookie;
  }

  async send(...messages) {
    const headers = { "Content-Type": "application/json" };
    if (this.cookie) {
      headers.Cookie = this.cookie;
    }
    const body = JSON.stringify(messages.map((message) => ({ clientId: this.clientId, ...message })));
    const response = await fetch(this.url, { method: "POST", headers, body });
    assert.equal(response.status, 200);
    this.cookie ??= response.headers.get("set-cookie")?.split(";")[0];
    return response.json();
  }

  async handshake() {
    this.clientId = undefined;
    const supportedConnectionTypes = [this.connectionType];
    const [reply] = await this.send({ channel: "/meta/handshake", version: "1.0", supportedConnectionTypes });
    assert.equal(reply.successful, true, JSON.stringify(reply));
    this.clientId = reply.clientId;
    return reply;
  }

  async connect(more) {
    return this.send({ channel: "/meta/connect", connectionType: this.connectionType, ...more });
  }
}

/** The same on a WebSocket. */
export class RawSocket extends Raw {
  connectionType = "websocket";
  #socket;
  #waiting = [];

  async send(...messages) {
    this.#socket ??= new Promise((opened, failed) => {
      const socket = new window.WebSocket(this.url.replace(/^http/, "ws"));
      socket.onopen = () => opened(socket);
      socket.onerror = failed;
      socket.onclose = failed;
      socket.onmessage = ({ data }) => this.#waiting.shift()(JSON.parse(data));
    });
    const socket = await this.#socket;
    return new Promise((replied) => {
      this.#waiting.push(replied);
      socket.send(JSON.stringify(messages.map((message) => ({ clientId: this.clientId, ...message }))));
    });
  }
}
