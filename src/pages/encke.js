/**
 * encke.js: a Bayeux client for browsers and Node 18+, without dependencies. Works with encke and other Bayeux servers.
 *
 *     import { Client } from "/encke.js";
 *     const client = new Client("/cometd");
 *     client.connect();
 *     client.subscribe("/chat/*", (data, message) => console.log(message.channel, data));
 *     await client.publish("/chat/tea", { text: "hello" });
 *
 * A client is always in one of these states; `onState` tells each change. `disconnect()` leads to `idle` from anywhere.
 *
 * | state          | meaning                                            | leads to                               |
 * |----------------|----------------------------------------------------|----------------------------------------|
 * | `idle`         | not asked to connect: at first, after disconnect() | `connecting`, by connect()             |
 * | `connecting`   | the first try                                      | `connected`, `reconnecting`, `refused` |
 * | `connected`    | there is a session, and requests are answered      | `reconnecting`, `refused`              |
 * | `reconnecting` | server or session lost; tries again by itself      | `connected`, `refused`                 |
 * | `refused`      | the server said not to come back                   | `connecting`, by connect()             |
 *
 * Whatever happens, subscriptions stay until they are cancelled: a new session gets them before anything is published.
 * What others publish while the server has no session of this client does not reach it.
 *
 * @typedef {"idle"|"connecting"|"connected"|"reconnecting"|"refused"} State
 * @typedef {object} Detail
 * @property {string} [reason] why it is not connected, in words
 * @property {number} [attempt] `reconnecting`: tries in a row that failed or did not last
 * @property {number} [retryAt] `reconnecting`: when the next try is, as of Date.now(); absent while one is under way
 */

const DEFAULTS = {
  /** Of fetch: "same-origin", "include" (cookies to another origin too) or "omit". */
  credentials: "same-origin",
  /** More headers for every request. */
  headers: {},
  /** Pause after a loss, in ms: random below the first for the first try, then doubling up to the second. */
  retryMin: 250,
  retryMax: 30_000,
  /** In ms: how long a request may take; how much longer than the server said a held connect may take. */
  requestTimeout: 10_000,
  connectMargin: 10_000,
  /** Publishes that may wait to be sent. */
  maxQueue: 1_000,
};

/** What holds until the server advises something else; times in ms. */
const ADVICE = { reconnect: "retry", interval: 0, timeout: 60_000, "multiple-clients": false };

/** A request takes no more beyond this; but what was said in one batch() stays together. */
const FULL = { messages: 100, characters: 32_768 };

/**
 * What promises of a client reject with. `code` says what became of the message:
 *
 * - `"queue_full"`, `"ended"` (disconnect() was called, or the state is `refused`): it was never sent;
 * - `"refused"`: the server did not take it. `reply` is its answer (`reply.error` such as "403::publish_denied"), or
 *   `status` the HTTP status;
 * - `"lost"`: it was sent and no answer came. The server may have taken it; it is not sent again.
 */
export class EnckeError extends Error {
  name = "EnckeError";

  constructor(code, message, more) {
    super(message);
    Object.assign(this, { code }, more);
  }
}

export class Client {
  #options;
  #transport;
  #state = "idle";
  #detail = {};
  #onState = new Set();
  #onWire = new Set();
  #advice = ADVICE;
  #lastId = 0;
  /**
   * From connect() to disconnect(): `{ first, stop, wake, clientId, spell, since, sending }`. `spell` aborts what is
   * under way, and is replaced after each failure; `since` is when it became connected; `sending` is the promise of the
   * sending under way: there is one request at a time, besides the connect.
   */
  #life;
  /** Channel or pattern → `{ listeners, ready, asked, taken }`. */
  #channels = new Map();
  /** What waits to be sent: `{ message, record, group, size, again, resolve, reject }`. */
  #outbox = [];
  #group;

