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
 * What others publish while the server has no session of this client is heard later if the channel has a history, for a
 * new session goes on where the one before it ended; else it does not reach this client. What is lost of a history is
 * told (`onGap`).
 *
 * Messages travel by one of four transports; the best that works is found by itself, and again after it has failed:
 * "websocket", "streaming" (a response that stays open), "eventsource", "long-polling". The session is the same, and
 * nothing is lost, doubled or out of order when one takes over from another. What a connection breaks with is lost, or
 * with the option `ack` sent again.
 *
 * @typedef {"websocket"|"streaming"|"eventsource"|"long-polling"} Name
 * @typedef {"idle"|"connecting"|"connected"|"reconnecting"|"refused"} State
 * @typedef {object} Detail
 * @property {Name} [transport] `connected`: how; a change of it is told as well
 * @property {string} [reason] why it is not connected, in words
 * @property {number} [attempt] `reconnecting`: tries in a row that failed or did not last
 * @property {number} [retryAt] `reconnecting`: when the next try is, as of Date.now(); absent while one is under way
 */

const DEFAULTS = {
  /** Those that may be used, the best first. */
  transports: ["websocket", "streaming", "eventsource", "long-polling"],
  /** Of fetch: "same-origin", "include" (cookies to another origin too) or "omit". */
  credentials: "same-origin",
  /** More headers for every request. A browser sends them with neither WebSocket nor EventSource. */
  headers: {},
  /**
   * What the server's policy wants to know of a handshake: an object such as { token }, or a function that makes one (or
   * a promise of it) for each handshake, as for a token that expires.
   */
  ext: undefined,
  /** Pause after a loss, in ms: random below the first for the first try, then doubling up to the second. */
  retryMin: 250,
  retryMax: 30_000,
  /** In ms: how long a request may take; how much longer than the server said a held connect may take. */
  requestTimeout: 10_000,
  connectMargin: 10_000,
  /** In ms: how long a transport may take to show that it works; how long a stream may be silent. */
  openTimeout: 4_000,
  silence: 60_000,
  /** Pause before a better transport that failed is tried again, in ms: doubles from the first to the second. */
  upgradeMin: 10_000,
  upgradeMax: 600_000,
  /** Publishes that may wait to be sent. */
  maxQueue: 1_000,
  /** Has the server keep events until they are acknowledged, if it can. There is no "eventsource" then. */
  ack: false,
};

/** What holds until the server advises something else; times in ms. */
const ADVICE = { reconnect: "retry", interval: 0, timeout: 60_000, "multiple-clients": false };

/** A request takes no more beyond this; but what was said in one batch() stays together. */
const FULL = { messages: 100, characters: 32_768 };

/** Words for what is no position in a history. */
const SINCE = { new: -1, all: -2 };

/**
 * What promises of a client reject with. `code` says what became of the message:
 *
 * - `"queue_full"`, `"ended"` (disconnect() was called, or the state is `refused`): it was never sent;
 * - `"refused"`: the server did not take it. `reply` is its answer (`reply.error` such as "403::publish_denied"), or
 *   `status` the HTTP status;
 * - `"lost"`: it was sent and no answer came. The server may have taken it; it is not sent again;
 * - `"unavailable"`: of `use()` alone: that transport cannot be had.
 */
export class EnckeError extends Error {
  name = "EnckeError";

  constructor(code, message, more) {
    super(message);
    Object.assign(this, { code }, more);
  }
}

export class Client {
  #url;
  #options;
  #state = "idle";
  #detail = {};
  #onState = new Set();
  #onWire = new Set();
  #onGap = new Set();
  #advice = ADVICE;
  #lastId = 0;
  /**
   * From connect() to disconnect(): `{ first, stop, wake, clientId, spell, failures, answered, since, sending,
   * climbing, later, replay, batch, asked }`. `spell` aborts what is under way, and is replaced after each
   * failure; `since` is when it became connected; `sending` is the promise of the sending under way: there is one
   * request at a time, besides the connect. Of the session: `replay`, whether the server has histories; `batch`, the
   * number to acknowledge, if that is done; `asked`, the id of the newest connect.
   */
  #life;
  /** The transport of the newest connect that was answered, and so of the events; unproved after a loss. */
  #transport;
  /** Another one, from its first connect until it is known whether it takes over. */
  #trial;
  /** The transports that the server has. */
  #offered;
  /** The one that use() named. */
  #forced;
  /** Transport that failed → `{ failures, until, reason }`: not tried before then. */
  #bars = new Map();
  /**
   * Channel or pattern → `{ listeners, ready, asked, taken, since, position, floor, heard, beside }`. Of its history:
   * a session begins after `position`, or else with `since`. The listeners have what is up to `heard`, channel → number,
   * or else up to `floor`. `beside`: numbers stand beside the data, and never within.
   */
  #channels = new Map();
  /** What waits to be sent: `{ message, record, group, size, again, resolve, reject }`. */
  #outbox = [];
  #group;

