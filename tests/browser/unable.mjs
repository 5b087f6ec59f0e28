// Faye in a page of another site, and a server without callback-polling: Faye shakes hands with other sites by that alone,
// so it never gets as far as a transport that both have. Words: the port of the site.
import assert from "node:assert/strict";
import { until } from "../interop/scenario.mjs";
import { browsing } from "./lib.mjs";
import { serve } from "./site.mjs";

await browsing(async ({ newContext, endpoint }, port) => {
  const site = await serve(endpoint, Number(port));
  const context = await newContext();
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${site}/`);
  await page.waitForFunction(() => window.libraries);
  // What a script may not read is told to a debugger only.
  const types = [];
  const answers = [];
  page.on("request", (request) => types.push(request.resourceType()));
  const wire = await context.newCDPSession(page);
  wire.on("Network.responseReceivedExtraInfo", ({ statusCode }) => answers.push(statusCode));
  await wire.send("Network.enable");
  await page.evaluate((url) => void window.libraries.faye(url, "any").open(), endpoint);
  // The two are told on ways of their own.
  await until("two tries", () => answers.length >= 2 && types.length >= 2);
  assert.deepEqual([types.slice(0, 2), answers.slice(0, 2)], [["script", "script"], [400, 400]]);
});
