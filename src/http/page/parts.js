// What all parts of the page use. Texts are set as text, never as markup.

const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Makes these the children. Those that stay are not touched, so that the keyboard and a click keep their place. */
function arrange(place, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...place.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, nth) => {
    if (place.children[nth] !== node) place.insertBefore(node, place.children[nth] ?? null);
  });
}

/** The answer, or an error with the status and, if the service itself said no, its problem document. */
async function answer(path, options = {}) {
  // What is written may take as long as a container; what is read on a dead connection would wait for ever.
  const signal = AbortSignal.timeout(options.method ? 120_000 : 15_000);
  const response = await fetch(path, { signal, ...options });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `${response.status} ${response.statusText}`);
  throw Object.assign(error, { status: response.status, problem });
}

const ask = async (path, options) => (await answer(path, options)).json();

function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const since = (instant) => age(Math.max(0, (Date.now() - Date.parse(instant)) / 1000));

/** The time of day, with the day unless it is today. */
function clock(instant) {
  const at = new Date(instant);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}