  /**
   * @param {string} url of the endpoint. In a browser a path such as "/cometd" will do; Node needs all of it.
   * @param {Partial<typeof DEFAULTS>} [options]
   */
  constructor(url, options = {}) {
    this.#options = { ...DEFAULTS, ...options };
    const tell = (...wire) => this.#onWire.forEach((listener) => guarded(listener, ...wire));
    this.#transport = new LongPolling(url, this.#options, tell);
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** How messages travel: "long-polling". */
  get transport() {
    return this.#transport.name;
  }

  /** What the server advises: `{ reconnect, interval, timeout, "multiple-clients" }`, times in ms. */
  get advice() {
    return { ...this.#advice };
  }

  /**
   * Calls back with the present state, and then with each change, unless a listener before this one has ended it.
   * @param {(state: State, detail: Detail) => void} listener
   * @returns {() => void} ends that
   */
  onState(listener) {
    this.#onState.add(listener);
    guarded(listener, this.#state, this.#detail);
    return () => void this.#onState.delete(listener);
  }

  /**
   * Shows what travels, for debugging. `info.request` pairs answers with requests, `info.bytes` is the body's size.
   * "out" has `info.timeout`: in how many ms it is given up; "in" has `info.ms`, the time since the request, and
   * `info.error` in place of messages if there was no answer.
   * @param {(direction: "out"|"in", messages: object[], info: object) => void} listener
   * @returns {() => void} ends that
   */
  onWire(listener) {
    this.#onWire.add(listener);
    return () => void this.#onWire.delete(listener);
  }

  /**
   * Connects, and stays connected until disconnect().
   * @returns {Promise<void>} of the first connection; rejects with `refused` or `ended`. Need not be awaited.
   */
  connect() {
    let life = this.#life;
    if (!life) {
      const [stop, spell] = [new AbortController(), new AbortController()];
      life = this.#life = { first: deferred(), stop, wake() {}, spell };
      const browser = { signal: stop.signal };
      globalThis.addEventListener?.("online", () => this.retryNow(), browser);
      globalThis.addEventListener?.("offline", () => this.#lose(life, "the browser is offline"), browser);
      // Timers of a hidden page run late.
      globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.retryNow(), browser);
      this.#become("connecting");
      this.#run(life);
    }
    return life.first.promise;
  }

  /** Ends the pause before the next try to reconnect, if there is one. */
  retryNow() {
    if (this.#detail.retryAt) {
      this.#life?.wake();
    }
  }

  /**
   * Leaves: ends the session, and rejects what waits. Subscriptions stay for another connect().
   * @returns {Promise<void>} when the server knows, or cannot be told; never rejects
   */
  async disconnect() {
    const life = this.#life;
    const clientId = life?.clientId;
    const error = new EnckeError("ended", "disconnect() was called");
    this.#end("idle", error);
    await life?.sending;
    if (clientId) {
      await this.#exchange(life, [{ channel: "/meta/disconnect", clientId }], { signal: null }).catch(() => {});
    }
    life?.spell.abort(error);
  }

  /**
   * Listens to a channel, or to `/a/*` (all one below `/a`) or `/a/**` (all below). Several listeners may share a
   * channel. One that throws is reported and harms no other.
   * @param {string} channel
   * @param {(data: any, message: { channel: string, data: any }) => void} listener
   * @returns {{ ready: Promise<void>, cancel: () => Promise<void> }} `ready`: the server has taken it; rejects with
   *   `refused` (the subscription is gone), or `ended` if cancelled before. A refusal when nobody has asked for `ready`
   *   is reported, as what a listener throws. `cancel` ends it at once; its promise, which never rejects, is that the
   *   server knows, or need not.
   */
  subscribe(channel, listener) {
    let record = this.#channels.get(channel);
    if (!record) {
      record = { listeners: new Set(), ready: deferred(), taken: false };
      this.#channels.set(channel, record);
      if (this.#life?.clientId) {
        this.#enqueue(this.#subscribing(channel, record));
      }
    }
    const one = { listener };
    record.listeners.add(one);
    const cancel = async () => {
      if (!record.listeners.delete(one) || record.listeners.size || this.#channels.get(channel) !== record) {
        return;
      }
      this.#channels.delete(channel);
      record.ready.reject(new EnckeError("ended", "cancelled before the server had taken it"));
      const unsent = this.#outbox.findIndex((entry) => entry.record === record && !entry.again);
      if (unsent >= 0) {
        this.#outbox.splice(unsent, 1);
      } else if (this.#life?.clientId) {
        const message = { channel: "/meta/unsubscribe", subscription: channel };
        await new Promise((resolve) => this.#enqueue({ message, resolve, reject: resolve }));
      }
    };
    return {
      cancel,
      get ready() {
        record.asked = true;
        return record.ready.promise;
      },
    };
  }

  /**
   * Sends to all who listen. While there is no connection it waits; `data` is copied at once.
   * @param {string} channel
   * @param {any} data what JSON can express
   * @returns {Promise<object>} the server's reply, when it has taken it; rejects with EnckeError (see `code`)
   */
  async publish(channel, data) {
    if (this.#state === "refused") {
      throw new EnckeError("ended", this.#detail.reason);
    }
    const { maxQueue } = this.#options;
    if (this.#outbox.length >= maxQueue && this.#outbox.filter((entry) => !isMeta(entry.message)).length >= maxQueue) {
      throw new EnckeError("queue_full", `${maxQueue} messages wait to be sent already`);
    }
    const text = JSON.stringify(data) ?? "null";
    const message = { channel: String(channel), data: JSON.parse(text) };
    return new Promise((resolve, reject) => this.#enqueue({ message, size: text.length, resolve, reject }));
  }

  /** What the function says (until it first awaits) goes in one request. Returns what the function returns. */
  batch(act) {
    const outer = this.#group;
    this.#group ??= {};
    try {
      return act();
    } finally {
      this.#group = outer;
    }
  }

  /** Keeps a session and a connect going until the life ends. */
  async #run(life) {
    let failures = 0;
    let answered = false;
    while (this.#life === life) {
      try {
        if (!life.clientId) {
          await this.#handshake(life);
        }
        await this.#poll(life);
        await this.#pause(life, this.#advice.interval);
        life.spell.signal.throwIfAborted();
      } catch (error) {
        if (this.#life !== life) {
          return;
        }
        if (error.code === "lost") {
          life.spell.abort(error);
        }
        life.spell = new AbortController();
        const { retryMin, retryMax } = this.#options;
        // To be connected for a moment is no success: else a server that forgets at once would be asked without pause.
        // But that it did not answer for a while says nothing of a server that answers now: it may be a new one.
        const fresh = performance.now() - life.since > retryMax || answered !== Boolean(error.reply);
        answered = Boolean(error.reply);
        failures = fresh ? 1 : failures + 1;
        life.since = undefined;
        const most = Math.min(retryMax, retryMin * 2 ** (failures - 1));
        let pause = failures === 1 ? most * Math.random() : most * (0.5 + Math.random() / 2);
        if (error.reply) {
          // The server lives and answers: what it advises counts, and nobody asks it without pause.
          pause = Math.max(failures === 1 ? 0 : pause, this.#advice.interval);
        }
        const detail = { reason: error.message, attempt: failures };
        const over = this.#pause(life, pause);
        this.#become("reconnecting", { ...detail, retryAt: Date.now() + pause });
        await over;
        if (this.#life === life) {
          this.#become("reconnecting", detail);
        }
      }
    }
  }

  /** Gets a session; what it needs to know of subscriptions is built anew from those that are there. */
  async #handshake(life) {
    const supportedConnectionTypes = [this.#transport.name];
    const handshake = { channel: "/meta/handshake", version: "1.0", supportedConnectionTypes };
    this.#advice = ADVICE;
    const [reply] = await this.#exchange(life, [handshake]);
    this.#judge(life, reply);
    life.clientId = reply.clientId;
    this.#outbox = withoutMeta(this.#outbox);
    const entries = [...this.#channels].map(([channel, record]) => this.#subscribing(channel, record));
    try {
      while (entries.length) {
        await this.#send(life, entries.splice(0, FULL.messages));
        life.stop.signal.throwIfAborted();
      }
    } catch (error) {
      life.clientId = undefined;
      throw error;
    }
  }

  /** One connect. When the connection is in doubt, it asks to be answered at once; else it is held for an event. */
  async #poll(life) {
    const inDoubt = this.#state !== "connected";
    const connect = { channel: "/meta/connect", connectionType: this.#transport.name };
    if (inDoubt) {
      connect.advice = { timeout: 0 };
    }
    const timeout = inDoubt ? undefined : this.#advice.timeout + this.#options.connectMargin;
    const [reply] = await this.#exchange(life, [connect], { timeout });
    this.#judge(life, reply);
    if (inDoubt && life.clientId) {
      life.since = performance.now();
      this.#become("connected");
      life.first.resolve();
      this.#flush();
    }
  }

  /** Throws if a handshake or connect was not granted, after doing what that means. */
  #judge(life, reply) {
    life.stop.signal.throwIfAborted();
    const error = reply?.successful ? undefined : refusal(reply);
    if (this.#advice.reconnect === "none") {
      const last = error ?? new EnckeError("refused", "the server ended the session", { reply });
      this.#end("refused", last);
      throw last;
    }
    if (error) {
      if (this.#advice.reconnect === "handshake" || isUnknown(reply)) {
        life.clientId = undefined;
      }
      throw error;
    }
  }

  /** The connection is in doubt: says so, and has the next connect find out. */
  #lose(life, reason) {
    if (this.#life === life && this.#state === "connected") {
      life.spell.abort(new EnckeError("lost", reason));
      life.wake();
      this.#become("reconnecting", { reason, attempt: 0 });
    }
  }

  #end(state, error) {
    const life = this.#life;
    this.#life = undefined;
    const unsent = new EnckeError("ended", error.message);
    this.#outbox.splice(0).forEach((entry) => entry.reject(unsent));
    life?.first.reject(error);
    life?.stop.abort(error);
    life?.wake();
    if (state !== this.#state) {
      this.#become(state, { reason: error.message });
    }
  }

  /** Listeners may do anything, so this comes last: the life may be over when it returns. */
  #become(state, detail = {}) {
    [this.#state, this.#detail] = [state, detail];
    for (const listener of [...this.#onState]) {
      if (this.#detail === detail && this.#onState.has(listener)) {
        guarded(listener, state, detail);
      }
    }
  }

  #pause(life, ms) {
    // A timer of 0 ms takes a second in a hidden page.
    const pauses = ms > 0 && this.#life === life && !life.spell.signal.aborted;
    return pauses && new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      life.wake = () => (clearTimeout(timer), resolve());
    });
  }

  #subscribing(channel, record) {
    const resolve = () => ((record.taken = true), record.ready.resolve());
    const reject = (error) => {
      if (!isFinal(error) || this.#channels.get(channel) !== record) {
        return; // The next session gets it; or it is not wanted any more.
      }
      if (!record.taken) {
        this.#channels.delete(channel);
      }
      record.ready.reject(error);
      if (record.taken || !record.asked) {
        report(error); // Nobody waits for `ready`.
      }
    };
    return { message: { channel: "/meta/subscribe", subscription: channel }, record, resolve, reject };
  }

  #enqueue(entry) {
    this.#outbox.push({ size: 0, group: this.#group ?? {}, ...entry });
    queueMicrotask(() => this.#flush());
  }

  /** Sends what waits, one request after the other. */
  #flush() {
    const life = this.#life;
    const some = () => this.#life === life && this.#state === "connected" && this.#outbox.length > 0;
    if (!some() || life.sending) {
      return;
    }
    life.sending = (async () => {
      try {
        while (some()) {
          let [count, size] = [0, 0];
          do {
            size += this.#outbox[count].size;
            count += 1;
          } while (
            count < this.#outbox.length &&
            (this.#outbox[count].group === this.#outbox[count - 1].group ||
              (count < FULL.messages && size + this.#outbox[count].size <= FULL.characters))
          );
          await this.#send(life, this.#outbox.splice(0, count)).catch(() => {});
        }
      } finally {
        life.sending = undefined;
      }
    })();
  }

  /** Sends entries in one request and settles them, or has them sent again. Throws if the connection is in doubt. */
  async #send(life, entries) {
    const { clientId, spell } = life;
    const messages = entries.map(({ message }) => message);
    const answer = await this.#exchange(life, messages).catch((error) => error);
    let doubt = answer.code === "lost" && answer;
    const retry = entries.filter((entry, at) => {
      const reply = answer[at];
      if (reply?.successful) {
        entry.resolve(reply);
        return false;
      }
      const error = answer instanceof Error ? answer : refusal(reply);
      // To subscribe twice harms nothing; to publish twice might.
      const again = isMeta(entry.message) ? !isFinal(error) : isUnknown(reply) && !entry.again;
      if (!again || this.#life !== life) {
        entry.reject(error);
        return false;
      }
      doubt = error;
      return (entry.again = true);
    });
    if (isUnknown(doubt.reply) && life.clientId === clientId) {
      life.clientId = undefined;
    }
    this.#outbox.unshift(...(life.clientId === clientId ? retry : withoutMeta(retry)));
    if (doubt) {
      if (life.spell === spell) {
        this.#lose(life, doubt.message);
      }
      throw doubt;
    }
  }

  /** One request and its answer: events go to their listeners, then the replies are returned in order. */
  async #exchange(life, messages, { timeout = this.#options.requestTimeout, signal = life.spell.signal } = {}) {
    const session = life.clientId && { clientId: life.clientId };
    const sent = messages.map((message) => ({ id: `${(this.#lastId += 1)}`, ...session, ...message }));
    const answers = await this.#transport.send(sent, { timeout, signal });
    const replies = new Map();
    for (const message of answers) {
      if (message.advice && this.#life === life) {
        this.#advice = { ...this.#advice, "multiple-clients": false, ...message.advice };
      }
      if (message.data === undefined || isMeta(message)) {
        replies.set(message.id, message);
      } else if (this.#life === life) {
        this.#dispatch(message);
      }
    }
    return sent.map(({ id }) => replies.get(id));
  }

