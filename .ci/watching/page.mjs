// The live page in Chromium, as a person uses it: what it shows must be what the service says, and what is pressed
// must be done. Nobody listens at the webhook's address, so that its checkpoints come all the time.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { apiReference } from "./docs.mjs";
import { READ_TOKEN, TOKEN, caddy, freePorts, launch, logOf, service, simulatedPve, until } from "./processes.mjs";
import { colours, fitsAPhone, manyContainers, tellsWithoutColour } from "./sights.mjs";

const playwright = createRequire(resolve("target/ci/watch/package.json"))("playwright-core");
const program = process.env.SANDBOX_POOL;
const work = mkdtempSync(join(tmpdir(), "sandbox-pool-page-"));
const data = join(work, "data");
const [pvePort, port, caddyPort, nobody] = await freePorts(4);
const direct = `http://127.0.0.1:${port}`, page = `http://127.0.0.1:${caddyPort}/pool/`;
const STRANGE = "pool.example";

const processes = [
  simulatedPve(program, pvePort, 20),
  service(program, port, pvePort, data, `http://127.0.0.1:${nobody}/`, `whsec_${Buffer.alloc(32, 7).toString("base64")}`),
  caddy(work, caddyPort, port),
];
let browser;

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const response = await fetch(direct + path, { method, headers, body: body && JSON.stringify(body) });
  const told = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${told.detail}`);
  return told;
}

const allocate = (instance_id) => ask("POST", "/allocate?start=true", { template_vmid: 9009, instance_id });
const stateOf = async (vmid) => (await ask("GET", "/status")).templates[9009].containers.find((it) => it.vmid === vmid)?.state;
const happened = (type, wanted = {}) => logOf(data).some((it) => it.type === type
  && Object.entries(wanted).every(([key, value]) => it.data[key] === value));

function holds(what, right, got) {
  if (!right) throw new Error(`${what}${got === undefined ? "" : `: ${got}`}`);
}

/** A page of its own; what the browser complains of ends the play. */
async function open(url = page, options = {}) {
  const tab = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })).newPage();
  tab.complaints = [];
  tab.on("pageerror", (error) => tab.complaints.push(String(error)));
  tab.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) tab.complaints.push(message.text());
  });
  if (options.before) await options.before(tab);
  await tab.goto(url);
  const live = async () => (await tab.locator("#connection").textContent()).includes("live");
  await until("the page to be there", async () => (options.shown ? options.shown(tab) : live()));
  return tab;
}

async function done(what, tab) {
  holds(`${what}: the page complains`, tab.complaints.length === 0, tab.complaints.join("; "));
  if (process.env.PICTURES) await tab.screenshot({ path: join(process.env.PICTURES, `${what.replaceAll(/\W+/g, "-")}.png`), fullPage: true });
  await tab.context().close();
  console.log(`page: ${what}`);
}

/** History and what happens meanwhile are one list, without a gap and without a double. */
async function beginsWithThePast() {
  for (let nth = 0; nth < 4; nth += 1) await allocate(`before-${nth}`);
  let churning = true;
  const churn = (async () => {
    for (let nth = 0; churning; nth += 1) await ask("POST", `/release/${(await allocate(`meanwhile-${nth}`)).vmid}`);
  })();
  const tab = await open();
  await sleep(1000);
  churning = false;
  await churn;
  await until("the list to be the end of the log", async () => {
    const shown = await tab.locator("#events li").evaluateAll((lines) => lines.map((it) => Number(it.dataset.seq)));
    const logged = logOf(data).filter((it) => it.type !== "WebhookCheckpointed").map((it) => it.seq).reverse();
    return shown.length > 30 && shown.join() === logged.slice(0, 200).join();
  });
  const allocated = logOf(data).filter((it) => it.type === "AllocationCompleted").length;
  await until("a dot for each allocation", async () => await tab.locator("#chart circle").count() === Math.min(60, allocated));
  const box = await tab.locator("#chart circle").first().boundingBox();
  holds("dots can be seen", box.width > 3 && box.height > 3);
  await done("begins with the past", tab);
}

async function filters(tab) {
  const types = () => tab.locator("#events b").allTextContents();
  await until("a checkpoint", () => happened("WebhookCheckpointed"));
  holds("checkpoints are left out", !(await types()).includes("WebhookCheckpointed"));
  await tab.getByLabel("checkpoints of webhooks").check();
  await until("checkpoints to be shown", async () => (await types()).includes("WebhookCheckpointed"));
  await tab.getByLabel("checkpoints of webhooks").uncheck();
  await tab.getByLabel("Kind").selectOption("allocations");
  await until("allocations alone", async () => (await types()).every((it) => it.startsWith("Alloc")) && (await types()).length > 0);
  await tab.locator("#events-filter").getByLabel("Find").fill("before-1");
  await until("one of them", async () => (await tab.locator("#events li").allTextContents()).every((it) => it.includes("before-1")));
  await tab.getByLabel("hold still").check();
  await tab.locator("#events-filter").getByLabel("Find").fill("");
  const before = await tab.locator("#events li").count();
  const { vmid } = await allocate("held-back");
  await until("the table to show it", async () => (await tab.locator(".table").textContent()).includes("held-back"));
  holds("the list holds still", await tab.locator("#events li").count() === before);
  await tab.getByLabel("hold still").uncheck();
  await until("the list to go on", async () => (await tab.locator("#events").textContent()).includes("held-back"));

  await tab.getByLabel("State").selectOption("allocated");
  const rows = () => tab.locator("button.row").allTextContents();
  await until("allocated ones alone", async () => (await rows()).length > 0 && (await rows()).every((it) => it.includes("allocated")));
  await tab.keyboard.press("/");
  await tab.locator("#containers-filter").getByLabel("Find").fill("held-back");
  await until("one row", async () => (await rows()).length === 1 && (await rows())[0].startsWith(String(vmid)));
  return vmid;
}

/** By mouse: a story; a release that is thought better of, then done; a removal. */
async function releaseAndRemove(tab, vmid) {
  await tab.locator("button.row").click();
  await until("its holder", async () => (await tab.locator("#story-facts").textContent()).includes("held-back"));
  await until("its story", async () => await tab.locator("#story-events li").count() > 2);
  holds("told in words", (await tab.locator("#story-events").textContent()).includes("held-back"));
  await tab.getByRole("button", { name: "Release …" }).click();
  await tab.getByRole("button", { name: "Leave it" }).click();
  await sleep(300);
  holds("nothing is done unless confirmed", !happened("ReleaseRequested", { instance_id: "held-back" }) && await stateOf(vmid) === "allocated");
  await tab.getByRole("button", { name: "Release …" }).click();
  await tab.getByRole("button", { name: "Release it" }).click();
  await until("its release", () => happened("Released", { instance_id: "held-back" }));
  await tab.locator("#containers-filter").getByLabel("Find").fill(String(vmid));
  await tab.getByLabel("State").selectOption("");
  await tab.locator(`button.row[data-vmid="${vmid}"]`).click();
  await tab.getByRole("button", { name: "Remove …" }).click();
  await tab.getByRole("button", { name: "Destroy it" }).click();
  await until("its removal", () => happened("Removed", { vmid }));
  await until("its row to go", async () => await tab.locator("button.row").count() === 0);
  await tab.locator("#containers-filter").getByLabel("Find").fill("");
}

/** With the keyboard alone: from the top to the events, a row's story, back to the row; a warm-up. */
async function keyboard(tab) {
  const focused = (what) => tab.evaluate((what) => document.activeElement.closest(what) !== null, what);
  const tabTo = async (what) => {
    for (let nth = 0; nth < 40; nth += 1) {
      await tab.keyboard.press("Tab");
      if (await focused(what)) return;
    }
    throw new Error(`the tabulator key does not come to ${what}`);
  };
  await tab.reload();
  await until("rows", async () => await tab.locator("button.row").count() > 3);
  await until("buttons", async () => await tab.locator("button.write:enabled").count() > 0);
  await tabTo(".template .actions");
  await sleep(400);
  await allocate("while-focused");
  await until("the page to show it", async () => (await tab.locator(".table").textContent()).includes("while-focused"));
  holds("a button keeps the keyboard while the page changes", await focused(".template .actions"));
  await tab.keyboard.press("Enter");
  await tab.keyboard.type("7");
  await tab.keyboard.press("Enter");
  await until("the warm-up", () => happened("TemplateWarmed", { template: 9009, goal: 7 }));
  await until("what it did to be told", async () => /Warm-up of 9009: \d+ there/.test(await tab.locator("#toast").textContent()));
  await tabTo("button.row");
  await tab.keyboard.press("ArrowDown");
  await tab.keyboard.press("Enter");
  await until("a story", async () => await tab.locator("#story[open] #story-facts dd").count() > 2);
  const vmid = await tab.evaluate(() => document.querySelector("#story-title").textContent.replace(/\D/g, ""));
  await tab.keyboard.press("Escape");
  await until("the row to be back", () => focused(`button.row[data-vmid="${vmid}"]`));
  await tabTo("#events-filter");
}

/** An event of no container that comes while the page reads is shown once it has read, not at the next look. */
async function nothingIsLate(tab) {
  await until("rest", async () => {
    const { templates, clone_queue_length, total_creating } = await ask("GET", "/status");
    return clone_queue_length + total_creating === 0 && templates[9010].min_size === 3;
  });
  let asked, hold = true;
  const held = new Promise((resolve) => { asked = resolve; });
  await tab.route("**/status?*", async (route) => {
    const response = await route.fetch();
    if (hold) {
      hold = false;
      asked();
      await sleep(1500);
    }
    await route.fulfill({ response });
  });
  await held;
  const sized = Date.now();
  await ask("PUT", "/templates/9010", { min: 1 });
  await until("the new size", async () => (await tab.locator(".gauge").last().getAttribute("aria-label")).includes("minimum 1"));
  holds("it is shown at once", Date.now() - sized < 4500, `${Date.now() - sized} ms`);
  await tab.unrouteAll({ behavior: "ignoreErrors" });
}

async function onlyWhatIsAllowed() {
  const refused = async (url, token, reason) => {
    const tab = await open(url, { extraHTTPHeaders: { authorization: `Bearer ${token}` } });
    const words = tab.locator("main .refusal");
    await until(`"${reason}"`, async () => (await words.textContent()).toLowerCase().includes(reason) && words.isVisible());
    const buttons = tab.locator("button.write");
    holds("no button can be pressed", await buttons.count() > 0 && await tab.locator("button.write:enabled").count() === 0);
    await tab.locator("button.row").first().click();
    await until("the story's buttons", async () => await tab.locator("#story-actions .write:disabled").count() > 0);
    await done(`tells that ${reason}`, tab);
  };
  await refused(`${direct}/`, READ_TOKEN, "this token may only read");
  await refused(`http://${STRANGE}:${port}/`, TOKEN, "the host is not among pool_allowed_hosts");
}

