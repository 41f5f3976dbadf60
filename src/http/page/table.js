// The table of containers. Only the rows in sight exist, so that ten thousand cost what thirty do; a row that
// stays in sight stays the same element. One row is a stop of the tabulator key, arrow keys go to the others.

const ROW = 28;
const SPARE = 8;
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

class Table {
  constructor(place, onOpen) {
    this.place = place;
    this.onOpen = onOpen;
    this.onCount = () => {};
    this.all = [];
    this.rows = [];
    this.lines = new Map();
    this.state = "";
    this.text = "";
    this.head = this.row("div", 5);
    this.fill(this.head, ["VMID", "Hostname", "State", "Held by", "Age"]);
    this.head.classList.add("head");
    this.body = element("div", { role: "rowgroup" });
    this.body.style.position = "relative";
    place.append(this.head, this.body);
    place.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(place);
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
    const { rows, place } = this;
    this.body.style.height = `${rows.length * ROW}px`;
    place.setAttribute("aria-rowcount", rows.length + 1);
    const first = Math.max(0, Math.floor(place.scrollTop / ROW) - SPARE);
    const last = Math.min(rows.length, first + Math.ceil(place.clientHeight / ROW) + 2 * SPARE);
    const drawn = new Map();
    for (let nth = first; nth < last; nth += 1) drawn.set(rows[nth].vmid, nth);
    // The row that the keyboard is on stays, also out of sight.
    const here = rows.findIndex((row) => row.vmid === this.here);
    if (here >= 0) drawn.set(this.here, here);
    for (const vmid of this.lines.keys()) if (!drawn.has(vmid)) this.lines.delete(vmid);
    const stop = here >= 0 ? here : Math.min(rows.length - 1, Math.ceil(place.scrollTop / ROW));
    const sorted = [...drawn.values()].sort((a, b) => a - b);
    arrange(this.body, sorted.map((nth) => this.line(rows[nth], nth, nth === stop)));
  }

  line(row, nth, isStop) {
    let line = this.lines.get(row.vmid);
    if (!line) {
      line = this.row("button", 5);
      line.dataset.vmid = row.vmid;
      line.addEventListener("click", () => this.onOpen(row.vmid));
      line.addEventListener("keydown", (event) => this.move(event, row.vmid));
      line.addEventListener("focus", () => { this.here = row.vmid; this.soon(); });
      this.lines.set(row.vmid, line);
    }
    const seconds = (Date.now() - Date.parse(row.created_at)) / 1000;
    this.fill(line, [row.vmid, row.hostname, row.doubt ? `${row.state}, in doubt` : row.state, row.allocated_to ?? "–", age(seconds)]);
    line.children[2].className = `state ${row.state}`;
    line.style.top = `${nth * ROW}px`;
    line.tabIndex = isStop ? 0 : -1;
    line.setAttribute("aria-rowindex", nth + 2);
    return line;
  }

  move(event, vmid) {
    const step = STEPS[event.key];
    const from = this.rows.findIndex((row) => row.vmid === vmid);
    if (!step || from < 0) return;
    event.preventDefault();
    const to = Math.min(this.rows.length - 1, Math.max(0, from + step));
    const { place } = this, top = to * ROW;
    // The head covers one row.
    if (top < place.scrollTop) place.scrollTop = top;
    if (top + 2 * ROW > place.scrollTop + place.clientHeight) place.scrollTop = top + 2 * ROW - place.clientHeight;
    this.here = this.rows[to].vmid;
    this.draw();
    this.lines.get(this.here)?.focus({ preventScroll: true });
  }

  row(name, cells) {
    const row = element(name, { class: "row", role: "row" });
    for (let nth = 0; nth < cells; nth += 1) row.append(element("span", { role: "cell" }));
    return row;
  }

  fill(row, texts) {
    texts.forEach((text, nth) => {
      const cell = row.children[nth];
      if (cell.textContent !== `${text}`) cell.textContent = text;
    });
  }
}
