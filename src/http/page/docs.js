// The API document for people. Everything that is shown is read from openapi.json beside this page; texts are
// set as text, never as markup.

const $ = (id) => document.getElementById(id);
const METHODS = ["get", "post", "put", "delete"];
// The service is where this page is, also below a path of a proxy.
const base = new URL(".", location.href).href.replace(/\/$/, "");
let api;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// The little of markdown that descriptions have: paragraphs, and code between backquotes.
function prose(text) {
  return (text ?? "").split(/\n\s*\n/).filter((it) => it.trim()).map((paragraph) =>
    element("p", {}, ...paragraph.split("`").map((part, n) => (n % 2 === 1 ? element("code", {}, part) : part))));
}

function resolve(schema) {
  let found = schema ?? {};
  while (found.$ref) found = found.$ref.slice(2).split("/").reduce((at, name) => at[name], api);
  return found;
}

const alternatives = (schema) => schema.oneOf ?? schema.anyOf;
const isNull = (schema) => schema.type === "null";

function typeOf(schema) {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  const it = schema ?? {};
  if (alternatives(it)) return alternatives(it).filter((one) => !isNull(one)).map(typeOf).join(" or ");
  if (it.allOf) return "object";
  const types = [it.type ?? "any"].flat().filter((type) => type !== "null");
  if (types[0] === "array") return `list of ${typeOf(it.items)}`;
  if (it.enum && it.enum.length < 8) return it.enum.map((word) => JSON.stringify(word)).join(" | ");
  return it.format && it.format !== "int32" && it.format !== "int64" ? `${types.join(" or ")} (${it.format})` : types.join(" or ");
}

// Fields of an object, of each of its parts.
function fieldsOf(schema) {
  const it = resolve(schema);
  const parts = [...(it.allOf ?? []), ...(alternatives(it) ?? []).filter((one) => !isNull(one))];
  if (parts.length > 0) return Object.assign({}, ...parts.map(fieldsOf), it.properties ?? {});
  if (it.type === "array" || [it.type].flat().includes("array")) return fieldsOf(it.items);
  return it.properties ?? {};
}

function fields(schema, depth = 0) {
  const found = Object.entries(fieldsOf(schema));
  if (found.length === 0 || depth > 4) return null;
  const list = element("dl");
  for (const [name, field] of found) {
    const below = element("dd", {}, ...prose(field.description ?? resolve(field).description));
    const inner = fields(field, depth + 1);
    if (inner) below.append(element("details", {}, element("summary", {}, "fields"), element("div", { class: "fields" }, inner)));
    list.append(element("dt", {}, name, " ", element("small", {}, typeOf(field))), below);
  }
  return list;
}

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(method, path, operation) {
  let target = path;
  for (const it of operation.parameters ?? []) {
    if (it.in === "path") target = target.replace(`{${it.name}}`, it.example ?? resolve(it.schema).example ?? it.name);
  }
  if (path === "/explain") target += "?vmid=205";
  if (path === "/allocate") target += "?start=true";
  const parts = ["curl"];
  if (path === "/events") parts.push("-N");
  if (method !== "get") parts.push("-X", method.toUpperCase());
  if ($("token").checked) parts.push("-H", '"Authorization: Bearer $POOL_API_TOKEN"');
  const body = operation.requestBody?.content?.["application/json"]?.example;
  if (body) parts.push("-H", "'Content-Type: application/json'", "-d", quoted(JSON.stringify(body)));
  parts.push(quoted(base + target));
  return parts.join(" ");
}

function tryIt(method, path, operation) {
  const line = element("pre", { tabindex: "0", "aria-label": "Command" }, curl(method, path, operation));
  const button = element("button", { onclick: async () => {
    await navigator.clipboard?.writeText(line.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  } }, "Copy");
  $("token").addEventListener("change", () => { line.textContent = curl(method, path, operation); });
  return element("div", { class: "try" }, line, button);
}

function parameters(operation) {
  const list = element("dl");
  for (const it of operation.parameters ?? []) {
    const where = `${typeOf(it.schema)}, ${it.in}${it.required ? ", required" : ""}`;
    list.append(element("dt", {}, it.name, " ", element("small", {}, where)), element("dd", {}, ...prose(it.description)));
  }
  return list.children.length > 0 ? [element("h4", {}, "Parameters"), list] : [];
}

function body(title, content) {
  return Object.entries(content ?? {}).flatMap(([type, it]) => [
    element("h4", {}, `${title} · ${type}`),
    it.example === undefined ? null : element("pre", { tabindex: "0", "aria-label": `${title}, an example` }, asText(it.example)),
    ((list) => list && element("details", {}, element("summary", {}, `Fields of ${typeOf(it.schema)}`), element("div", { class: "fields" }, list)))(fields(it.schema)),
  ].filter((part) => part !== null));
}

function problems(operation) {
  const list = element("dl");
  for (const [status, response] of Object.entries(operation.responses).filter(([status]) => status !== "200")) {
    const examples = response.content?.["application/problem+json"]?.examples ?? {};
    for (const [code, example] of Object.entries(examples)) {
      const { detail, next_step } = example.value;
      list.append(element("dt", {}, `${status} ${code}`),
        element("dd", {}, example.summary, ": ", element("q", {}, detail), ` ${next_step}.`));
    }
  }
  if (list.children.length === 0) return [];
  return [element("h4", {}, "Errors"), element("details", {},
    element("summary", {}, `${list.querySelectorAll("dt").length} codes`),
    element("p", {}, "All of them are ", element("code", {}, "application/problem+json"), " with a stable ", element("code", {}, "code"),
      ", what is the matter in ", element("code", {}, "detail"), " and what to do in ", element("code", {}, "next_step"), "."),
    list)];
}

function section(method, path, operation) {
  return element("section", { id: operation.operationId },
    element("h3", {}, operation.summary),
    element("p", { class: "route" }, element("span", { class: `method ${method}` }, method.toUpperCase()), " ", path),
    ...prose(operation.description), tryIt(method, path, operation), ...parameters(operation),
    ...body("Request", operation.requestBody?.content), ...body("Answer", operation.responses["200"]?.content), ...problems(operation));
}

function show() {
  $("version").textContent = `API ${api.info.version}`;
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path, operation: item[method] })));
  const main = [], contents = [];
  for (const tag of api.tags) {
    const its = operations.filter(({ operation }) => operation.tags?.includes(tag.name));
    main.push(element("h2", { class: "group" }, tag.name), element("p", { class: "quiet" }, tag.description),
      ...its.map(({ method, path, operation }) => section(method, path, operation)));
    contents.push(element("h2", {}, tag.name), element("ul", {}, ...its.map(({ method, path, operation }) =>
      element("li", {}, element("a", { href: `#${operation.operationId}` }, element("span", { class: `method ${method}` }, method.toUpperCase()), path)))));
  }
  $("main").replaceChildren(...prose(api.info.description), ...main);
  $("contents").append(...contents);
  if (matchMedia("(max-width: 52rem)").matches) $("contents").open = false;
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  api = await response.json();
  show();
} catch (error) {
  $("main").replaceChildren(element("p", { class: "bad" }, `The document cannot be read: ${error.message}`));
}