async function play() {
  for (const it of processes) await it.start();
  browser = await launch(playwright, `--host-resolver-rules=MAP ${STRANGE} 127.0.0.1`);
  await until("a full pool", async () => Object.values((await ask("GET", "/status")).templates).every((it) => it.ready_count === it.target_size));
  await beginsWithThePast();
  const tab = await open();
  await until("counts of every state", async () => {
    const { templates } = await ask("GET", "/status");
    const shown = await tab.locator(".template").first().locator("li").allTextContents();
    const states = ["ready", "creating", "allocated", "releasing", "removing", "quarantined"];
    return shown.join() === states.map((it) => `${templates[9009][`${it}_count`]} ${it}`).join();
  });
  await until("writes to be allowed", async () => await tab.locator("button.write:enabled").count() === 4);
  holds("nothing is said of refusals", !await tab.locator("main .refusal").isVisible());
  const vmid = await filters(tab);
  await releaseAndRemove(tab, vmid);
  await keyboard(tab);
  await nothingIsLate(tab);
  await done("does what is pressed, by mouse and by keyboard", tab);
  await onlyWhatIsAllowed();
  await apiReference({ open, holds, done }, `${page}docs`);
  const sights = { open: (options) => open(page, options), ask, holds, done, allocate };
  await fitsAPhone(sights);
  await colours(sights);
  await tellsWithoutColour(sights);
  await manyContainers(sights);
}

let problem;
try {
  await play();
} catch (error) {
  problem = error;
  for (const context of browser?.contexts() ?? []) {
    for (const tab of context.pages()) {
      if (process.env.PICTURES) await tab.screenshot({ path: join(process.env.PICTURES, "failed.png") }).catch(() => {});
      if (tab.complaints?.length) console.error(`the page complains: ${tab.complaints.join("; ")}`);
    }
  }
} finally {
  await browser?.close();
  for (const it of processes.reverse()) await it.end("SIGTERM");
}
if (problem) {
  console.error(problem.stack);
  console.error(`the log is left in ${data}`);
  process.exit(1);
}
rmSync(work, { recursive: true });
process.exit(0);
