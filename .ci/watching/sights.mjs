// How the live page looks: on a phone, in the dark, and with ten thousand containers.

import { until } from "./processes.mjs";

const PHONE = { width: 360, height: 740 };

/** Nothing is wider than a phone, nor than what it is in, also with a story open. */
export async function fitsAPhone({ open, holds, done }) {
  const tab = await open({ viewport: PHONE, hasTouch: true, isMobile: true });
  await until("rows", async () => await tab.locator("button.row").count() > 3);
  const tooWide = () => tab.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? [`the page (${document.documentElement.scrollWidth})`] : [];
    for (const it of document.querySelectorAll("header *, main *, dialog[open], dialog[open] *")) {
      const around = it.parentElement.closest("section, article, dialog, header, main") ?? document.documentElement;
      const room = around.getBoundingClientRect();
      const box = it.getBoundingClientRect();
      if (box.width > 0 && (box.right > room.right + 1 || box.left < room.left - 1)) wide.push(`${it.tagName} .${it.className} ${it.id}`);
    }
    return [...new Set(wide)].slice(0, 5);
  });
  const fits = async (what) => holds(`${what} is too wide for a phone`, (await tooWide()).length === 0, (await tooWide()).join(", "));
  await fits("the page");
  await tab.locator("button.row").first().tap();
  await until("a story", async () => await tab.locator("#story-events li").count() > 0);
  await fits("a story");
  await tab.getByRole("button", { name: "Remove …" }).tap();
  await fits("a question");
  await tab.getByRole("button", { name: "Leave it" }).tap();
  await tab.getByRole("button", { name: "Close" }).tap();
  await done("fits a phone", tab);
}

