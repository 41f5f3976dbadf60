// The page itself. The service is the truth: events say what changed, and what changed is read again, so that
// this page keeps no rules of its own.

import { follow } from "./follow.js";

const REFRESH_MS = 300;
// From a read that failed to the next: a service that is away is not asked at every event.
const RETRY_MS = 2000;
// With more changes than this at once, the whole list is read instead of each container.
const SINGLY = 25;
// Every type has its own name on the stream; the service says which there are.
const TYPES = document.body.dataset.types.split(" ");

const containers = new Map();
const table = new Table($("containers"), openStory);
const chart = new Chart($("chart"), $("chart-words"));
const events = new EventList($("events-filter"), $("events"));
const changed = new Set();
let head = 0, everything = true, timer = null, reading = false, stale = false, lostSince = null, past = 0;
// Whether this may change anything is asked at the start, and again when the service may be another one.
let asking = true;

// ---- reading -------------------------------------------------------------------------------------------

/** What is shown is no longer how it is. A read that is under way may have come too early to see it. */
function refreshSoon() {
  stale = true;
  if (timer === null && !reading) timer = setTimeout(refresh, REFRESH_MS);
}

async function refresh() {
  timer = null;
  reading = true;
  stale = false;
  const vmids = [...changed];
  changed.clear();
  try {
    const whole = everything || vmids.length > SINGLY;
    everything = false;
    const status = await ask(`status?min_seq=${head}&containers=${whole}`);
    if (whole) {
      containers.clear();
      for (const template of Object.values(status.templates)) {
        for (const row of template.containers) containers.set(row.vmid, row);
      }
    } else {
      await Promise.all(vmids.map(readContainer));
    }
    showStatus(status);
    retellStory(whole ? undefined : vmids);
    $("notice").hidden = true;
    const template = Object.keys(status.templates)[0];
    if (asking && template) {
      await askWhetherAllowed(template);
      asking = refusal === undefined;
    }
  } catch (error) {
    everything = true;
    showNotice(error);
    timer = setTimeout(refresh, RETRY_MS);
  }
  reading = false;
  table.show([...containers.values()]);
  if (stale) refreshSoon();
}

async function readContainer(vmid) {
  try {
    containers.set(vmid, await ask(`containers/${vmid}`));
  } catch (error) {
    if (error.status !== 404) throw error;
    containers.delete(vmid);
  }
}

/** The last events up to one; those behind it come by themselves. */
async function readPastOf(last) {
  const nth = past += 1;
  const take = (found) => {
    if (nth !== past) return;
    events.add(found);
    chart.add(found);
  };
  try {
    await readPast(last, TYPES, take);
  } catch (error) {
    toast(`Earlier events cannot be read: ${error.message}`);
  }
}

function showNotice(error) {
  const text = error.status === 401
    ? "The service wants a token. Open this page through the proxy that adds it, or from a service without one."
    : `The pool cannot be read: ${error.message}`;
  $("notice").textContent = text;
  $("notice").hidden = false;
}

// ---- following -----------------------------------------------------------------------------------------

function connection(live) {
  if (live) lostSince = null; else lostSince ??= new Date();
  const text = live ? "● live" : `◌ reconnecting since ${clock(lostSince)}`;
  if ($("connection").textContent === text) return;
  $("connection").className = `badge ${live ? "good" : "wait"}`;
  $("connection").textContent = text;
}

function arrived(event) {
  connection(true);
  if (event.seq <= head) return;
  head = event.seq;
  events.add([event]);
  chart.add([event]);
  if (event.data.vmid) changed.add(event.data.vmid);
  if (["ServiceStarted", "Reconciled"].includes(event.type)) everything = true;
  refreshSoon();
}

function opened() {
  connection(true);
  everything = asking = true;
  refreshSoon();
}

/** What was asked for is not there any more: begins again behind the event that it says. */
function reset(data) {
  connection(true);
  head = data.head;
  everything = true;
  events.clear();
  chart.clear();
  readPastOf(head);
  refreshSoon();
}

async function begin() {
  try {
    head = (await ask("status?containers=false")).head;
  } catch (error) {
    showNotice(error);
    setTimeout(begin, 3000);
    return;
  }
  refreshSoon();
  readPastOf(head);
  follow(`events?after=${head}`, {
    ...Object.fromEntries(TYPES.map((type) => [type, arrived])),
    "stream.opened": opened,
    "stream.bookmark": () => connection(true),
    "stream.reset": reset,
    lost: () => connection(false),
  });
}

$("containers-filter").addEventListener("input", (event) => {
  const form = event.currentTarget;
  table.filter(form.state.value, form.text.value.trim().toLowerCase());
});
for (const form of document.querySelectorAll("form.filter")) form.addEventListener("submit", (event) => event.preventDefault());
table.onCount = (shown, all) => { $("containers-count").textContent = shown === all ? `${all}` : `${shown} of ${all}`; };
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  $("containers-filter").text.focus();
});
setInterval(() => { if (lostSince) connection(false); else refreshSoon(); }, 10_000);
begin();
