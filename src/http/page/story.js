// One container: what it is, what may be done with it, and its life so far. Goes on while it is open.

let told = { vmid: null, actions: "" };

async function openStory(vmid) {
  told = { vmid, actions: "" };
  $("story-title").textContent = `Container ${vmid}`;
  for (const id of ["story-facts", "story-actions", "story-events", "story-summary"]) $(id).replaceChildren();
  if (!$("story").open) $("story").showModal();
  await tellStory();
}

/** Tells it again if it is open and one of these containers', or any. */
function retellStory(vmids = [told.vmid]) {
  if ($("story").open && vmids.includes(told.vmid)) tellStory();
}

async function tellStory() {
  const { vmid } = told;
  const [container, past] = await Promise.allSettled([ask(`containers/${vmid}`), ask(`explain?vmid=${vmid}`)]);
  if (told.vmid !== vmid) return;
  showFacts(container.value);
  $("story-summary").textContent = past.value?.summary ?? past.reason.message;
  $("story-events").replaceChildren(...(past.value?.chapters.at(-1)?.steps ?? []).toReversed().map(stepLine));
}

/** Nothing of what was, if it is gone. */
function showFacts(it) {
  const facts = it ? [["State", it.state], ["Hostname", it.hostname], ["Held by", it.allocated_to], ["Template", it.template_vmid], ["Node", it.node],
    ["Age", age(it.age_seconds)], ["Holders so far", it.uses], ["Expires", it.expires_at], ["Left alone", it.doubt], ["Reason", it.reason],
    ["Run", it.hint], ["Delayed", it.delay?.reason], ["Clone", it.clone_id]] : [["State", "not in the pool"]];
  $("story-facts").replaceChildren(...facts.filter(([, value]) => value !== null && value !== undefined)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", { class: "mono" }, `${value}`)]));
  // Buttons stay while what they are for does.
  const actions = it ? `${it.state} ${it.allocated_to}` : "";
  if (actions === told.actions) return;
  told.actions = actions;
  const buttons = [];
  if (it?.state === "allocated") buttons.push(writeButton("Release …", () => release(it)));
  if (it && it.state !== "removing") buttons.push(writeButton("Remove …", () => remove(it), "strong"));
  $("story-actions").replaceChildren(...buttons);
}

function stepLine(step) {
  return element("li", {}, element("time", { datetime: step.at }, clock(step.at)), step.words);
}
