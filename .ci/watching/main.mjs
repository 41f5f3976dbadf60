// The play: churn, restarts, and at the end each record held against the log.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { TOKEN, caddy, freePorts, launch, logOf, nginx, service, simulatedPve, until } from "./processes.mjs";
import { receiver } from "./receiver.mjs";
import { chromium, curl, eventSource, fetching, npms, undicis } from "./subscribers.mjs";

const seconds = Number(process.argv[2]);
const require = createRequire(resolve("target/ci/watch/package.json"));
const library = (name) => import(pathToFileURL(require.resolve(name)));
const sources = { npm: npms((await library("eventsource")).EventSource), undici: undicis(await library("undici")) };
const { Webhook } = await library("standardwebhooks");
const playwright = require("playwright-core");

const program = process.env.SANDBOX_POOL;
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const work = mkdtempSync(join(tmpdir(), "sandbox-pool-watch-"));
const data = join(work, "data");
const [pvePort, port, caddyPort, nginxPort, hookPort, ...closedPorts] = await freePorts(7);
const direct = `http://127.0.0.1:${port}`;
const viaCaddy = `http://127.0.0.1:${caddyPort}/pool`, viaNginx = `http://127.0.0.1:${nginxPort}/pool`;

const pve = simulatedPve(program, pvePort);
const pool = service(program, port, pvePort, data, `http://127.0.0.1:${hookPort}/`, secret);
const proxies = [caddy(work, caddyPort, port), nginx(join(work, "nginx"), nginxPort, port)];
const hooks = receiver(hookPort, secret, Webhook);
let browser;
const subscribers = new Map();

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const response = await fetch(direct + path, { method, headers, body: body && JSON.stringify(body) });
  return response.ok ? response.json() : undefined;
}

/** Asks for containers and gives them back, one after the other, until told to end. */
let churning = true;
async function churn(nth) {
  for (let round = 0; churning; round += 1) {
    const template_vmid = 9009 + (nth % 2);
    try {
      const got = await ask("POST", "/allocate?start=true", { template_vmid, instance_id: `watch-${nth}-${round}` });
      if (got) await ask(round % 5 ? "POST" : "DELETE", round % 5 ? `/release/${got.vmid}` : `/containers/${got.vmid}`);
    } catch { /* the service is being restarted */ }
    await sleep(20);
  }
}

const log = () => logOf(data);

const problems = [];
const expect = (holds, words) => { if (!holds) problems.push(words); };

/** As they are in the repository, the proxies let nobody in from here, whatever the caller says of itself. */
async function strangersStayOutside() {
  const nobody = "192.0.2.0/24";
  const closed = [caddy(join(work, "closed"), closedPorts[0], port, nobody), nginx(join(work, "shut"), closedPorts[1], port, nobody)];
  for (const [nth, proxy] of closed.entries()) {
    await proxy.start();
    for (const path of ["/pool/status", "/pool/health", "/pool/", "//pool/status", "/pool/../pool/status", "/POOL/status"]) {
      const headers = { "x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7", forwarded: "for=192.0.2.7" };
      const { status } = await fetch(`http://127.0.0.1:${closedPorts[nth]}${path}`, { headers, redirect: "manual" });
      expect(status === 403 || (status === 404 && !path.startsWith("/pool")), `a stranger at ${proxy.command}${path}: ${status}`);
    }
    await proxy.end("SIGTERM");
  }
  console.log("strangers stay outside Caddy and nginx");
}

