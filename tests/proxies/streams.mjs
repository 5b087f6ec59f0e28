// Responses that stay open, by hand, through a proxy: each part comes through while the rest is still to come. Where a
// proxy keeps them back, the server notices and advises to poll, and nothing is lost. Words: `flows` or `buffered`.
import assert from "node:assert/strict";
import { Raw, scenario } from "../interop/lib.mjs";

/** Reads an open response up to a part that has this text; returns all until then. */
async function through(reader, text) {
  const decoder = new TextDecoder();
  let got = "";
  while (!got.includes(text)) {
    const { value, done } = await reader.read();
    assert.ok(!done, `the end, and no ${text}: ${got}`);
    got += decoder.decode(value, { stream: true });
  }
  return got;
}

const lines = (text) => text.split("\n").filter(Boolean).flatMap((line) => JSON.parse(line));

await scenario(async (url, how) => {
  const raw = new Raw(url);
  const get = async (place, accept) => {
    const response = await fetch(new URL(place, url), { headers: { Accept: accept } });
    assert.equal(response.status, 200);
    return response.body.getReader();
  };
  await raw.handshake();
  await raw.connect();
  await raw.send({ channel: "/meta/subscribe", subscription: "/news" });
  const connect = { channel: "/meta/connect", clientId: raw.clientId, connectionType: "streaming" };
  const headers = { "Content-Type": "application/json", Cookie: raw.cookie };
  const opening = fetch(url, { method: "POST", headers, body: JSON.stringify([connect]) });

  if (how === "buffered") {
    await raw.send({ channel: "/news", data: "kept" });
    const replies = lines(await (await opening).text());
    assert.deepEqual(replies.map(({ channel }) => channel), ["/service/probe", "/meta/connect"]);
    assert.equal(replies[1].advice["connection-type"], "long-polling");
    const [event] = await raw.connect();
    assert.equal(event.data, "kept");
    return;
  }

  const stream = (await opening).body.getReader();
  const [{ data }] = lines(await through(stream, "\n"));
  await raw.send({ channel: "/service/probe", data: {}, ext: { probe: data.probe } });
  for (const news of ["one", "two"]) {
    await raw.send({ channel: "/news", data: news });
    assert.deepEqual(lines(await through(stream, news)), [{ channel: "/news", data: news }]);
  }

  // The newest stream has the events.
  const source = await get(`/cometd/${raw.clientId}`, "text/event-stream");
  const events = await get("/events/news", "application/x-ndjson");
  await raw.send({ channel: "/news", data: "three" });
  assert.match(await through(source, "three"), /^retry: \d+\n\ndata: \[\{"channel":"\/news","data":"three"\}\]/);
  assert.deepEqual(lines(await through(events, "three")), [{ channel: "/news", data: "three" }]);
  assert.equal((await stream.read()).done, true);
});