/** Dark is dark, light is light, and each text stands out from what is behind it (WCAG AA). */
export async function colours({ open, holds, done }) {
  for (const colorScheme of ["light", "dark"]) {
    const tab = await open({ colorScheme });
    await until("rows", async () => await tab.locator("button.row").count() > 3);
    const { back, faint } = await tab.evaluate(() => {
      const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
      const light = (colour) => {
        const [r, g, b] = parts(colour).map((it) => it / 255).map((it) => (it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (it) => {
        const colour = getComputedStyle(it).backgroundColor;
        return parts(colour)[3] === 0 && it.parentElement ? behind(it.parentElement) : colour;
      };
      const faint = new Set();
      for (const it of document.querySelectorAll("header *, main *")) {
        const says = [...it.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!says || it.closest("svg, :disabled")) continue;
        const [a, b] = [light(getComputedStyle(it).color), light(behind(it))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faint.add(`${it.tagName} .${it.className} "${it.textContent.slice(0, 30)}" ${contrast.toFixed(1)}`);
      }
      return { back: light(getComputedStyle(document.body).backgroundColor), faint: [...faint] };
    });
    holds(`it is ${colorScheme}`, colorScheme === "dark" ? back < 0.1 : back > 0.8, back);
    holds(`texts are faint when it is ${colorScheme}`, faint.length === 0, faint.join(", "));
    await done(`is ${colorScheme} when it shall be`, tab);
  }
}

/** What a colour says, a word or a shape says too. */
export async function tellsWithoutColour({ open, holds, done }) {
  const tab = await open();
  await until("rows", async () => await tab.locator("button.row").count() > 3);
  const { signs, dots } = await tab.evaluate(() => {
    const sign = (it) => [it.className.replace(" none", ""), getComputedStyle(it, "::before").content + it.textContent.replace(/\d+/g, "").trim()];
    const chart = document.querySelector("#chart svg, svg#chart, #chart"), dots = {};
    for (const kind of ["pool", "queue"]) {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      dot.setAttribute("class", kind);
      chart.append(dot);
      const { fill, stroke } = getComputedStyle(dot);
      dots[kind] = fill === stroke || stroke === "none" ? "full" : "hollow";
      dot.remove();
    }
    return { signs: [...document.querySelectorAll("#templates .state")].map(sign), dots };
  });
  holds("each state has a word and a sign of its own", signs.length >= 6
    && new Set(signs.map(([, text]) => text)).size === new Set(signs.map(([name]) => name)).size
    && signs.every(([, text]) => /[a-z]/.test(text) && !text.startsWith("none")), JSON.stringify(signs));
  holds("dots of the chart differ by shape", dots.pool !== dots.queue, JSON.stringify(dots));
  const states = await tab.locator("button.row").evaluateAll((rows) => rows.map((row) => row.textContent));
  holds("each row names its state", states.every((text) => /ready|creating|allocated|releasing|removing|quarantined/.test(text)), states.join());
  await done("tells without colour", tab);
}

/** What there is to draw does not grow with the containers, and one change is not ten thousand. */
export async function manyContainers({ open, ask, holds, done, allocate }) {
  const FIRST = 20_000, MANY = 10_000;
  const states = ["ready", "allocated", "allocated", "quarantined", "creating"];
  const many = Array.from({ length: MANY }, (_, nth) => ({
    vmid: FIRST + nth, template_vmid: 9009, hostname: `pool-9009-${nth}`, state: states[nth % states.length], uses: 1,
    allocated_to: states[nth % states.length] === "allocated" ? `instance-${nth}` : null, created_at: "2026-01-01T00:00:00Z", age_seconds: nth,
  }));
  let wholes = 0;
  const before = (tab) => tab.route("**/status?*", async (route) => {
    const response = await route.fetch();
    const status = await response.json();
    if (new URL(route.request().url()).searchParams.get("containers") === "true") {
      wholes += 1;
      status.templates[9009].containers.push(...many);
    }
    await route.fulfill({ response, json: status });
  });
  const tab = await open({ before });
  await until("ten thousand rows", async () => Number(await tab.locator(".table").getAttribute("aria-rowcount")) > MANY);
  const nodes = (what) => tab.evaluate((what) => document.querySelectorAll(what).length, what);
  const bounded = async (when) => {
    const rows = await nodes("button.row"), all = await nodes("*");
    holds(`only rows in sight are there ${when}`, rows > 5 && rows < 60, rows);
    holds(`the page is small ${when}`, all < 2500, all);
  };
  await bounded("at first");
  const inSight = () => tab.evaluate(() => {
    const table = document.querySelector(".table").getBoundingClientRect();
    return document.elementFromPoint(table.left + 20, table.bottom - 20)?.closest("button.row")?.dataset.vmid;
  });
  await tab.locator(".table").evaluate((table) => table.scrollIntoView({ block: "center" }));
  for (const part of [0.25, 0.5, 0.75, 1]) {
    await tab.locator(".table").evaluate((table, part) => { table.scrollTop = part * table.scrollHeight; }, part);
    await until("rows where it was scrolled to", async () => Math.abs(Number(await inSight()) - FIRST - part * MANY) < 200);
    await bounded("after scrolling");
  }
  // A change of one container reads that one, and leaves the elements of the others as they are.
  const row = `button.row[data-vmid="${FIRST + MANY - 1}"]`;
  await tab.locator(row).evaluate((it) => {
    globalThis.kept = it;
    globalThis.made = 0;
    new MutationObserver((all) => { for (const it of all) globalThis.made += it.addedNodes.length; })
      .observe(document.querySelector(".table"), { subtree: true, childList: true });
  });
  const wholesBefore = wholes;
  const { vmid } = await allocate("one-of-many");
  await until("the event", async () => (await tab.locator("#events").textContent()).includes("one-of-many"));
  await until("the container to be read", () => tab.evaluate(() => performance.getEntriesByType("resource").some((it) => /containers\/\d+$/.test(it.name))));
  await tab.waitForTimeout(1000);
  holds("a change reads what changed", wholes === wholesBefore, wholes - wholesBefore);
  holds("rows stay what they are", await tab.evaluate((row) => globalThis.kept === document.querySelector(row), row));
  const made = await tab.evaluate(() => globalThis.made);
  holds("a refresh makes few nodes", made < 100, made);
  await bounded("after a change");
  await tab.locator("#containers-filter").getByLabel("Find").fill("instance-9991");
  await until("the one that is looked for", async () => (await tab.locator("button.row").allTextContents()).join().includes("instance-9991"));
  await tab.locator("#containers-filter").getByLabel("Find").fill("");
  await tab.locator("button.row").first().press("End");
  await until("the last row", async () => await tab.evaluate((row) => document.activeElement.matches(row), row));
  await bounded("after End");
  await tab.keyboard.press("Home");
  await until("the first row", async () => await tab.locator(".table").evaluate((table) => table.scrollTop) === 0);
  await bounded("after Home");
  await tab.keyboard.press("Tab");
  holds("the tabulator key leaves the table", await tab.evaluate(() => !document.activeElement.closest(".table")));
  await ask("POST", `/release/${vmid}`);
  await done("stays small with ten thousand containers", tab);
}
