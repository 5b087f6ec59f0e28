// What a browser has and Node has not: as much of EventSource as encke.js uses, by the rules of the HTML standard.

export class EventSource {
  #abort = new AbortController();
  readyState = 0;

  constructor(url) {
    this.#listen(url).catch(() => {});
  }

  async #listen(url) {
    try {
      const headers = { Accept: "text/event-stream", "Cache-Control": "no-store" };
      const response = await fetch(url, { headers, signal: this.#abort.signal });
      if (response.status !== 200 || !/^text\/event-stream/.test(response.headers.get("content-type"))) {
        throw new Error(`HTTP status ${response.status}`);
      }
      this.#tell("onopen", 1);
      const decoder = new TextDecoder();
      let text = "";
      for await (const bytes of response.body) {
        const events = (text + decoder.decode(bytes, { stream: true })).split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").filter((line) => line.startsWith("data:"));
          if (data.length) {
            this.#tell("onmessage", 1, { data: data.map((line) => line.slice(5).replace(/^ /, "")).join("\n") });
          }
        }
      }
    } catch {
      // As with its end, its user hears that there is an error, and no more.
    }
    this.#tell("onerror", 0);
  }

  #tell(what, readyState, event = {}) {
    if (this.readyState !== 2) {
      this.readyState = readyState;
      this[what]?.(event);
    }
  }

  close() {
    this.readyState = 2;
    this.#abort.abort();
  }
}
