// The table of containers. Only the rows in sight exist, so that ten thousand cost what thirty do.

const ROW = 28;
const SPARE = 8;

class Table {
  constructor(place, onOpen) {
    this.place = place;
    this.onOpen = onOpen;
    this.onCount = () => {};
    this.all = [];
    this.state = "";
    this.text = "";
    this.head = this.row("div", ["VMID", "Hostname", "State", "Held by", "Age"]);
    this.head.classList.add("head");
    this.head.style.position = "sticky";
    this.body = document.createElement("div");
    this.body.style.position = "relative";
    this.body.setAttribute("role", "rowgroup");
    place.append(this.head, this.body);
    place.addEventListener("scroll", () => this.soon(), { passive: true });
  }

  show(rows) {
    this.all = rows.sort((a, b) => a.vmid - b.vmid);
    this.choose();
  }

  filter(state, text) {
    this.state = state;
    this.text = text;
    this.choose();
  }

  choose() {
    const { state, text } = this;
    const has = (row) => `${row.vmid} ${row.hostname} ${row.allocated_to ?? ""}`.toLowerCase().includes(text);
    this.rows = this.all.filter((row) => (!state || row.state === state) && (!text || has(row)));
    this.onCount(this.rows.length, this.all.length);
    this.soon();
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  draw() {
    const rows = this.rows ?? [];
    this.body.style.height = `${rows.length * ROW}px`;
    this.place.setAttribute("aria-rowcount", rows.length);
    const first = Math.max(0, Math.floor(this.place.scrollTop / ROW) - SPARE);
    const last = Math.min(rows.length, first + Math.ceil(this.place.clientHeight / ROW) + 2 * SPARE);
    const focused = document.activeElement?.dataset?.vmid;
    const made = rows.slice(first, last).map((row, nth) => this.line(row, first + nth));
    this.body.replaceChildren(...made);
    // A row that is drawn anew keeps the keyboard's place.
    if (focused) made.find((line) => line.dataset.vmid === focused)?.focus({ preventScroll: true });
  }

  line(row, nth) {
    const seconds = (Date.now() - Date.parse(row.created_at)) / 1000;
    const line = this.row("button", [row.vmid, row.hostname, row.doubt ? `${row.state}, in doubt` : row.state, row.allocated_to ?? "–", age(seconds)]);
    line.style.top = `${nth * ROW}px`;
    line.dataset.vmid = row.vmid;
    line.children[2].className = `state ${row.state}`;
    line.addEventListener("click", () => this.onOpen(row.vmid));
    line.addEventListener("keydown", (event) => this.move(event, nth));
    return line;
  }

  move(event, nth) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = this.rows[nth + step];
    if (!step || !next) return;
    event.preventDefault();
    const top = (nth + step) * ROW;
    if (top < this.place.scrollTop) this.place.scrollTop = top;
    if (top + 2 * ROW > this.place.scrollTop + this.place.clientHeight) this.place.scrollTop = top + 2 * ROW - this.place.clientHeight;
    this.draw();
    this.body.querySelector(`[data-vmid="${next.vmid}"]`)?.focus({ preventScroll: true });
  }

  row(name, cells) {
    const row = document.createElement(name);
    row.className = "row";
    row.setAttribute("role", "row");
    for (const cell of cells) {
      const span = document.createElement("span");
      span.setAttribute("role", "cell");
      span.textContent = cell;
      row.append(span);
    }
    return row;
  }
}
