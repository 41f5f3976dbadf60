// The page itself. The service is the truth: events say what changed, and what changed is read again, so that
// this page keeps no rules of its own. Texts are set as text, never as markup.

import { follow } from "./follow.js";

const $ = (id) => document.getElementById(id);
const SHOWN_EVENTS = 500;
const REFRESH_MS = 300;
// From a read that failed to the next: a service that is away is not asked at every event.
const RETRY_MS = 2000;
// With more changes than this at once, the whole list is read instead of each container.
const SINGLY = 25;

const containers = new Map();
const table = new Table($("containers"), openStory);
const chart = new Chart($("chart"), $("chart-words"));
const events = [];
const changed = new Set();
let head = 0, everything = true, timer = null, reading = false, lostSince = null;

// ---- small helpers -------------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

async function ask(path, options = {}) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new Error(body.detail ?? `${response.status} ${response.statusText}`);
    error.status = response.status;
    throw error;
  }
  return body;
}

function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const since = (instant) => age(Math.max(0, (Date.now() - Date.parse(instant)) / 1000));
const clock = (instant) => new Date(instant).toLocaleTimeString();

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

// ---- reading -------------------------------------------------------------------------------------------

function refreshSoon() {
  if (timer === null && !reading) timer = setTimeout(refresh, REFRESH_MS);
}

async function refresh() {
  timer = null;
  reading = true;
  const vmids = [...changed];
  changed.clear();
  try {
    const whole = everything || vmids.length > SINGLY;
    const status = await ask(`status?min_seq=${head}&containers=${whole}`);
    if (whole) {
      containers.clear();
      for (const template of Object.values(status.templates)) {
        for (const row of template.containers) containers.set(row.vmid, row);
      }
      everything = false;
    } else {
      await Promise.all(vmids.map(readContainer));
    }
    showStatus(status);
    $("notice").hidden = true;
  } catch (error) {
    everything = true;
    showNotice(error);
    timer = setTimeout(refresh, RETRY_MS);
  }
  reading = false;
  table.show([...containers.values()]);
  if (changed.size > 0 || everything) refreshSoon();
}

async function readContainer(vmid) {
  try {
    containers.set(vmid, await ask(`containers/${vmid}`));
  } catch (error) {
    if (error.status !== 404) throw error;
    containers.delete(vmid);
  }
}

function showNotice(error) {
  const text = error.status === 401
    ? "The service wants a token. Open this page through the proxy that adds it, or from a service without one."
    : `The pool cannot be read: ${error.message}`;
  $("notice").textContent = text;
  $("notice").hidden = false;
}

// ---- showing -------------------------------------------------------------------------------------------

function showStatus(status) {
  const service = status.service;
  const health = [
    [service.pve_reachable, "PVE answers", `PVE is away since ${service.pve_unreachable_since ? clock(service.pve_unreachable_since) : "?"}`],
    [!service.unwritable, "log writable", `log: ${service.unwritable}`],
    [service.reconciled && !service.reconcile_reason, "compared with PVE", service.reconcile_reason ? `PVE cannot be compared: ${service.reconcile_reason}` : "not yet compared with PVE"],
  ];
  $("health").replaceChildren(...health.map(([good, yes, no]) =>
    element("li", { class: `badge ${good ? "good" : "bad"}` }, good ? `✓ ${yes}` : `⚠ ${no}`)));
  $("service").textContent = `${service.version}, ${service.phase} for ${since(service.started_at)}, event ${status.head}`;
  const templates = Object.values(status.templates);
  $("templates").replaceChildren(...templates.map(templateCard));
  if (templates.length === 0) $("templates").textContent = "None yet: the first allocate or warm brings one in.";
  showLane(templates);
  showLine(templates);
  document.title = `${status.total_ready} ready, ${status.total_waiting} waiting · sandbox-pool`;
}