  #dispatch(message) {
    for (const pattern of patternsOf(message.channel)) {
      const listeners = this.#channels.get(pattern)?.listeners ?? new Set();
      for (const one of [...listeners]) {
        if (listeners.has(one)) {
          guarded(one.listener, message.data, message);
        }
      }
    }
  }
}

/**
 * A transport: `name` is its connectionType, `send` resolves with the messages of the answer and rejects with the
 * EnckeErrors `lost` and `refused`, and all that travels is told.
 */
class LongPolling {
  name = "long-polling";
  #requests = 0;

  constructor(url, { credentials, headers }, tell) {
    this.url = url;
    this.tell = tell;
    this.init = { method: "POST", credentials, headers: { "Content-Type": "application/json", ...headers } };
  }

  /** @param {{ timeout: number, signal?: AbortSignal }} limits timeout in ms */
  async send(messages, { timeout, signal }) {
    const abort = new AbortController();
    const give = () => abort.abort(signal.reason);
    signal?.addEventListener("abort", give);
    const late = () => abort.abort(new EnckeError("lost", `no answer within ${Math.round(timeout / 1000)} s`));
    const timer = setTimeout(late, timeout);
    const body = JSON.stringify(messages);
    const request = (this.#requests += 1);
    const begun = performance.now();
    this.tell("out", messages, { request, timeout, bytes: bytes(body) });
    const took = () => ({ request, ms: performance.now() - begun });
    try {
      signal?.throwIfAborted();
      const response = await fetch(this.url, { ...this.init, body, signal: abort.signal });
      const text = await response.text();
      const status = response.status;
      if (!response.ok) {
        const said = text.length < 500 && !text.includes("<") ? `: ${text.trim()}` : "";
        // A gateway's 5xx does not say whether the server behind it has acted.
        throw new EnckeError(status < 500 ? "refused" : "lost", `HTTP status ${status}${said}`, { status });
      }
      const answers = [].concat(JSON.parse(text)).filter((message) => typeof message?.channel === "string");
      this.tell("in", answers, { ...took(), status, bytes: bytes(text) });
      return answers;
    } catch (problem) {
      const cause = abort.signal.aborted ? abort.signal.reason : problem;
      const silent = () => new EnckeError("lost", "the server does not answer", { cause });
      const error = cause instanceof EnckeError ? cause : silent();
      this.tell("in", [], { ...took(), status: error.status, bytes: 0, error });
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", give);
    }
  }
}

function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/** `/a/b`, `/a/*`, `/a/**`, `/**`: all that a subscription to hear `/a/b` can look like. */
function* patternsOf(channel) {
  yield channel;
  let slash = channel.lastIndexOf("/");
  yield `${channel.slice(0, slash)}/*`;
  for (; slash > 0; slash = channel.lastIndexOf("/", slash - 1)) {
    yield `${channel.slice(0, slash)}/**`;
  }
  yield "/**";
}

function isMeta({ channel }) {
  return channel.startsWith("/meta/");
}

/** Without what concerned a session that is gone: the next one begins with the subscriptions of then. */
function withoutMeta(entries) {
  entries.filter(({ message }) => message.channel === "/meta/unsubscribe").forEach(({ resolve }) => resolve());
  return entries.filter(({ message }) => !isMeta(message));
}

function isUnknown(reply) {
  return reply?.successful === false && /^40[12]:.*:.*unknown/i.test(reply.error);
}

/** Whether the server itself has said no, so that to send the same again is no use. */
function isFinal({ reply }) {
  return reply && !isUnknown(reply);
}

/** What a reply that does not grant something means; no reply at all is a loss. */
function refusal(reply) {
  return reply
    ? new EnckeError("refused", reply.error ?? "the server refused without a reason", { reply })
    : new EnckeError("lost", "the answer has no reply to this message");
}

/** A promise that need not be awaited, and what settles it. */
function deferred() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  one.promise.catch(() => {});
  return one;
}

/** Calls a listener of the application; what it throws goes where uncaught errors go, and no further. */
function guarded(listener, ...words) {
  try {
    listener(...words);
  } catch (error) {
    report(error);
  }
}

function report(error) {
  (globalThis.reportError ?? console.error)(error);
}
