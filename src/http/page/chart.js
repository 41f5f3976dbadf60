// The last allocations, each a dot: filled from the pool, hollow when it had to wait for a clone.

const DOTS = 60;
const NS = "http://www.w3.org/2000/svg";

class Chart {
  constructor(place, words) {
    this.words = words;
    this.values = [];
    this.svg = document.createElementNS(NS, "svg");
    this.svg.setAttribute("viewBox", "0 0 320 120");
    this.svg.setAttribute("role", "img");
    place.append(this.svg);
    this.draw();
  }

  /** Takes up what of these events ends an allocation; those of the past may come after newer ones. */
  add(events) {
    const ended = events.filter((event) => event.type === "AllocationCompleted");
    if (ended.length === 0) return;
    this.values.push(...ended.map(({ seq, data }) => (
      { seq, seconds: data.duration_ms / 1000, pool: data.from_pool, who: data.instance_id })));
    this.values = this.values.sort((a, b) => a.seq - b.seq).slice(-DOTS);
    this.soon();
  }

  clear() {
    this.values = [];
    this.soon();
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  draw() {
    const most = Math.max(5, ...this.values.map((it) => it.seconds));
    // The scale is of roots, so that seconds and minutes are both seen.
    const y = (seconds) => 105 - 95 * Math.sqrt(seconds / most);
    const parts = [0, most / 4, most].flatMap((seconds) => [
      this.make("line", { x1: 30, x2: 315, y1: y(seconds), y2: y(seconds), class: "axis" }),
      this.make("text", { x: 26, y: y(seconds) + 3, "text-anchor": "end" }, `${Math.round(seconds * 10) / 10} s`),
    ]);
    this.values.forEach((it, nth) => {
      const dot = this.make("circle", { cx: 38 + nth * 4.6, cy: y(it.seconds), r: 3.2, class: it.pool ? "pool" : "queue" });
      dot.append(this.make("title", {}, `${it.who}: ${it.seconds.toFixed(1)} s, ${it.pool ? "from the pool" : "cloned for it"}`));
      parts.push(dot);
    });
    this.svg.replaceChildren(...parts);
    const sorted = this.values.map((it) => it.seconds).sort((a, b) => a - b);
    const hits = this.values.filter((it) => it.pool).length;
    const text = sorted.length === 0
      ? "Nothing was allocated lately. ● from the pool, ○ cloned for it."
      : `Last ${sorted.length}: half within ${sorted[Math.floor(sorted.length / 2)].toFixed(1)} s, longest ${sorted.at(-1).toFixed(1)} s; ${hits} ● from the pool, ${sorted.length - hits} ○ cloned.`;
    this.words.textContent = text;
    this.svg.setAttribute("aria-label", text);
  }

  make(name, attributes, text) {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
}