function templateCard(it) {
  const most = Math.max(it.max_size, it.ready_count + it.creating_count, 1);
  const part = (count) => `${(100 * count) / most}%`;
  const bar = (kind, count) => { const made = element("i", { class: kind }); made.style.width = part(count); return made; };
  const mark = (size) => { const made = element("b"); made.style.left = part(size); return made; };
  const tick = (name, size) => { const made = element("span", {}, `${name} ${size}`); made.style.left = part(size); return made; };
  const gauge = element("div", { class: "gauge", role: "img",
    "aria-label": `${it.ready_count} ready and ${it.creating_count} creating; minimum ${it.min_size}, target ${it.target_size}, maximum ${it.max_size}` },
    bar("ready", it.ready_count), bar("creating", it.creating_count), mark(it.min_size), mark(it.target_size));
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const sizes = it.min_size === it.target_size ? [["min = target", it.target_size]] : [["min", it.min_size], ["target", it.target_size]];
  ticks.append(...sizes.map(([name, size]) => tick(name, size)));
  const counts = [["ready", it.ready_count], ["creating", it.creating_count], ["allocated", it.allocated_count],
    ["releasing", it.releasing_count], ["removing", it.removing_count], ["quarantined", it.quarantined_count]];
  const list = element("ul", {}, ...counts.filter(([name, count]) => count > 0 || name === "ready")
    .map(([name, count]) => element("li", { class: `state ${name}` }, `${count} ${name}`)));
  const card = element("article", { class: "template" },
    element("h3", {}, `Template ${it.template_vmid}`, element("span", { class: "quiet" }, `max ${it.max_size}${it.node ? ` · ${it.node}` : ""}`)),
    gauge, ticks, list);
  if (it.drained) card.append(element("p", { class: "trouble" }, "⚠ drained: it serves nobody until its sizes are set"));
  if (it.backoff) {
    const words = element("p", { class: "trouble" }, `⚠ clones fail: ${it.backoff.reason}; tried again ${clock(it.backoff.until)}. `);
    if (it.backoff.hint) words.append("Run: ", element("code", {}, it.backoff.hint));
    card.append(words);
  }
  if (it.warning) card.append(element("p", { class: "trouble" }, `⚠ ${it.warning}`));
  card.append(element("p", { class: "actions" },
    element("button", { onclick: () => warm(it) }, "Warm …"),
    element("button", { onclick: () => refreshTemplate(it) }, "Refresh …")));
  return card;
}

function showLane(templates) {
  const running = [...containers.values()].filter((row) => row.state === "creating");
  const queued = templates.flatMap((it) => it.queue.map((clone) => ({ ...clone, template: it.template_vmid })));
  const total = templates.reduce((sum, it) => sum + it.queued_clones, 0);
  $("lane-count").textContent = `${running.length} cloning, ${total} queued`;
  const rows = [
    ...running.map((row) => [`◌ CT ${row.vmid} of ${row.template_vmid}`, `for ${age(row.age_seconds)}${row.delay ? ` · ${row.delay.reason}` : ""}`]),
    ...queued.map((clone) => [`${clone.purpose} of ${clone.template}`, clone.reason ? `try ${clone.attempt + 1} at ${clock(clone.not_before)}: ${clone.reason}` : `since ${clock(clone.queued_at)}`]),
  ];
  $("lane").replaceChildren(...rows.map(([what, when]) => element("li", {}, element("span", {}, what), element("span", { class: "quiet" }, when))));
  if (rows.length === 0) $("lane").replaceChildren(element("li", { class: "quiet" }, "nothing to clone"));
}

function showLine(templates) {
  const line = templates.flatMap((it) => it.waiters.map((waiter) => ({ ...waiter, template: it.template_vmid })));
  line.sort((a, b) => a.asked_at.localeCompare(b.asked_at));
  $("line-count").textContent = line.length === 0 ? "" : `${line.length}`;
  $("line").replaceChildren(...line.map((waiter) => element("li", {},
    element("span", {}, waiter.instance_id), element("span", { class: "quiet" }, `${waiter.template} · for ${since(waiter.asked_at)}`))));
  if (line.length === 0) $("line").replaceChildren(element("li", { class: "quiet" }, "nobody waits"));
}

