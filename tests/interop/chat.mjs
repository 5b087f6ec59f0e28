// Two clients, of one library or of two, talk on one channel; the data arrives exactly.
import assert from "node:assert/strict";
import { connected, inbox, scenario } from "./lib.mjs";

const LINES = [
  "hello",
  "Grüße, Ἑλλάς, здравствуйте, 彗星, 👩‍🚀🛰️, é and e\u0301",
  "quotes \" and ' and \\ and / and </script> and <!--",
  "line\nbreak\r\nand \u2028 and \u2029 and \t and \u0000 and \u001f and \u007f and \ufeff",
  { nested: { deeper: [{ deepest: [[[]]] }, null, true, { "": "empty key" }] }, "ключ": "значение" },
  [0, -0.5, 1e21, 5e-324, Number.MAX_SAFE_INTEGER, "0"],
  { channel: "/not/a/channel", id: "1", clientId: "x", successful: false, advice: { reconnect: "none" }, data: {} },
  JSON.parse(`${"[".repeat(24)}${"]".repeat(24)}`),
  "x".repeat(100_000),
];

await scenario(async (url, left, right) => {
  const ann = await connected(left, url);
  const bob = await connected(right, url);
  const heard = [inbox(), inbox()];
  await ann.subscribe("/chat/room", heard[0].listener);
  await bob.subscribe("/chat/room", heard[1].listener);

  const said = [];
  for (const line of LINES) {
    for (const [name, speaker] of [["ann", ann], ["bob", bob]]) {
      const words = { from: name, line };
      said.push(["/chat/room", words]);
      await speaker.publish("/chat/room", words);
    }
  }
  for (const ears of heard) {
    await ears.holds(said.length);
    assert.deepStrictEqual(ears.events, said);
  }
  await ann.close();
  await bob.close();
});
