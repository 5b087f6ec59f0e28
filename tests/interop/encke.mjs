// What is special about our own client, encke.js: its states, its queue, its errors, its listeners.
// A small proxy in front of the daemon makes what a daemon does not do on request: answers that get lost or say no.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connected, daemon, inbox, journal, scenario, until } from "./lib.mjs";

/** Hands every request to the daemon, unless `proxy.hook(messages, forward)` makes something else of it. */
async function interpose(url) {
  const proxy = { hook: null };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) {
      body += part;
    }
    const headers = { "Content-Type": "application/json" };
    const forward = async () => (await fetch(url, { method: "POST", headers, body })).json();
    try {
      const answer = await (proxy.hook?.(JSON.parse(body), forward) ?? forward());
      response.setHeader("Content-Type", "application/json").end(JSON.stringify(answer));
    } catch {
      request.socket.destroy();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  proxy.url = `http://127.0.0.1:${server.address().port}/`;
  return proxy;
}

const recorded = (url, options) => journal(url, { transports: ["long-polling"], ...options });

const channelsOf = (batch) => batch.map(({ channel }) => channel);

const code = (expected) => (error) => {
  assert.equal(error.name, "EnckeError", String(error.stack));
  assert.equal(error.code, expected, error.message);
  return true;
};

const lost = () => {
  throw new Error("the answer is lost on its way");
};

