// The API reference in Chromium: it shows each route of the document, and its curl lines do what they say.

import { execFileSync } from "node:child_process";
import { TOKEN, until } from "./processes.mjs";

/** `open`, `holds` and `done` are the page's; `reference` is its address, below the path of a proxy. */
export async function apiReference({ open, holds, done }, reference) {
  const tab = await open(reference, {
    before: (tab) => tab.on("console", (message) => {
      if (message.type() === "error") tab.complaints.push(message.text());
    }),
    shown: async (tab) => await tab.locator("section").count() > 0,
  });
  const api = await (await fetch(new URL("openapi.json", reference), { headers: { authorization: `Bearer ${TOKEN}` } })).json();
  const routes = Object.entries(api.paths).flatMap(([path, item]) => ["get", "post", "put", "delete"]
    .filter((method) => item[method]).map((method) => `${method.toUpperCase()}${path}`)).sort();
  const failures = Object.fromEntries(Object.values(api.paths).flatMap((item) => Object.values(item)).map((operation) => [
    operation.operationId,
    Object.values(operation.responses).flatMap(({ content }) => Object.keys(content?.["application/problem+json"]?.examples ?? {})),
  ]));
  const listed = async (what) => (await tab.locator(what).allTextContents()).map((it) => it.replace(/\s/g, "")).sort().join();
  holds("each route is in the contents", await listed("nav a") === routes.join(), await listed("nav a"));
  holds("each route has a section", await listed("section .route") === routes.join(), await listed("section .route"));
  const links = tab.locator("nav a");
  for (let nth = 0; nth < routes.length; nth += 1) {
    const target = (await links.nth(nth).getAttribute("href")).slice(1);
    const section = tab.locator(`section[id="${target}"]`);
    holds(`${target} is explained`, await section.locator("h3").textContent() !== "" && await section.locator(".try pre").count() === 1);
    const codes = await section.locator("details:has-text('application/problem+json') dt").count();
    holds(`${target} says how it fails`, codes === failures[target].length, `${codes}`);
  }
  await links.last().click();
  await until("the last section to be in sight", () => tab.locator("section").last().isVisible());

  await tab.getByLabel("with a token").check();
  const lines = await tab.locator(".try pre").allTextContents();
  holds("each line has the token", lines.every((it) => it.includes('"Authorization: Bearer $POOL_API_TOKEN"')));
  holds("each line goes through the proxy", lines.every((it) => it.includes(new URL(".", reference).href)));
  // Those that change nothing, follow nothing and are of nobody in particular.
  const plain = lines.filter((it) => !/ -X | -N |\/explain|\/\d+(\/|')|\/billing/.test(it));
  holds("some can be run", plain.length >= 6, plain.join("\n"));
  for (const line of plain) {
    execFileSync("sh", ["-c", `${line} -fsS -o /dev/null`], { env: { ...process.env, POOL_API_TOKEN: TOKEN } });
  }
  await done("shows each route of the API, and lines that work", tab);
}
