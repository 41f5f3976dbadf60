// The list of events, newest first: those that happen, and before them the last ones of the log.

// Checkpoints come every five seconds while deliveries fail: they have a place of their own in what is kept, so
// that they push nothing else out, and are shown only when asked for.
const CHECKPOINT = "WebhookCheckpointed";
const KEPT = 500;
const KEPT_CHECKPOINTS = 100;
const LINES = 200;
// The first that fits; what is of a container has no prefix in common.
const KINDS = {
  allocations: /^Alloc/, clones: /^Clone/, templates: /^Template/, webhooks: /^Webhook/,
  service: /^(Service|Pve|Reconcil|Settings|Log)/, containers: /./,
};
// So many events of the past are wanted, and so many steps back are made for them.
const ENOUGH = 300;
const STEP = 1000;
const MOST_STEPS = 12;

class EventList {
  constructor(form, place) {
    this.form = form;
    this.place = place;
    this.all = [];
    this.held = null;
    for (const kind of Object.keys(KINDS).sort()) form.kind.append(element("option", {}, kind));
    form.addEventListener("input", () => this.draw());
  }

  /** Takes events up, in whatever order they come. */
  add(events) {
    const all = [...this.all, ...events].sort((a, b) => b.seq - a.seq);
    let room = KEPT, checkpoints = KEPT_CHECKPOINTS;
    // Another array: what is held still is the one of before.
    this.all = all.filter((event) => (event.type === CHECKPOINT ? checkpoints-- > 0 : room-- > 0));
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  clear() {
    this.all = [];
    this.add([]);
  }

  draw() {
    const { form } = this;
    this.held = form.pause.checked ? this.held ?? this.all : null;
    const text = form.text.value.trim().toLowerCase();
    const passes = (event) => (form.checkpoints.checked || event.type !== CHECKPOINT)
      && (!form.kind.value || kindOf(event) === form.kind.value)
      && (!text || JSON.stringify(event).toLowerCase().includes(text));
    const lines = (this.held ?? this.all).filter(passes).slice(0, LINES).map(eventLine);
    if (lines.length === 0) lines.push(element("li", { class: "quiet" }, this.all.length === 0 ? "nothing yet" : "no such event among the last"));
    this.place.replaceChildren(...lines);
  }
}

const kindOf = (event) => Object.keys(KINDS).find((kind) => KINDS[kind].test(event.type));

function eventLine(event) {
  const { metadata, settings, ...data } = event.data;
  const words = Object.entries(data).filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${typeof value === "object" ? value.message ?? JSON.stringify(value) : value}`);
  return element("li", { "data-seq": event.seq }, element("time", { datetime: event.at }, clock(event.at)), element("b", {}, event.type), words.join(" "));
}

/** Reads back from an event, which is the last one, until there are enough; `take` gets them piece by piece. */
async function readPast(last, types, take) {
  const wanted = types.filter((type) => type !== CHECKPOINT).join();
  let found = 0, end = last;
  for (let step = 0; step < MOST_STEPS && end > 0 && found < ENOUGH; step += 1) {
    const after = Math.max(0, end - STEP);
    const { events, oldest } = await readBetween(after, end, wanted);
    take(events);
    found += events.length;
    end = oldest > after + 1 ? 0 : after;
  }
}

/** The events behind one up to another; of a log that begins later, what there is. */
async function readBetween(after, end, types) {
  const events = [];
  let oldest = 0;
  while (after < end) {
    let response;
    try {
      response = await answer(`events?follow=false&limit=${STEP}&after=${after}&types=${types}`);
    } catch (error) {
      if (!(error.problem?.oldest > after + 1)) throw error;
      oldest = error.problem.oldest;
      after = oldest - 1;
      continue;
    }
    const lines = (await response.text()).split("\n").filter(Boolean);
    events.push(...lines.map((line) => JSON.parse(line)).filter((event) => event.seq <= end));
    const next = Number(response.headers.get("x-next-after"));
    if (!(next > after)) break;
    after = next;
  }
  return { events, oldest };
}
