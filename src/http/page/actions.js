// What a person may do, and whether it is allowed from here. The service alone knows that: it is asked by a write
// that is not carried out, and each refusal later is believed as well.

// Why nothing may be changed from here; null if it may be, undefined until that is known.
let refusal;

function writeButton(text, onclick, kind = "") {
  const button = element("button", { class: `write ${kind}`, onclick }, text);
  allow(button);
  return button;
}

function allow(button) {
  button.disabled = refusal !== null;
  button.title = refusal ?? "";
}

/** Whether writes are admitted, asked with a template that the pool has. */
async function askWhetherAllowed(template) {
  try {
    await ask(`templates/${template}/refresh?dry_run=true`, { method: "POST" });
    setRefusal(null);
  } catch (error) {
    learn(error);
  }
}

/** What an error says about that: who is not admitted hears nothing else; a proxy may say so, too. */
function learn(error) {
  if ([401, 403, 405].includes(error.status)) setRefusal(error.message);
  else if (error.problem?.code) setRefusal(null);
}

function setRefusal(reason) {
  refusal = reason;
  for (const button of document.querySelectorAll("button.write")) allow(button);
  for (const place of document.querySelectorAll(".refusal")) {
    place.textContent = reason === null ? "" : `Only to look at: ${reason}.`;
    place.hidden = reason === null;
  }
}

function confirm(title, words, yes, count = null) {
  $("confirm-title").textContent = title;
  $("confirm-words").textContent = words;
  $("confirm-yes").textContent = yes;
  $("confirm-yes").classList.toggle("strong", count === null);
  $("confirm-field").hidden = count === null;
  $("confirm-count").value = count ?? "";
  $("confirm").returnValue = "no";
  $("confirm").showModal();
  if (count !== null) $("confirm-count").select();
  return new Promise((resolve) => {
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true });
  });
}

async function carryOut(what, path, method, words = () => "done") {
  toast(`${what} …`);
  try {
    toast(`${what}: ${words(await ask(path, { method }))}`);
  } catch (error) {
    learn(error);
    toast(`${what}: ${error.message}`);
  }
}

const guard = (it) => (it.allocated_to ? `?instance_id=${encodeURIComponent(it.allocated_to)}` : "");

async function release(it) {
  if (await confirm(`Release container ${it.vmid}?`, `${it.allocated_to} loses it: it is stopped and given back.`, "Release it")) {
    $("story").close();
    carryOut(`Release of ${it.vmid}`, `release/${it.vmid}${guard(it)}`, "POST");
  }
}

async function remove(it) {
  const whose = it.allocated_to ? `${it.allocated_to} loses it, and its` : "Its";
  if (await confirm(`Remove container ${it.vmid}?`, `${whose} disk is destroyed.`, "Destroy it")) {
    $("story").close();
    carryOut(`Removal of ${it.vmid}`, `containers/${it.vmid}${guard(it)}`, "DELETE");
  }
}

async function warm(it) {
  const words = `Brings the inventory of template ${it.template_vmid} to a size once; the target stays ${it.target_size}.`;
  if (await confirm("Warm?", words, "Warm", it.max_size)) {
    const count = $("confirm-count").value || it.target_size;
    carryOut(`Warm-up of ${it.template_vmid}`, `warm/${it.template_vmid}?count=${count}`, "POST",
      (told) => `${told.current} there, ${told.queued} more to be cloned`);
  }
}

async function refreshTemplate(it) {
  if (await confirm("Refresh?", `The ready containers are replaced, one by one, by clones of template ${it.template_vmid} as it is today.`, "Refresh")) {
    carryOut(`Refresh of ${it.template_vmid}`, `templates/${it.template_vmid}/refresh`, "POST");
  }
}

// A form's first button is the one that the enter key presses, which is to be the harmless one but for a number.
$("confirm-count").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  $("confirm-yes").click();
});
