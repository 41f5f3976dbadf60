// The pool at a glance: health, templates, lane and line.

// Rows of the lane that are shown; the count is of all.
const LANE_ROWS = 100;
const cards = new Map();

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
  showTemplates(templates);
  showLane(templates);
  showLine(templates);
  document.title = `${status.total_ready} ready, ${status.total_waiting} waiting · sandbox-pool`;
}

function showTemplates(templates) {
  const known = new Set(templates.map((it) => it.template_vmid));
  for (const vmid of cards.keys()) if (!known.has(vmid)) cards.delete(vmid);
  for (const it of templates) {
    if (!cards.has(it.template_vmid)) cards.set(it.template_vmid, new TemplateCard());
    cards.get(it.template_vmid).show(it);
  }
  $("no-templates").hidden = templates.length > 0;
  arrange($("templates"), templates.map((it) => cards.get(it.template_vmid).place));
}

/** A template. Its buttons stay while what is above them is drawn anew. */
class TemplateCard {
  constructor() {
    this.words = element("div");
    this.place = element("article", { class: "template" }, this.words, element("p", { class: "actions" },
      writeButton("Warm …", () => warm(this.it)), writeButton("Refresh …", () => refreshTemplate(this.it))));
  }

  show(it) {
    this.it = it;
    const most = Math.max(it.max_size, it.ready_count + it.creating_count, 1);
    const part = (count) => `${(100 * count) / most}%`;
    const bar = (kind, count) => { const made = element("i", { class: kind }); made.style.width = part(count); return made; };
    const mark = (size) => { const made = element("b"); made.style.left = part(size); return made; };
    const gauge = element("div", { class: "gauge", role: "img",
      "aria-label": `${it.ready_count} ready and ${it.creating_count} creating; minimum ${it.min_size}, target ${it.target_size}, maximum ${it.max_size}` },
      bar("ready", it.ready_count), bar("creating", it.creating_count), mark(it.min_size), mark(it.target_size));
    const sizes = it.min_size === it.target_size ? [["min = target", it.target_size]] : [["min", it.min_size], ["target", it.target_size]];
    const ticks = element("div", { class: "ticks", "aria-hidden": "true" }, ...sizes.map(([name, size]) => {
      const tick = element("span", {}, `${name} ${size}`);
      tick.style.left = part(size);
      return tick;
    }));
    const counts = ["ready", "creating", "allocated", "releasing", "removing", "quarantined"].map((name) => [name, it[`${name}_count`]]);
    const list = element("ul", {}, ...counts.map(([name, count]) =>
      element("li", { class: `state ${name}${count === 0 ? " none" : ""}` }, `${count} ${name}`)));
    this.words.replaceChildren(
      element("h3", {}, `Template ${it.template_vmid}`, element("span", { class: "quiet" }, `max ${it.max_size}${it.node ? ` · ${it.node}` : ""}`)),
      gauge, ticks, list, ...troubles(it));
  }
}

function troubles(it) {
  const words = [];
  if (it.drained) words.push(element("p", { class: "trouble" }, "⚠ drained: it serves nobody until its sizes are set"));
  if (it.backoff) {
    const failing = element("p", { class: "trouble" }, `⚠ clones fail: ${it.backoff.reason}; tried again ${clock(it.backoff.until)}. `);
    if (it.backoff.hint) failing.append("Run: ", element("code", {}, it.backoff.hint));
    words.push(failing);
  }
  // While its clones fail, that is why its allocations do.
  if (it.failure && !it.backoff)
    words.push(element("p", { class: "trouble" }, `⚠ the last allocation failed at ${clock(it.failure.at)}: ${it.failure.reason}`));
  if (it.warning) words.push(element("p", { class: "trouble" }, `⚠ ${it.warning}`));
  return words;
}

function showLane(templates) {
  const running = [...containers.values()].filter((row) => row.state === "creating");
  const queued = templates.flatMap((it) => it.queue.map((clone) => ({ ...clone, template: it.template_vmid })));
  const total = templates.reduce((sum, it) => sum + it.queued_clones, 0);
  $("lane-count").textContent = `${running.length} cloning, ${total} queued`;
  const rows = [
    ...running.map((row) => [`◌ CT ${row.vmid} of ${row.template_vmid}`, `for ${since(row.created_at)}${row.delay ? ` · ${row.delay.reason}` : ""}`]),
    ...queued.map((clone) => [`${clone.purpose} of ${clone.template}`, clone.reason ? `try ${clone.attempt + 1} at ${clock(clone.not_before)}: ${clone.reason}` : `since ${clock(clone.queued_at)}`]),
  ];
  showRows($("lane"), rows.slice(0, LANE_ROWS), "nothing to clone");
}

function showLine(templates) {
  const line = templates.flatMap((it) => it.waiters.map((waiter) => ({ ...waiter, template: it.template_vmid })));
  line.sort((a, b) => a.asked_at.localeCompare(b.asked_at));
  const total = templates.reduce((sum, it) => sum + it.waiting_count, 0);
  $("line-count").textContent = total === 0 ? "" : `${total}`;
  showRows($("line"), line.map((waiter) => [waiter.instance_id, `${waiter.template} · for ${since(waiter.asked_at)}`]), "nobody waits");
}

function showRows(place, rows, none) {
  if (rows.length === 0) place.replaceChildren(element("li", { class: "quiet" }, none));
  else place.replaceChildren(...rows.map(([what, when]) => element("li", {}, element("span", {}, what), element("span", { class: "quiet" }, when))));
}
