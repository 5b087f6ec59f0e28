// A client that shows a JSON Web Token when it shakes hands, and what it may do then. Words: the client, the secret of
// the daemon.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { client, inbox, scenario } from "./lib.mjs";

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Made by other hands than those that check it. */
function token(claims, secret) {
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Has a client show it, in the way that its library's documentation shows. Ours has an option for it. */
function equip({ lib }, shown) {
  const shaking = (message) => message.channel === "/meta/handshake";
  const withToken = (message) => (shaking(message) ? { ...message, ext: { ...message.ext, token: shown } } : message);
  if (lib.registerExtension) {
    lib.registerExtension("token", { outgoing: withToken });
  } else if (lib.addExtension) {
    lib.addExtension({ outgoing: (message, pass) => pass(withToken(message)) });
  }
}

await scenario(async (url, kind, secret) => {
  const inAnHour = Math.floor(Date.now() / 1000) + 3600;
  const shown = token({ sub: "alice", exp: inAnHour }, secret);
  let asked = 0;
  const ext = async () => ({ token: (asked += 1) && shown });
  const alice = client(kind, url, { ext });
  equip(alice, shown);
  await alice.open();
  const mail = inbox();
  await alice.subscribe("/user/alice/*", mail.listener);
  await assert.rejects(alice.subscribe("/user/bob/mail", mail.listener), /403:\/user\/bob\/mail is not granted:/);
  await alice.publish("/user/alice/mail", "hello");
  await assert.rejects(alice.publish("/user/bob/mail", "hello"), /403:\/user\/bob\/mail is not granted:/);
  await mail.holds(1);
  assert.deepEqual(mail.events, [["/user/alice/mail", "hello"]]);

  const hello = { channel: "/meta/handshake", version: "1.0", supportedConnectionTypes: ["long-polling"] };
  for (const [ext, reason] of [
    [undefined, "no token"],
    [{ token: token({ sub: "alice", exp: inAnHour }, `not ${secret}`) }, "bad signature"],
    [{ token: token({ sub: "alice", exp: 1 }, secret) }, "token expired"],
  ]) {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify([{ ...hello, ext }]) });
    const [reply] = await response.json();
    assert.equal(reply.error, `403:${reason}:handshake_denied`);
    assert.deepEqual(reply.advice, { reconnect: "none" });
  }
  await alice.close();
  assert.equal(asked, kind.startsWith("encke") ? 1 : 0, "once for each handshake");

  // The other place for it.
  const { status } = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${shown}` },
    body: JSON.stringify([hello]),
  });
  assert.equal(status, 200);
});
