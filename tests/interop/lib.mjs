// What the scenarios share: the client libraries behind one thin face, and a session spoken by hand.

import assert from "node:assert/strict";

import { CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";
import faye from "faye";

import { Client } from "../../src/pages/encke.js";
import { sleep, until } from "./scenario.mjs";

export { daemon, scenario, sleep, until } from "./scenario.mjs";

// The cometd library expects a browser. All its clients of one process share one cookie jar, as the tabs of a browser do.
adapt();

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

  record(message) {
    this.messages.push({ ...message, at: performance.now() });
  }

  sending(message) {
    this.connectionType = message.connectionType ?? this.connectionType;
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
  constructor(url, { websocket = false } = {}) {
    super();
    this.lib = new CometD();
    if (!websocket) {
      this.lib.unregisterTransport("websocket");
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
function refusal({ error, failure }) {
  return new Error(error ?? `no reply, HTTP status ${failure?.httpCode}, ${failure?.reason ?? failure?.exception}`);
}

/** Faye's Node client. It subscribes again by itself after a new handshake. */
class FayeClient extends Recorder {
  constructor(url, { websocket = false } = {}) {
    super();
    this.lib = new faye.Client(url, { retry: 1 });
    if (!websocket) {
      this.lib.disable("websocket");
    }
    this.lib.addExtension({
      incoming: (message, pass) => (this.record(message), pass(message)),
      outgoing: (message, pass) => (this.sending(message), pass(message)),
    });
    this.lib.on("transport:down", () => (this.failures += 1));
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

/** Our own, as the daemon serves it. It subscribes again by itself after a new handshake. */
class EnckeClient extends Recorder {
  constructor(url, options) {
    super();
    this.lib = new Client(url, options);
    this.lib.onWire((direction, messages) => {
      messages.forEach((message) => (direction === "in" ? this.record(message) : this.sending(message)));
    });
    this.lib.onState((state) => (this.failures += state === "reconnecting" ? 1 : 0));
  }

  async open() {
    await this.lib.connect();
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

/** A client that has not spoken yet. */
export function client(kind, url, options) {
  assert.ok(KINDS[kind], `no client called ${kind}`);
  return new KINDS[kind](url, options);
}

/** A client with a session, whose connect goes round by itself. */
export async function connected(kind, url) {
  const one = client(kind, url);
  await one.open();
  return one;
}

/** A session spoken by hand, with fetch and a cookie of its own. */
export class Raw {
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
    const supportedConnectionTypes = ["long-polling"];
    const [reply] = await this.send({ channel: "/meta/handshake", version: "1.0", supportedConnectionTypes });
    assert.equal(reply.successful, true, JSON.stringify(reply));
    this.clientId = reply.clientId;
    return reply;
  }

  async connect(more) {
    return this.send({ channel: "/meta/connect", connectionType: "long-polling", ...more });
  }
}