async function play() {
  await pve.start();
  await pool.start();
  await strangersStayOutside();
  for (const proxy of proxies) await proxy.start();
  browser = await launch(playwright);
  const all = "/events?from=earliest";
  for (const [way, base] of [["directly", direct], ["through Caddy", viaCaddy], ["through nginx", viaNginx]]) {
    subscribers.set(`fetch ${way}`, fetching(base + all));
    subscribers.set(`curl ${way}`, curl(base + all));
    for (const [whose, EventSource] of Object.entries(sources))
      subscribers.set(`EventSource of ${whose} ${way}`, await eventSource(base + all, `${direct}/follow.js`, EventSource));
    subscribers.set(`EventSource of Chromium ${way}`, await chromium(browser, `${base}/`));
  }
  const packed = await fetch(viaNginx + all, { signal: AbortSignal.timeout(5_000) });
  expect(packed.headers.get("content-encoding") === "gzip", "nginx does not compress the stream");
  await packed.body.cancel();
  const tabs = [...subscribers.values()].filter((it) => it.tab);
  const shows = (text) => until(`each page to say "${text}"`, async () => {
    const said = await Promise.all(tabs.map(({ tab }) => tab.locator("#connection").textContent()));
    return said.every((it) => it.includes(text));
  });
  await shows("live");

  const churns = Array.from({ length: 6 }, (_, nth) => churn(nth));
  const troubles = [
    () => pool.restart("SIGTERM"),
    () => proxies[0].restart("SIGTERM"),
    () => proxies[1].restart("SIGTERM"),
    async () => {
      await pool.end("SIGKILL");
      await shows("reconnecting");
      await pool.start();
    },
    () => proxies[0].restart("SIGKILL"),
    () => proxies[1].restart("SIGTERM"),
    () => pool.restart("SIGTERM"),
  ];
  for (const trouble of troubles) {
    await sleep((seconds * 1000) / (troubles.length + 1));
    await trouble();
  }
  await sleep((seconds * 1000) / (troubles.length + 1));
  churning = false;
  await Promise.all(churns);
  await shows("live");
  await compareStreams();
  await compareWebhooks();
  for (const { tab, complaints } of tabs) {
    expect(complaints.length === 0, `the page says: ${complaints.join("; ")}`);
    await until("the page to show what the status says", async () => {
      const status = await ask("GET", "/status");
      const cards = await tab.locator("#templates .state.ready").allTextContents();
      return cards.join() === Object.values(status.templates).map((it) => `${it.ready_count} ready`).join();
    });
  }
}

async function compareStreams() {
  const head = (await ask("GET", "/status")).head;
  for (const [name, subscriber] of subscribers) {
    const seqs = async () => (await subscriber.record()).map((id) => Number(id.split(".")[1]));
    await until(`${name} to come to event ${head}`, async () => (await seqs()).at(-1) >= head);
    const got = await seqs();
    const expected = log().slice(0, got.length).map((it) => it.seq);
    const wrong = got.findIndex((seq, nth) => seq !== expected[nth]);
    expect(wrong < 0, `${name}: event ${expected[wrong]} expected at place ${wrong}, ${got[wrong]} came`);
    console.log(`${name}: ${got.length} events, each once and in order: ${wrong < 0 ? "yes" : "NO"}`);
  }
}

async function compareWebhooks() {
  const events = log();
  const first = events.findIndex((it) => it.type === "WebhookAdded");
  const due = events.slice(first + 1).filter((it) => !it.type.startsWith("Webhook"));
  const { got } = hooks;
  const missing = () => {
    const ids = new Set(got.accepted.map((it) => it.id));
    return due.filter((it) => !ids.has(it.id));
  };
  await until("every webhook", () => missing().length === 0).catch(() => {});
  expect(missing().length === 0, `webhooks that never came: ${missing().map((it) => it.seq).slice(0, 20)}`);
  expect(got.forged === 0, `${got.forged} webhooks with a wrong signature`);
  const last = new Map(), seen = new Set();
  for (const { id, event } of got.accepted) {
    if (seen.has(id) || event.data.vmid == null) continue;
    seen.add(id);
    const before = last.get(event.data.vmid) ?? 0;
    expect(before < event.seq, `webhooks of container ${event.data.vmid}: ${event.seq} after ${before}`);
    last.set(event.data.vmid, event.seq);
  }
  const repeated = got.accepted.length - new Set(got.accepted.map((it) => it.id)).size;
  expect(got.refused > 0, "the receiver refused nothing");
  console.log(`webhooks: ${due.length} events due, ${got.refused} of ${got.refused + got.accepted.length} tries refused, ` +
    `${repeated} came again, ${missing().length} missing`);
}

try {
  await play();
} catch (error) {
  problems.push(String(error.stack ?? error));
} finally {
  churning = false;
  for (const subscriber of subscribers.values()) await subscriber.stop();
  await browser?.close();
  hooks.stop();
  for (const process of [...proxies, pool, pve]) await process.end("SIGTERM");
}
if (problems.length > 0) {
  console.error(problems.join("\n"));
  console.error(`the log is left in ${data}`);
  process.exit(1);
}
rmSync(work, { recursive: true });
process.exit(0);
