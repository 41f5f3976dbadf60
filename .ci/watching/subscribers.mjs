// Clients that follow the pool's events from the first one on. Each keeps the id of every event that it was
// sent, in the order in which they came, and goes on by itself when its connection breaks.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TOKEN } from "./processes.mjs";

const types = readdirSync("events", { withFileTypes: true }).filter((it) => it.isDirectory()).map((it) => it.name);

/** Who asks the service directly says who it is; a proxy does so for those who come through it. */
const authorized = { authorization: `Bearer ${TOKEN}` };

/** Reads server-sent events from pieces of text and hands on those of the log. */
class Frames {
  constructor(record) {
    this.record = record;
    this.text = "";
  }

  take(piece) {
    this.text += piece;
    const frames = this.text.split("\n\n");
    this.text = frames.pop();
    for (const frame of frames) {
      const fields = Object.fromEntries(frame.split("\n").map((line) => line.split(/: ?(.*)/s)));
      if (fields.id) this.lastId = fields.id;
      if (fields.id && !fields.event.startsWith("stream.")) this.record.push(fields.id);
    }
  }

  headers() {
    return { ...authorized, ...(this.lastId ? { "last-event-id": this.lastId } : {}) };
  }
}

/** Node's fetch. */
export function fetching(url) {
  const record = [], stop = new AbortController();
  const run = async () => {
    const frames = new Frames(record);
    while (!stop.signal.aborted) {
      try {
        const response = await fetch(url, { headers: frames.headers(), signal: stop.signal });
        if (response.status === 200) {
          frames.text = "";
          for await (const piece of response.body.pipeThrough(new TextDecoderStream())) frames.take(piece);
        }
      } catch { /* a broken connection is what this is about */ }
      await sleep(200);
    }
  };
  run();
  return { record: () => record, stop: () => stop.abort() };
}

/** curl, started again whenever it ends; it asks for compressed answers as a proxy may give them. */
export function curl(url) {
  const record = [], frames = new Frames(record);
  let child, stopped = false;
  const start = () => {
    if (stopped) return;
    const headers = Object.entries(frames.headers()).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    frames.text = "";
    child = spawn("curl", ["-sSN", "--fail", "--compressed", ...headers, url], { stdio: ["ignore", "pipe", "ignore"] });
    child.stdout.setEncoding("utf8").on("data", (piece) => frames.take(piece));
    child.on("close", () => setTimeout(start, 200));
  };
  start();
  return { record: () => record, stop: () => { stopped = true; child.kill(); } };
}

/** The EventSource of npm, which can be told how to fetch. */
export const npms = (EventSource) => class extends EventSource {
  constructor(url) {
    super(url, { fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...authorized } }) });
  }
};

/** That of undici, which can be told what carries its requests. */
export function undicis({ Agent, EventSource }) {
  const carrier = new Agent().compose((dispatch) => (options, handler) => {
    const headers = Array.isArray(options.headers)
      ? [...options.headers, ...Object.entries(authorized).flat()] : { ...options.headers, ...authorized };
    return dispatch({ ...options, headers }, handler);
  });
  return class extends EventSource {
    constructor(url) {
      super(url, { dispatcher: carrier });
    }
  };
}

/** The snippet that the service itself serves, on one of these. */
export async function eventSource(url, snippetUrl, EventSource) {
  const source = await (await fetch(snippetUrl, { headers: authorized })).text();
  globalThis.sources ??= [];
  const nth = globalThis.sources.push(EventSource) - 1;
  const its = `const EventSource = globalThis.sources[${nth}];\n${source}`;
  const { follow } = await import(`data:text/javascript,${encodeURIComponent(its)}`);
  const record = [];
  const handlers = Object.fromEntries(types.map((type) => [type, (_, message) => record.push(message.lastEventId)]));
  const stop = follow(url, handlers);
  return { record: () => record, stop };
}

/** The same in Chromium, from the pool's own page, which is kept open beside it. */
export async function chromium(browser, page) {
  const tab = await browser.newPage({ extraHTTPHeaders: authorized });
  const complaints = [];
  tab.on("pageerror", (error) => complaints.push(String(error)));
  tab.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
  });
  await tab.goto(page);
  await tab.evaluate(async (types) => {
    const { follow } = await import("./follow.js");
    globalThis.record = [];
    const keep = (_, message) => globalThis.record.push(message.lastEventId);
    follow("events?from=earliest", Object.fromEntries(types.map((type) => [type, keep])));
  }, types);
  return { record: () => tab.evaluate(() => globalThis.record), stop: () => {}, tab, complaints };
}