function eventLine(event) {
  const { metadata, settings, ...data } = event.data;
  const words = Object.entries(data).filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${typeof value === "object" ? value.message ?? JSON.stringify(value) : value}`);
  return element("li", {}, element("time", { datetime: event.at }, clock(event.at)), element("b", {}, event.type), words.join(" "));
}

function showEvents() {
  const form = $("events-filter");
  if (form.pause.checked) return;
  const text = form.text.value.trim().toLowerCase();
  const wanted = text ? events.filter((event) => JSON.stringify(event).toLowerCase().includes(text)) : events;
  $("events").replaceChildren(...wanted.slice(0, 200).map(eventLine));
}

// ---- one container -------------------------------------------------------------------------------------

async function openStory(vmid) {
  let it;
  try { it = await ask(`containers/${vmid}`); } catch (error) { return toast(error.message); }
  $("story-title").textContent = `Container ${vmid}`;
  const facts = [["State", it.state], ["Hostname", it.hostname], ["Held by", it.allocated_to], ["Template", it.template_vmid], ["Node", it.node],
    ["Age", age(it.age_seconds)], ["Holders so far", it.uses], ["Expires", it.expires_at], ["Left alone", it.doubt], ["Reason", it.reason],
    ["Run", it.hint], ["Delayed", it.delay?.reason], ["Clone", it.clone_id]];
  $("story-facts").replaceChildren(...facts.filter(([, value]) => value !== null && value !== undefined)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", { class: "mono" }, `${value}`)]));
  const actions = [];
  if (it.state === "allocated") actions.push(element("button", { onclick: () => release(it) }, "Release …"));
  if (it.state !== "removing") actions.push(element("button", { class: "strong", onclick: () => remove(it) }, "Remove …"));
  $("story-actions").replaceChildren(...actions);
  $("story-events").replaceChildren();
  $("story-summary").textContent = "";
  if (!$("story").open) $("story").showModal();
  try {
    const told = await ask(`explain?vmid=${vmid}`);
    $("story-summary").textContent = told.summary;
    $("story-events").replaceChildren(...told.chapters.at(-1).steps.toReversed().map(stepLine));
  } catch (error) { $("story-summary").textContent = error.message; }
}

function stepLine(step) {
  return element("li", {}, element("time", { datetime: step.at }, clock(step.at)), step.words);
}

// ---- what a person may do ------------------------------------------------------------------------------

function confirm(title, words, yes, count = null) {
  $("confirm-title").textContent = title;
  $("confirm-words").textContent = words;
  $("confirm-yes").textContent = yes;
  $("confirm-field").hidden = count === null;
  $("confirm-count").value = count ?? "";
  $("confirm").returnValue = "no";
  $("confirm").showModal();
  return new Promise((resolve) => {
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true });
  });
}

async function carryOut(what, path, method) {
  toast(`${what} …`);
  try {
    await ask(path, { method });
    toast(`${what}: done`);
  } catch (error) {
    toast(`${what}: ${error.message}`);
  }
}

const guard = (it) => (it.allocated_to ? `?instance_id=${encodeURIComponent(it.allocated_to)}` : "");

async function release(it) {
  if (await confirm(`Release container ${it.vmid}?`, `${it.allocated_to} loses it: it is stopped and given back.`, "Release it")) {
    $("story").close();
    carryOut(`Release of ${it.vmid}`, `release/${it.vmid}${guard(it)}`, "POST");
  }
}

async function remove(it) {
  const whose = it.allocated_to ? `${it.allocated_to} loses it, and its` : "Its";
  if (await confirm(`Remove container ${it.vmid}?`, `${whose} disk is destroyed.`, "Destroy it")) {
    $("story").close();
    carryOut(`Removal of ${it.vmid}`, `containers/${it.vmid}${guard(it)}`, "DELETE");
  }
}

async function warm(it) {
  const words = `Brings the inventory of template ${it.template_vmid} to a size once; the target stays ${it.target_size}.`;
  if (await confirm("Warm?", words, "Warm", it.max_size)) {
    carryOut(`Warm-up of ${it.template_vmid}`, `warm/${it.template_vmid}?count=${$("confirm-count").value || it.target_size}`, "POST");
  }
}

async function refreshTemplate(it) {
  if (await confirm("Refresh?", `The ready containers are replaced, one by one, by clones of template ${it.template_vmid} as it is today.`, "Refresh")) {
    carryOut(`Refresh of ${it.template_vmid}`, `templates/${it.template_vmid}/refresh`, "POST");
  }
}

// ---- following -----------------------------------------------------------------------------------------

function connection(live) {
  if (live) lostSince = null; else lostSince ??= new Date();
  $("connection").className = `badge ${live ? "good" : "wait"}`;
  $("connection").textContent = live ? "● live" : `◌ reconnecting since ${lostSince.toLocaleTimeString()}`;
}

function arrived(event) {
  connection(true);
  if (event.seq <= head) return;
  head = event.seq;
  events.unshift(event);
  events.length = Math.min(events.length, SHOWN_EVENTS);
  if (event.data.vmid) changed.add(event.data.vmid);
  if (["ServiceStarted", "Reconciled"].includes(event.type)) everything = true;
  if (event.type === "AllocationCompleted") chart.add(event);
  arrived.frame ??= requestAnimationFrame(() => { arrived.frame = null; showEvents(); });
  refreshSoon();
}

async function begin() {
  try {
    const status = await ask("status?containers=true");
    head = status.head;
  } catch (error) {
    showNotice(error);
    setTimeout(begin, 3000);
    return;
  }
  everything = true;
  refreshSoon();
  // Every type has its own name on the stream; the service says which there are.
  const byType = Object.fromEntries(document.body.dataset.types.split(" ").map((type) => [type, arrived]));
  follow(`events?after=${head}`, {
    ...byType,
    "stream.opened": () => { connection(true); everything = true; refreshSoon(); },
    "stream.bookmark": () => connection(true),
    "stream.reset": (data) => { connection(true); head = data.head; everything = true; refreshSoon(); },
    lost: () => connection(false),
  });
}

$("containers-filter").addEventListener("input", (event) => {
  const form = event.currentTarget;
  table.filter(form.state.value, form.text.value.trim().toLowerCase());
});
$("events-filter").addEventListener("input", showEvents);
for (const form of document.querySelectorAll("form.filter")) form.addEventListener("submit", (event) => event.preventDefault());
table.onCount = (shown, all) => { $("containers-count").textContent = shown === all ? `${all}` : `${shown} of ${all}`; };
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    event.preventDefault();
    $("containers-filter").text.focus();
  }
});
setInterval(() => { if (lostSince) connection(false); else refreshSoon(); }, 10_000);
begin();