  /**
   * @param {string} url of the endpoint. In a browser a path such as "/cometd" will do; Node needs all of it.
   * @param {Partial<typeof DEFAULTS>} [options] also `WebSocket`, `EventSource`: classes where the platform has none
   */
  constructor(url, options = {}) {
    const { WebSocket, EventSource } = globalThis;
    this.#url = url;
    this.#options = { ...DEFAULTS, WebSocket, EventSource, ...options };
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** How messages travel now, if they do. @returns {Name|undefined} */
  get transport() {
    return this.#transport?.proved && this.#transport.name;
  }

  /** All transports, the best first. @returns {{ name: Name, why?: string }[]} `why` one cannot be had, or was not */
  get transports() {
    const { transports } = this.#options;
    return [...new Set([...transports, ...DEFAULTS.transports])].map((name) => {
      if (!TRANSPORTS[name]?.needs(this.#options)) {
        return { name, usable: false, why: `not in this ${globalThis.document ? "browser" : "environment"}` };
      }
      if (!transports.includes(name)) {
        return { name, usable: false, why: "left out by the option transports" };
      }
      if (this.#options.ack && name === "eventsource") {
        return { name, usable: false, why: "left out by the option ack, which has events come with connects" };
      }
      const usable = this.#offered?.includes(name) ?? true;
      return { name, usable, why: usable ? this.#bars.get(name)?.reason : "not offered by the server" };
    });
  }

  /**
   * Has messages travel by this transport as long as that works (else long-polling serves), or by the best one again.
   * @param {Name} [name]
   * @returns {Promise<void>} it is so, or there is no connection yet; rejects with `unavailable`
   */
  async use(name) {
    const own = name && this.transports.find((one) => one.name === name);
    if (name && !own?.usable) {
      throw new EnckeError("unavailable", `${name} is ${own?.why ?? "no transport"}`);
    }
    this.#forced = name;
    this.#forgive();
    const life = this.#life;
    await life?.climbing;
    await (life && this.#climb(life));
    if (name && name === this.#forced && this.#state === "connected" && this.transport !== name) {
      throw new EnckeError("unavailable", `${name}: ${this.#bars.get(name)?.reason}`);
    }
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
   * Shows what travels, for debugging. `info.transport` and `info.as` ("request", "response", "line" of a stream,
   * "event" of an EventSource, "frame") say how, `info.bytes` is the size; `info.request` pairs answers with requests,
   * and `info.more` says that more of the answer follows. "out" has `info.timeout`: in how many ms it is given up; "in"
   * has `info.ms`, the time since the request, and `info.error` in place of messages if there was no answer.
   * @param {(direction: "out"|"in", messages: object[], info: object) => void} listener
   * @returns {() => void} ends that
   */
  onWire(listener) {
    this.#onWire.add(listener);
    return () => void this.#onWire.delete(listener);
  }

  /**
   * Calls back when events of a history are lost: they are not kept any more, or were too many.
   * @param {(channel: string, count: number|undefined) => void} listener gets the channel or pattern, as subscribed to,
   *   and how many it were, if that is known
   * @returns {() => void} ends that
   */
  onGap(listener) {
    this.#onGap.add(listener);
    return () => void this.#onGap.delete(listener);
  }

  /**
   * Connects, and stays connected until disconnect().
   * @returns {Promise<void>} of the first connection; rejects with `refused` or `ended`. Need not be awaited.
   */
  connect() {
    let life = this.#life;
    if (!life) {
      const [stop, spell] = [new AbortController(), new AbortController()];
      life = this.#life = { first: deferred(), stop, wake() {}, spell, failures: 0, answered: false };
      const browser = { signal: stop.signal };
      const online = () => (this.retryNow(), this.#forgive(), this.#climb(life));
      globalThis.addEventListener?.("online", online, browser);
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
    const [transport, trial] = [this.#transport, this.#trial];
    const error = new EnckeError("ended", "disconnect() was called");
    this.#end("idle", error);
    await life?.sending;
    if (clientId) {
      const works = transport?.proved && !transport.stop.signal.aborted;
      const by = works ? transport : this.#make("long-polling", life);
      await this.#exchange(life, by, [{ channel: "/meta/disconnect", clientId }], { signal: null }).catch(() => {});
    }
    transport?.close(error);
    trial?.close(error);
    life?.spell.abort(error);
  }

  /**
   * Listens to a channel, or to `/a/*` (all one below `/a`) or `/a/**` (all below). Several listeners may share a
   * channel. One that throws is reported and harms no other.
   * @param {string} channel
   * @param {(data: any, message: { channel: string, data: any }) => void} listener
   * @param {{ since?: "new"|"all"|number }} [options] `since`, where the channel has a history and nobody listens to it
   *   yet: what to begin with. What comes from now on (default), all that is kept, or what came after a `position`
   * @returns {{ ready: Promise<void>, cancel: () => Promise<void> }} `ready`: the server has taken it; rejects with
   *   `refused` (the subscription is gone), or `ended` if cancelled before. A refusal when nobody has asked for `ready`
   *   is reported, as what a listener throws. `cancel` ends it at once; its promise, which never rejects, is that the
   *   server knows, or need not.
   */
  subscribe(channel, listener, { since } = {}) {
    const from = SINCE[since ?? "new"] ?? Number(since);
    if (!Number.isSafeInteger(from)) {
      throw new TypeError(`since: ${since} is neither "new" nor "all" nor a position`);
    }
    let record = this.#channels.get(channel);
    if (!record) {
      record = { listeners: new Set(), ready: deferred(), taken: false, since: from };
      Object.assign(record, { floor: from < 0 ? undefined : from, heard: new Map() });
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
   * How far a channel or pattern that is subscribed to has been heard: to be stored, and given as `since` when the page
   * is loaded again.
   * @returns {number|undefined} undefined: that is not known (yet)
   */
  position(channel) {
    const { position, since } = this.#channels.get(channel) ?? {};
    return position ?? (since >= 0 ? since : undefined);
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
    if (/\\ud[89a-f]/.test(text.replaceAll("\\\\", ""))) {
      throw new EnckeError("refused", "half of a surrogate pair is no text"); // It would take others with it.
    }
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
    while (this.#life === life) {
      let transport;
      try {
        if (!life.clientId) {
          await this.#handshake(life);
        }
        transport = this.#transport ??= this.#begin(life, this.#base(life));
        if (!life.failures) {
          this.#climb(life);
        }
        await transport.over;
      } catch (error) {
        if (this.#life === life && transport === this.#transport) {
          await this.#recover(life, error);
        }
      }
    }
  }

  /** The connection is lost, or was not to be had: rests, the longer the more often that happens in a row. */
  async #recover(life, error) {
    const lost = this.#transport;
    this.#transport = undefined;
    lost?.close(error);
    const blamed = lost && lost.name !== "long-polling" && life.clientId;
    const fell = blamed && lost.proved; // Another one goes on.
    if (blamed) {
      this.#bar(lost.name, error, lost.since);
    } else if (!error.reply) {
      this.#forgive(({ buffers }) => !buffers); // With the server away, a failure says nothing of a transport.
    }
    if (error.code === "lost" && !fell) {
      life.spell.abort(error);
    }
    if (this.#life !== life) {
      return; // Whoever hears what travels has ended it.
    }
    life.spell = new AbortController();
    const { retryMin, retryMax } = this.#options;
    // To be connected for a moment is no success: else a server that forgets at once would be asked without pause.
    // But that it did not answer for a while says nothing of a server that answers now: it may be a new one.
    const answered = fell ? life.answered : Boolean(error.reply);
    if (performance.now() - life.since > retryMax || life.answered !== answered) {
      life.failures = 0;
    }
    Object.assign(life, { answered, since: undefined });
    const attempt = (life.failures += fell ? 0 : 1);
    const most = Math.min(retryMax, retryMin * 2 ** Math.max(0, attempt - 1));
    let pause = attempt <= 1 ? most * Math.random() : most * (0.5 + Math.random() / 2);
    if (error.reply) {
      // The server lives and answers: what it advises counts, and nobody asks it without pause.
      pause = Math.max(attempt === 1 ? 0 : pause, this.#advice.interval);
    }
    const detail = { reason: error.message, attempt };
    const over = rest(life, pause);
    this.#become("reconnecting", { ...detail, retryAt: Date.now() + pause });
    await over;
    if (this.#life === life && !this.#transport) {
      this.#become("reconnecting", detail);
    }
  }

  /** Gets a session; what it needs to know of subscriptions is built anew from those that are there. */
  async #handshake(life) {
    const post = this.#make("long-polling", life);
    const supportedConnectionTypes = this.transports.filter(({ why }) => !/^(not in|left)/.test(why)).map(nameOf);
    const { ack } = this.#options;
    const own = typeof this.#options.ext === "function" ? await this.#options.ext() : this.#options.ext;
    const ext = { ...own, replay: true, ...(ack && { ack }) };
    const handshake = { channel: "/meta/handshake", version: "1.0", supportedConnectionTypes, ext };
    this.#advice = ADVICE;
    const [reply] = await this.#exchange(life, post, [handshake]);
    this.#judge(life, reply);
    life.clientId = reply.clientId;
    const batch = ack && reply.ext?.ack === true ? -1 : undefined;
    Object.assign(life, { replay: reply.ext?.replay === true, batch, asked: undefined });
    this.#offered = reply.supportedConnectionTypes ?? ["long-polling"];
    this.#outbox = withoutMeta(this.#outbox);
    const entries = [...this.#channels].map(([channel, record]) => this.#subscribing(channel, record));
    try {
      while (entries.length) {
        await this.#send(life, entries.splice(0, FULL.messages), post);
        life.stop.signal.throwIfAborted();
      }
    } catch (error) {
      life.clientId = undefined;
      throw error;
    }
  }

  /** Throws if a handshake or connect was not granted, after doing what that means. */
  #judge(life, reply) {
    life.stop.signal.throwIfAborted();
    const error = reply?.successful ? undefined : refusal(reply);
    if (this.#advice.reconnect === "none") {
      const last = error ?? new EnckeError("refused", "the server ended the session", { reply });
      const transports = [this.#transport, this.#trial];
      this.#end("refused", last);
      transports.forEach((transport) => transport?.close(last));
      throw last;
    }
    if (error) {
      if (this.#advice.reconnect === "handshake" || isUnknown(reply)) {
        life.clientId = undefined;
      }
      throw error;
    }
  }

  // ---- Which transport. The handshake and the first connect go by POST: nothing is answered sooner, it gets through
  // every proxy, its reply says what the server has and sets the cookie that the others need, and whatever becomes of
  // those, long-polling serves already. A better one is tried beside it: opened, then given the session by a connect,
  // for the newest connect decides where events go. It takes over once that was answered. Meanwhile the old one sends
  // no connect, which would take the session back, and what the new one brings waits until the old one has had its say.

  #make(name, life) {
    const tell = (...wire) => this.#onWire.forEach((listener) => guarded(listener, ...wire));
    const unsure = [];
    const hear = (events, replies) => this.#hear(life, unsure, events, replies);
    return new TRANSPORTS[name](this.#url, this.#options, tell, hear);
  }

  /** What serves when nothing else does. */
  #base(life) {
    const names = this.transports.filter(({ usable }) => usable).map(nameOf);
    const best = names.find((name) => !this.#isBarred(name)) ?? names[0];
    if (!best) {
      throw new EnckeError("lost", "the server has none of this client's transports");
    }
    return this.#make(names.includes("long-polling") ? "long-polling" : best, life);
  }

  /** Has a transport connect again and again. Its `over` resolves when another one has taken over. */
  #begin(life, transport) {
    Object.assign(transport, { clientId: life.clientId, prove: () => this.#prove(life, transport) });
    transport.over = this.#keep(life, transport);
    transport.over.catch(() => {});
    return transport;
  }

  async #keep(life, transport) {
    await transport.open();
    const old = this.#transport;
    if (old && old !== transport) {
      await Promise.race([old.proof.promise, old.over]).catch(() => {});
      life.stop.signal.throwIfAborted();
      this.#trial = transport;
      await old.settled();
    }
    while (this.#life === life) {
      while (this.#trial && this.#trial !== transport) {
        await this.#trial.verdict;
      }
      if (transport.retired) {
        return;
      }
      transport.stop.signal.throwIfAborted();
      try {
        await this.#poll(life, transport);
        transport.tries = 0;
        await (this.#life === life && rest(transport, this.#advice.interval));
      } catch (error) {
        // A newer connect may have taken its place: that of another transport, or one that was slow on its way.
        const overtaken = error.again || (error.code === "lost" && this.#trial && this.#trial !== transport);
        if (!overtaken || (transport.tries += 1) > 3) {
          throw error;
        }
      }
    }
  }

  /** One connect. When the connection is in doubt, it asks to be answered at once; else it is held for an event. */
  async #poll(life, transport) {
    const { clientId, name } = transport;
    const id = (life.asked = `${(this.#lastId += 1)}`);
    const connect = { channel: "/meta/connect", id, clientId, connectionType: name };
    if (life.batch !== undefined) {
      connect.ext = { ack: life.batch };
    }
    const { requestTimeout, connectMargin } = this.#options;
    let timeout = this.#advice.timeout + connectMargin;
    if (!transport.proved && transport.asks) {
      connect.advice = { timeout: 0 };
      timeout = requestTimeout;
    }
    const answer = this.#exchange(life, transport, [connect], { timeout, signal: transport.stop.signal });
    Object.assign(transport, { asked: Date.now(), answered: answer.catch(() => {}) });
    const [reply] = await answer;
    if (this.#life === life && clientId !== life.clientId) {
      throw new EnckeError("lost", "the session is gone");
    }
    this.#judge(life, reply);
    if (reply.advice?.["connection-type"] && reply.advice["connection-type"] !== name) {
      throw new EnckeError("lost", "something on the way keeps events back", { buffers: true });
    }
    transport.prove();
  }

  /** The transport works. */
  #prove(life, transport) {
    if (!transport.proved && this.#life === life && life.clientId) {
      Object.assign(transport, { proved: true, since: Date.now() });
      transport.proof.resolve();
      if (transport === this.#transport) {
        this.#go(life);
      }
    }
  }

  /** There is a connection. */
  #go(life) {
    life.since ??= performance.now();
    this.#become("connected", { transport: this.#transport.name });
    life.first.resolve();
    life.wake();
    this.#climb(life);
    this.#flush();
  }

  /** Has a transport take over. Rejects if it does not work; then all is as it was. */
  async #move(life, next) {
    next.backlog = life.batch === undefined ? [] : undefined;
    next.verdict = next.proof.promise.catch(() => {});
    let old;
    try {
      const { over, proof } = this.#begin(life, next);
      over.then(() => proof.reject(new EnckeError("ended", "there is no connection any more")), proof.reject);
      await proof.promise;
      life.stop.signal.throwIfAborted();
      old = this.#transport;
      this.#transport = next;
      this.#trial = undefined;
      this.#go(life);
      if (old) {
        old.retired = true;
        old.wake();
        await within(this.#options.requestTimeout, old.drained());
        old.close(new EnckeError("ended", "another transport has taken over"));
      }
    } catch (error) {
      next.close(error);
      if (this.#trial === next) {
        this.#trial = undefined;
        this.#transport?.renew();
      }
      throw error;
    } finally {
      next.release();
    }
  }

  /** Tries the transports that are better than the present one, as long as there are any; later once more. */
  #climb(life) {
    return (life.climbing ??= (async () => {
      clearTimeout(life.later);
      for (let name; (name = await this.#better(life)); ) {
        const next = this.#make(name, life);
        await this.#move(life, next).catch((error) => this.#life === life && this.#bar(name, error));
      }
      life.climbing = undefined;
      const times = this.#wanted().map((name) => this.#bars.get(name)?.until ?? Infinity);
      const pause = Math.max(50, Math.min(...times) - Date.now());
      if (this.#life === life && pause < 2 ** 31) {
        life.later = setTimeout(() => this.#climb(life), pause);
      }
    })());
  }

  /** The transports better than the present one. */
  #wanted() {
    const usable = this.transports.filter((one) => one.usable && one.name === (this.#forced ?? one.name)).map(nameOf);
    const at = usable.indexOf(this.#transport?.name);
    return usable.slice(0, at < 0 ? usable.length : at);
  }

  #better(life) {
    const settled = this.#life === life && life.clientId && this.#transport;
    return settled ? this.#wanted().find((name) => !this.#isBarred(name)) : undefined;
  }

  #isBarred(name) {
    return this.#bars.get(name)?.until > Date.now();
  }

  /** A transport has failed. What keeps back a stream would keep back any, and does so for a good while. */
  #bar(name, { message, buffers }, since = Infinity) {
    const { upgradeMin, upgradeMax } = this.#options;
    const before = Date.now() - since > upgradeMin ? 0 : (this.#bars.get(name)?.failures ?? 0);
    const pause = buffers ? upgradeMax : Math.min(upgradeMax, upgradeMin * 2 ** before) * (0.5 + Math.random() / 2);
    const bar = { failures: before + 1, until: Date.now() + pause, reason: message, buffers };
    for (const one of buffers ? ["streaming", "eventsource"] : [name]) {
      this.#bars.set(one, bar);
    }
  }

  #forgive(which = () => true) {
    this.#bars.forEach((bar, name) => which(bar) && this.#bars.delete(name));
  }

  /** The connection is in doubt: has the next connect find out. */
  #lose(life, reason) {
    if (this.#life === life && this.#state === "connected") {
      const error = new EnckeError("lost", reason);
      life.spell.abort(error);
      this.#transport?.close(error);
      if (this.#life === life) { // Else whoever hears what travels has ended it.
        this.#become("reconnecting", { reason, attempt: 0 });
      }
    }
  }

  #end(state, error) {
    const life = this.#life;
    clearTimeout(life?.later);
    this.#life = this.#transport = this.#trial = undefined;
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

  #subscribing(channel, record) {
    const replay = this.#life?.replay;
    const from = record.position ?? record.since;
    // The numbers may be those of another life of the server: they say nothing of those to come.
    const forget = (since) => {
      if (from >= 0 && (record.position ?? record.since) === from) {
        Object.assign(record, { since, position: undefined, floor: undefined, heard: new Map() });
      }
    };
    const resolve = ({ ext }) => {
      const gap = ext?.gap ?? (from >= 0 && !replay ? { [channel]: -1 } : undefined);
      if (gap) {
        this.#tellGap(gap);
        forget(from); // Until there is an event, it may be told again.
      }
      const now = ext?.replay?.[channel];
      record.beside ||= Number.isSafeInteger(now);
      if (from === SINCE.new && now >= 0) {
        record.floor = now;
        record.position = Math.max(record.position ?? 0, now);
      }
      record.taken = true;
      record.ready.resolve();
    };
    const reject = (error) => {
      if (!isFinal(error) || this.#channels.get(channel) !== record) {
        return; // The next session gets it; or it is not wanted any more.
      }
      if (from >= 0 && error.reply.error?.startsWith("400::The replayId")) {
        this.#tellGap({ [channel]: -1 });
        forget(SINCE.all);
        this.#enqueue(this.#subscribing(channel, record), "unshift");
        return;
      }
      if (!record.taken) {
        this.#channels.delete(channel);
      }
      record.ready.reject(error);
      if (record.taken || !record.asked) {
        report(error); // Nobody waits for `ready`.
      }
    };
    const message = { channel: "/meta/subscribe", subscription: channel };
    if (replay) {
      message.ext = { replay: { [channel]: from } };
    }
    return { message, record, resolve, reject };
  }

  #enqueue(entry, how = "push") {
    this.#outbox[how]({ size: 0, group: this.#group ?? {}, ...entry });
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
  async #send(life, entries, transport = this.#transport) {
    const { clientId, spell } = life;
    const messages = entries.map(({ message }) => message);
    const answer = await this.#exchange(life, transport, messages).catch((error) => error);
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

  /** Some messages and the replies to them, in order. */
  async #exchange(life, transport, messages, limits = {}) {
    const { timeout = this.#options.requestTimeout, signal = life.spell.signal } = limits;
    const session = life.clientId && { clientId: life.clientId };
    const sent = messages.map((message) => ({ id: `${(this.#lastId += 1)}`, ...session, ...message }));
    const replies = new Map();
    for (const reply of await transport.send(sent, { timeout, signal })) {
      if (reply.advice && this.#life === life) {
        this.#advice = { ...this.#advice, "multiple-clients": false, ...reply.advice };
      }
      replies.set(reply.id, reply);
    }
    return sent.map(({ id }) => replies.get(id));
  }

  /**
   * Gives events to those who listen. Those that are acknowledged come with the reply to a connect, and only the newest
   * connect counts: what answers another one has not been acknowledged by then, so that it comes again.
   */
  #hear(life, unsure, events, replies) {
    if (this.#life !== life) {
      return;
    }
    const connect = replies.find(({ channel }) => channel === "/meta/connect");
    this.#tellGap(connect?.ext?.gap);
    if (life.batch !== undefined) {
      events.forEach((event) => unsure.push(event));
      events = connect ? unsure.splice(0) : [];
      if (connect && connect.id !== life.asked) {
        return;
      }
    }
    events.forEach((event) => this.#life === life && this.#dispatch(event));
    if (life.batch !== undefined && Number.isSafeInteger(connect?.ext?.ack)) {
      life.batch = connect.ext.ack;
    }
  }

  #dispatch(message) {
    const { channel, data, ext } = message;
    for (const pattern of patternsOf(channel)) {
      const record = this.#channels.get(pattern);
      const within = pattern === channel && this.#life?.replay && !record?.beside;
      const id = ext?.replay?.id ?? (within ? data?.event?.replayId : undefined);
      const numbered = Number.isSafeInteger(id);
      if (!record || (numbered && id <= (record.heard.get(channel) ?? record.floor))) {
        continue;
      }
      if (numbered) {
        record.heard.set(channel, id);
        record.position = Math.max(record.position ?? 0, id);
      }
      for (const one of [...record.listeners]) {
        if (record.listeners.has(one)) {
          guarded(one.listener, data, message);
        }
      }
    }
  }

  #tellGap(gap = {}) {
    for (const [channel, count] of Object.entries(gap)) {
      this.#onGap.forEach((listener) => guarded(listener, channel, count < 0 ? undefined : count));
    }
  }
}

// ---- The transports. Each instance serves once:
//
// - `open()` resolves when it can be used;
// - `send(messages, { timeout, signal })` resolves with the replies; rejects with the EnckeErrors `lost` and `refused`;
// - events go to `hear` as they come, with the replies beside them, and all that travels is told;
// - `prove()` is called once it is known that what the server sends arrives;
// - `settled()` resolves when the connect under way is with the server, so that another transport's is the newer one;
// - `drained()` resolves when all has come that the server has sent, after another transport has taken over;
// - `renew()` has a connect sent again that the server may have forgotten, for another transport tried to take over;
// - `close()` gives up what is under way.

let requests = 0;

/** A request that was sent so many ms ago has arrived. */
const SETTLED = 1_000;

class Transport {
  proof = deferred();
  tries = 0;
  stop = new AbortController();

  constructor(url, options, tell, hear) {
    Object.assign(this, { url, options, hear });
    this.tell = (direction, messages, info) => tell(direction, messages, { transport: this.name, ...info });
  }

  async open() {}
  wake() {}
  renew() {}

  async settled() {
    await within(SETTLED - (Date.now() - this.asked), this.answered);
  }

  async drained() {
    await this.over.catch(() => {}); // The answer to the connect under way.
  }

  close(reason) {
    this.stop.abort(reason);
    this.wake();
  }

  /** Gives events to those who listen, or keeps them until it may; returns the replies. */
  take(messages) {
    const isReply = (message) => message.data === undefined || isMeta(message);
    const replies = messages.filter(isReply);
    const events = messages.filter((message) => !isReply(message));
    this.backlog = this.backlog?.concat(events);
    this.hear(this.backlog ? [] : events, replies);
    return replies;
  }

  release() {
    const backlog = this.backlog ?? [];
    this.backlog = undefined;
    this.hear(backlog, []);
  }

  /** Rejects when it takes too long until a transport is open. */
  opening(begin) {
    return new Promise((resolve, reject) => {
      const what = this.name === "websocket" ? "the WebSocket" : "the event stream";
      const buffers = this.name === "eventsource";
      const late = () => reject(new EnckeError("lost", `${what} does not open`, { buffers }));
      const timer = setTimeout(late, this.options.openTimeout);
      this.stop.signal.addEventListener("abort", () => (clearTimeout(timer), reject(this.stop.signal.reason)));
      begin(() => (clearTimeout(timer), resolve()), (why) => reject(new EnckeError("lost", `${what} ${why}`)));
    });
  }
}

class LongPolling extends Transport {
  name = "long-polling";
  /** Whether its first connect asks to be answered at once. */
  asks = true;
  static needs = () => true;

  send(messages, limits) {
    return this.post(messages, limits);
  }

  /** One request. With `lines`, its answer comes line by line, each within `silence` ms of the one before. */
  async post(messages, { timeout, signal, lines }) {
    const abort = new AbortController();
    const give = () => abort.abort(signal.reason);
    signal?.addEventListener("abort", give);
    let timer;
    const wait = (ms, buffers) => {
      clearTimeout(timer);
      const late = () => new EnckeError("lost", `no answer within ${Math.round(ms / 1000)} s`, { buffers });
      timer = setTimeout(() => abort.abort(late()), ms);
    };
    wait(timeout, lines);
    const { credentials, headers, silence } = this.options;
    const init = { method: "POST", credentials, headers: { "Content-Type": "application/json", ...headers } };
    const body = JSON.stringify(messages);
    const request = (requests += 1);
    const begun = performance.now();
    this.tell("out", messages, { as: "request", request, timeout: lines ? silence : timeout, bytes: bytes(body) });
    const took = () => ({ as: lines ? "line" : "response", request, ms: performance.now() - begun });
    try {
      signal?.throwIfAborted();
      const response = await fetch(this.url, { ...init, body, signal: abort.signal });
      const status = response.status;
      if (!response.ok) {
        const text = await response.text();
        const said = text.length < 500 && !text.includes("<") ? `: ${text.trim()}` : "";
        // A gateway's 5xx does not say whether the server behind it has acted.
        throw new EnckeError(status < 500 ? "refused" : "lost", `HTTP status ${status}${said}`, { status });
      }
      const replies = [];
      for await (const text of lines ? linesOf(response.body) : [response.text()]) {
        if (lines) {
          wait(silence);
        }
        const came = text.trim() ? parse(text) : [];
        const more = lines && !came.some(({ id }) => id === messages[0].id);
        this.tell("in", came, { ...took(), status, bytes: bytes(text), more });
        replies.push(...this.take(came));
      }
      if (lines && !replies.length) {
        this.tell("in", [], { ...took(), status, bytes: 0 }); // Its end: events come another way now.
      }
      return replies;
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

/** The lines of a stream as they come. */
async function* linesOf(stream) {
  const [reader, decoder] = [stream.getReader(), new TextDecoder()];
  for (let text = ""; ; ) {
    const { done, value } = await reader.read();
    const lines = (text + decoder.decode(value, { stream: !done })).split("\n");
    text = lines.pop();
    yield* lines;
    if (done) {
      return text && (yield text);
    }
  }
}

/**
 * The answer to a connect stays open, with an array on each line. The first one is a number that is to be confirmed,
 * since a proxy that keeps back the beginning of an answer keeps back events: no event is sent before that.
 */
class Streaming extends LongPolling {
  name = "streaming";
  asks = false;
  static needs = () => typeof ReadableStream === "function";

  send(messages, limits) {
    const lines = messages[0].channel === "/meta/connect";
    return this.post(messages, lines ? { ...limits, timeout: this.options.openTimeout, lines } : limits);
  }

  take(messages) {
    const isProbe = ({ channel, data }) => channel === "/service/probe" && data;
    messages.filter(isProbe).forEach(({ data }) => this.confirm(data.probe));
    this.asked = 0; // The server has the connect.
    return super.take(messages.filter((message) => !isProbe(message)));
  }

  confirm(probe) {
    const { clientId, options } = this;
    const message = { channel: "/service/probe", id: `probe-${probe}`, clientId, data: {}, ext: { probe } };
    const confirmed = this.post([message], { timeout: options.requestTimeout, signal: this.stop.signal });
    // Unconfirmed, the server ends the stream.
    confirmed.then(([reply]) => reply?.successful && this.prove(), () => {});
  }
}

/** Events come by an EventSource; connects are answered at once, and come at the pace that their answers advise. */
class EventStream extends LongPolling {
  name = "eventsource";
  asks = false;
  static needs = (options) => typeof options.EventSource === "function";

  async send(messages, limits) {
    if (messages[0].channel !== "/meta/connect") {
      return this.post(messages, limits);
    }
    if (!this.source) {
      await this.opening((opened, failed) => this.listen(opened, failed));
    }
    const replies = await this.post(messages, limits);
    if (!this.source) {
      throw new EnckeError("lost", "the event stream ended", { again: true });
    }
    return replies;
  }

  listen(opened, failed) {
    const url = this.url.replace(/\/*(\?.*)?$/, `/${this.clientId}$1`);
    const source = new this.options.EventSource(url, { withCredentials: this.options.credentials === "include" });
    this.source = source;
    source.onopen = opened;
    source.onmessage = ({ data }) => {
      const messages = parse(data);
      this.tell("in", messages, { as: "event", bytes: bytes(data) });
      this.take(messages);
    };
    source.onerror = () => {
      failed("does not open");
      this.ended?.();
      this.end();
      this.wake(); // Its own way to come back is slow: the next connect opens another one.
    };
  }

  end() {
    this.source?.close();
    this.source = undefined;
  }

  async drained() {
    await (this.source && new Promise((resolve) => (this.ended = resolve)));
  }

  close(reason) {
    super.close(reason);
    this.end();
  }
}

/** Frames with arrays. Events come at any time; the connect that is held shows that the other side is there. */
class Socket extends Transport {
  name = "websocket";
  asks = true;
  /** What waits for replies: `{ ids, replies, request, begun, connect, settle }`. */
  #exchanges = new Set();
  #heard = 0;
  static needs = (options) => typeof options.WebSocket === "function";

  open() {
    return this.opening((opened, failed) => {
      const url = new URL(this.url, globalThis.location?.href);
      url.protocol = url.protocol.replace("http", "ws");
      const socket = (this.socket = new this.options.WebSocket(url.href));
      socket.onopen = opened;
      socket.onerror = () => {}; // `onclose` follows.
      socket.onclose = ({ code, reason }) => {
        failed(`closed, ${code} ${reason}`);
        this.ended?.();
        this.close(new EnckeError("lost", `the WebSocket closed, ${code} ${reason}`));
      };
      socket.onmessage = ({ data }) => this.frame(data);
    });
  }

  frame(data) {
    const messages = parse(data);
    this.#heard = performance.now();
    const of = [...this.#exchanges].find(({ ids }) => messages.some(({ id }) => ids.has(id)));
    const took = of && { request: of.request, ms: performance.now() - of.begun };
    this.tell("in", messages, { as: "frame", bytes: bytes(data), ...took });
    if (/^\s*\[\s*\]\s*$/.test(data)) {
      this.ended?.();
    }
    for (const reply of this.take(messages)) {
      const exchange = [...this.#exchanges].find(({ ids }) => ids.delete(reply.id));
      exchange?.replies.push(reply);
      if (exchange?.ids.size === 0) {
        exchange.settle();
      }
    }
  }

  send(messages, { timeout, signal }) {
    return new Promise((resolve, reject) => {
      const [body, begun, request] = [JSON.stringify(messages), performance.now(), (requests += 1)];
      const connect = messages[0].channel === "/meta/connect";
      const exchange = { ids: new Set(messages.map(({ id }) => id)), replies: [], request, begun, connect };
      const { signal: stopped } = this.stop;
      let timer;
      const watch = () => {
        // Whatever is heard shows that it lives.
        const left = Math.max(begun, this.#heard) + timeout - performance.now();
        const late = new EnckeError("lost", `no answer within ${Math.round(timeout / 1000)} s`);
        timer = left > 0 ? setTimeout(watch, left) : exchange.settle(late);
      };
      const give = () => exchange.settle(stopped.aborted ? stopped.reason : signal.reason);
      exchange.settle = (error) => {
        clearTimeout(timer);
        [signal, stopped].forEach((one) => one?.removeEventListener("abort", give));
        this.#exchanges.delete(exchange);
        if (error) {
          this.tell("in", [], { as: "frame", request, ms: performance.now() - begun, bytes: 0, error });
        }
        error ? reject(error) : resolve(exchange.replies);
      };
      this.tell("out", messages, { as: "frame", request, timeout, bytes: bytes(body) });
      this.#exchanges.add(exchange);
      [signal, stopped].forEach((one) => one?.addEventListener("abort", give));
      if (stopped.aborted || signal?.aborted) {
        give();
      } else {
        watch();
        this.socket.send(body);
      }
    });
  }

  renew() {
    const error = new EnckeError("lost", "another transport has tried to take over", { again: true });
    this.#exchanges.forEach((exchange) => exchange.connect && exchange.settle(error));
  }

  /** An empty array is answered with one, behind everything that was sent before. */
  async settled() {
    await within(SETTLED, this.drained());
  }

  drained() {
    return new Promise((resolve) => {
      this.ended = resolve;
      if (this.socket?.readyState !== 1) {
        return resolve();
      }
      this.tell("out", [], { as: "frame", bytes: 2 });
      this.socket.send("[]");
    });
  }

  close(reason) {
    super.close(reason);
    if (this.socket) {
      this.socket.onmessage = null;
      this.socket.close();
    }
  }
}

const TRANSPORTS = { websocket: Socket, streaming: Streaming, eventsource: EventStream, "long-polling": LongPolling };

/** The messages of a text; what is none is left out. */
function parse(text) {
  return [].concat(JSON.parse(text)).filter((message) => typeof message?.channel === "string");
}

const nameOf = ({ name }) => name;

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
    : new EnckeError("lost", "the answer has no reply to this message", { again: true });
}

/** Rests for so long, or until the owner is woken. A timer of 0 ms takes a second in a hidden page. */
function rest(owner, ms) {
  return ms > 0 && new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    owner.wake = () => (clearTimeout(timer), resolve());
  });
}

/** Waits for a promise, but no longer than so many ms. */
async function within(ms, promise) {
  const limit = { wake() {} };
  await Promise.race([promise, rest(limit, ms)]);
  limit.wake();
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
