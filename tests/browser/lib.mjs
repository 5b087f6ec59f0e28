// What the scenarios share: a real Chromium, and the page as a person sees it.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

import { scenario } from "../interop/scenario.mjs";

export { daemon } from "../interop/scenario.mjs";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** How long to wait for anything before it is called hung. Nothing here says how fast a page must be. */
const HUNG_AFTER_MS = 60_000;

/**
 * Runs a scenario with a browser and the words after the URL. It gets `open`, which opens the demo page in a tab, and for
 * other pages `newContext`, the `endpoint`, and `complaints`, which has a page watched for errors. The browser has these
 * flags beside its own.
 */
export async function browsing(body, flags = []) {
  await scenario(async (endpoint, ...words) => {
    const executablePath = process.env.ENCKE_CHROMIUM || "/usr/bin/chromium";
    // The certificate of the tests is not among those that the machine trusts; pages over plain HTTP need nothing of that.
    const trust = endpoint.startsWith("https:") ? ["--ignore-certificate-errors"] : [];
    const browser = await chromium.launch({ executablePath, args: [...FLAGS, ...trust, ...flags] });
    const newContext = async (options) => {
      const context = await browser.newContext(options);
      context.setDefaultTimeout(HUNG_AFTER_MS);
      return context;
    };
    const tabs = [];
    const contexts = new Map();
    /** A tab; those with the same name of a browser share cookies and storage. */
    const open = async ({ of = "one", ...options } = {}) => {
      if (!contexts.has(of)) {
        contexts.set(of, await newContext(options));
      }
      const tab = new Tab(await contexts.get(of).newPage());
      tab.noWebSocket = words.includes("without-websockets");
      tabs.push(tab);
      await tab.load(new URL("/", endpoint).href);
      return tab;
    };
    const complained = [];
    const complaints = (page) => void complained.push(complaintsOf(page, () => false));
    await body({ open, newContext, endpoint, complaints }, ...words);
    for (const told of [...complained, ...tabs.map((tab) => tab.complaints)]) {
      assert.deepEqual(told, [], "the console has no errors");
    }
    await browser.close();
  });
}

/** A page's errors and those of its console, as they come; those about its content security policy are among them. */
function complaintsOf(page, isExpected) {
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error.stack)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !isExpected(message.text())) {
      complaints.push(message.text());
    }
  });
  return complaints;
}

class Tab {
  /** That requests fail is expected while there is no server; Chromium says so on the console. */
  serverMayBeGone = false;
  /** So is that WebSockets do where a proxy lets none through. */
  noWebSocket = false;

  constructor(page) {
    this.page = page;
    this.complaints = complaintsOf(page, (text) => {
      const isLoss = this.serverMayBeGone && /^Failed to load resource:|^WebSocket connection to /.test(text);
      return isLoss || (this.noWebSocket && text.startsWith("WebSocket connection to "));
    });
  }

  async load(url) {
    const response = await this.page.goto(url);
    assert.equal(response.status(), 200);
    // Gone when the page is loaded again.
    await this.page.evaluate(() => (window.sameAsBefore = true));
    await this.is("connected");
  }

  async is(state) {
    await this.page.waitForSelector(`#pill[data-state="${state}"]`);
  }

  /** That transport is live, by that kind of choice, and says so. */
  async livesOn(name, choice) {
    await this.page.locator("#transport", { hasText: new RegExp(`^${name}$`) }).waitFor();
    await this.page.locator("#mode", { hasText: new RegExp(`^${choice}$`) }).waitFor({ state: "attached" });
  }

  async say(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  /** One's own message of this text, when it has this fate. */
  async said(text, fate) {
    await this.message(text, `.own[data-fate="${fate}"]`).waitFor();
  }

  /** What somebody else said; returns the name. */
  async heard(text) {
    const message = this.message(text, ":not(.own)");
    await message.waitFor();
    return message.locator("b").textContent();
  }

  message(text, which = "") {
    const exactly = this.page.locator(".text", { hasText: new RegExp(`^${text.replace(/[^\w ]/g, "\\$&")}$`) });
    return this.page.locator(`.message${which}`).filter({ has: exactly });
  }

  async name() {
    return this.page.inputValue("#name");
  }

  /** The page is not wider than the window, and nothing that is cut off is wider than its place. */
  async fits() {
    const tooWide = await this.page.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll(".bar, .card, .card > *")]
        .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
        .map(({ outerHTML, scrollWidth }) => `in ${innerWidth} px: ${scrollWidth} px of ${outerHTML.slice(0, 80)}`),
    );
    assert.deepEqual(tooWide, []);
  }
}