await scenario(async (url) => {
  const proxy = await interpose(url);
  const witness = await connected("encke", url);
  const seen = inbox();
  await witness.subscribe("/**", seen.listener);
  let count = 0;
  const next = async (channel, data) => {
    count += 1;
    await seen.holds(count);
    assert.deepEqual(seen.events.at(-1), [channel, data]);
  };

  // The queue is bounded; what is in it goes out in order and in one request, with the data of when it was said.
  const { client, states, sent } = recorded(proxy.url, { maxQueue: 3 });
  const data = { n: 0 };
  const waiting = [0, 1, 2].map((n) => client.publish("/queue", Object.assign(data, { n })));
  await assert.rejects(client.publish("/queue", { n: 3 }), code("queue_full"));
  assert.deepEqual(states, ["idle"]);
  await client.connect();
  await Promise.all(waiting);
  count += 3;
  await seen.holds(count);
  assert.deepEqual(seen.events.map(([, { n }]) => n), [0, 1, 2]);
  assert.deepEqual(sent.slice(0, 2).map(channelsOf), [["/meta/handshake"], ["/meta/connect"]]);
  assert.ok(sent.some((batch) => channelsOf(batch).join() === "/queue,/queue,/queue"));

  // One event that several of its patterns match arrives once and reaches each listener; one that throws harms nobody.
  const complaints = [];
  const { error: complain } = console;
  console.error = (problem) => complaints.push(problem.message);
  const heard = [];
  const listen = (channel, name) =>
    client.subscribe(channel, (words, message) => heard.push(`${name} ${message.channel} ${words}`));
  const subscriptions = client.batch(() => [
    client.subscribe("/a/b", () => {
      throw new Error("a listener's mistake");
    }),
    listen("/a/b", "exact"),
    listen("/a/b", "exact too"),
    listen("/a/*", "one below"),
    listen("/a/**", "all below"),
    listen("/**", "everything"),
    listen("/a/b/*", "below it"),
    listen("/a", "above it"),
  ]);
  await Promise.all(subscriptions.map(({ ready }) => ready));
  const asked = sent.flat().filter(({ channel }) => channel === "/meta/subscribe");
  assert.deepEqual(asked.map(({ subscription }) => subscription), ["/a/b", "/a/*", "/a/**", "/**", "/a/b/*", "/a"]);
  await client.publish("/a/b", "x");
  await next("/a/b", "x");
  await until("all five to hear", () => heard.length >= 5);
  const five = ["all below", "everything", "exact", "exact too", "one below"];
  assert.deepEqual([...heard].sort(), five.map((name) => `${name} /a/b x`));
  assert.deepEqual(complaints, ["a listener's mistake"]);
  console.error = complain;

  // The last listener of a channel takes the subscription with it, and not before.
  const left = () => sent.flat().filter(({ channel }) => channel === "/meta/unsubscribe").length;
  await subscriptions[0].cancel();
  await subscriptions[1].cancel();
  assert.equal(left(), 0);
  await subscriptions[2].cancel();
  await subscriptions[2].cancel();
  assert.equal(left(), 1);
  await Promise.all(subscriptions.map(({ cancel }) => cancel()));

  // A batch is one request, in order, however long; without one, no request gets that long.
  const long = recorded(url);
  await long.client.connect();
  const many = Array.from({ length: 300 }, (_, n) => n);
  const lengths = () => long.sent.filter((batch) => batch[0].channel === "/batch").map((batch) => batch.length);
  const say = (n) => long.client.publish("/batch", n);
  await Promise.all(long.client.batch(() => many.map((n) => long.client.batch(() => say(n)))));
  assert.deepEqual(lengths(), [300]);
  await Promise.all(many.map(say));
  assert.ok(lengths().length > 2, `requests of ${lengths()}`);
  await long.client.disconnect();
  count += 599;
  await next("/batch", 299);
  assert.deepEqual(seen.events.slice(-600).map(([, n]) => n), [...many, ...many]);

  // What the server refuses concerns that message alone.
  await assert.rejects(client.publish("/no/*", 1), (error) => code("refused")(error) && error.reply.id !== undefined);
  await assert.rejects(client.subscribe("/meta/x", () => {}).ready, code("refused"));
  assert.equal(client.state, "connected");

  // An answer that gets lost: the publish rejects, is never sent again, and the session goes on.
  const session = sent.at(-1)[0].clientId;
  proxy.hook = (messages, forward) => (messages[0].channel === "/lost" ? forward().then(lost) : forward());
  await assert.rejects(client.publish("/lost", 1), code("lost"));
  proxy.hook = null;
  await client.publish("/after", 1);
  count += 1;
  await next("/after", 1);
  assert.equal(seen.events.filter(([channel]) => channel === "/lost").length, 1);
  // To subscribe twice harms nothing, so that is sent again by itself.
  let losses = 0;
  proxy.hook = (messages, forward) => {
    const loses = messages[0].channel === "/meta/subscribe" && losses === 0;
    losses += loses ? 1 : 0;
    return loses ? lost() : forward();
  };
  await client.subscribe("/wanted", () => {}).ready;
  assert.equal(losses, 1);
  assert.equal(sent.at(-1)[0].clientId, session, "the session is the same all the time");
  await client.disconnect();

  // No answer at all: given up in time, with the same end.
  const hasty = recorded(proxy.url, { requestTimeout: 300, connectMargin: 100 });
  await hasty.client.connect();
  proxy.hook = (messages, forward) => (messages[0].channel === "/silence" ? new Promise(() => {}) : forward());
  await assert.rejects(hasty.client.publish("/silence", 1), (error) => /no answer/.test(error) && code("lost")(error));
  // The same for a held connect, which may take what the server said and a margin.
  proxy.hook = async (messages, forward) => {
    if (messages[0].channel !== "/meta/connect") {
      return forward();
    }
    if (!messages[0].advice) {
      return new Promise(() => {});
    }
    const answer = await forward();
    answer.at(-1).advice.timeout = 50;
    return answer;
  };
  hasty.states.length = 0;
  hasty.client.publish("/silence", 1).catch(() => {});
  await until("a held connect to be given up", () => hasty.states.join().includes("connected,reconnecting,connected"));
  await hasty.client.disconnect();

  // A session that the server forgot: a publish learns it, and goes out in the next session, after the subscriptions.
  proxy.hook = null;
  const forgot = recorded(proxy.url);
  const news = inbox();
  await forgot.client.connect();
  await forgot.client.subscribe("/news/**", (words, { channel }) => news.listener(words, channel)).ready;
  let forgetting = true;
  proxy.hook = (messages, forward) => {
    if (!forgetting || messages[0].channel !== "/news/1") {
      return forward();
    }
    forgetting = false;
    return messages.map(({ channel, id }) => ({ channel, id, successful: false, error: "402::session_unknown" }));
  };
  forgot.sent.length = 0;
  await forgot.client.publish("/news/1", "still said");
  await news.holds(1);
  assert.deepEqual(news.events, [["/news/1", "still said"]]);
  const order = forgot.sent.flat().map(({ channel }) => channel);
  const anew = order.slice(order.indexOf("/meta/handshake"));
  const said = anew.filter((channel) => channel !== "/meta/connect");
  assert.deepEqual(said, ["/meta/handshake", "/meta/subscribe", "/news/1"]);
  assert.ok(anew.indexOf("/meta/connect") < anew.indexOf("/news/1"));
  assert.deepEqual(forgot.states, ["idle", "connecting", "connected", "reconnecting", "connected"]);
  await forgot.client.disconnect();

  // The server is lost and comes back: it says so, what is said meanwhile waits, listeners go on.
  proxy.hook = null;
  const survivor = recorded(url);
  const echo = inbox();
  survivor.client.subscribe("/echo", (words, { channel }) => echo.listener(words, channel));
  await survivor.client.connect();
  await daemon("kill");
  await until("the client to say so", () => survivor.states.at(-1) === "reconnecting");
  const patient = survivor.client.publish("/echo", "meanwhile");
  const away = survivor.client.subscribe("/away", () => {});
  const briefly = survivor.client.subscribe("/briefly", () => {});
  briefly.cancel();
  // It tries all the time: before the daemon is said to be back, it may have all that it asks for.
  survivor.sent.length = 0;
  await daemon("restart");
  survivor.client.retryNow();
  await patient;
  await away.ready;
  await echo.holds(1);
  assert.deepEqual(echo.events, [["/echo", "meanwhile"]]);
  assert.deepEqual(survivor.states, ["idle", "connecting", "connected", "reconnecting", "connected"]);
  const again = survivor.sent.find((batch) => batch[0].channel === "/meta/subscribe");
  assert.deepEqual(again.map(({ subscription }) => subscription), ["/echo", "/away"], "all in one batch");

  // To leave rejects what waits; subscriptions are there for the next time.
  const unsaid = survivor.client.publish("/echo", "too late");
  const leaving = survivor.client.disconnect();
  await assert.rejects(unsaid, code("ended"));
  await leaving;
  assert.equal(survivor.client.state, "idle");
  await survivor.client.connect();
  await survivor.client.publish("/echo", "again");
  await echo.holds(2);
  assert.deepEqual(echo.events.at(-1), ["/echo", "again"]);

  // Told to wait between connects, it waits, and is connected all the while.
  const times = [];
  proxy.hook = (messages, forward) => {
    if (messages.at(-1).channel !== "/meta/connect") {
      return forward();
    }
    times.push(performance.now());
    const advice = { reconnect: "retry", interval: 400, timeout: 0, "multiple-clients": true };
    return messages.map(({ channel, id }) => ({ channel, id, successful: true, advice }));
  };
  const slow = recorded(proxy.url);
  await slow.client.connect();
  await until("a third connect", () => times.length >= 3);
  assert.ok(times[2] - times[1] >= 300, `connects ${times[2] - times[1]} ms apart, told 400`);
  assert.equal(slow.client.advice["multiple-clients"], true);
  assert.deepEqual(slow.states, ["idle", "connecting", "connected"]);
  await slow.client.disconnect();

  // It tries less and less often, up to a bound; and at once when told to.
  proxy.hook = lost;
  const pauses = [];
  const { now } = Date;
  Date.now = () => 0;
  const trier = recorded(proxy.url, { retryMin: 20, retryMax: 160 });
  trier.client.onState((_, { attempt, retryAt }) => retryAt && (pauses[attempt] = retryAt));
  trier.client.connect();
  await until("seven tries", () => pauses.length > 7);
  for (const [attempt, most] of [[2, 40], [3, 80], [4, 160], [7, 160]]) {
    const pause = pauses[attempt];
    assert.ok(pause >= most / 2 && pause <= most, `${pause} ms after try ${attempt}, at most ${most}`);
  }
  Date.now = now;
  await trier.client.disconnect();
  const idler = recorded(proxy.url, { retryMin: 3_600_000, retryMax: 3_600_000 });
  let retryAt;
  idler.client.onState((_, detail) => (retryAt = detail.retryAt));
  idler.client.connect();
  await until("a pause", () => retryAt);
  proxy.hook = null;
  idler.client.retryNow();
  await idler.client.connect();
  await idler.client.disconnect();

  // Told not to come back, it does not; asked to connect, it tries anew.
  let denied = 0;
  proxy.hook = (messages) => {
    denied += 1;
    const refusal = { successful: false, error: "403::handshake_denied", advice: { reconnect: "none" } };
    return messages.map(({ channel, id }) => ({ channel, id, ...refusal }));
  };
  const denier = recorded(proxy.url);
  const early = denier.client.publish("/early", 1);
  await Promise.all([
    assert.rejects(early, code("ended")),
    assert.rejects(denier.client.connect(), (error) => /handshake_denied/.test(error) && code("refused")(error)),
  ]);
  await assert.rejects(denier.client.publish("/later", 1), code("ended"));
  assert.equal(denied, 1);
  proxy.hook = null;
  await denier.client.connect();
  assert.deepEqual(denier.states, ["idle", "connecting", "refused", "connecting", "connected"]);
});
