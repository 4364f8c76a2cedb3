// The form to submit a batch.

import { batches, json } from "./api.js";
import { announce, byId, element } from "./dom.js";

const text = (value) => value.trim() || undefined;
const lines = (value) => {
  const all = value.split("\n").map((line) => line.trim()).filter(Boolean);
  return all.length ? all : undefined;
};
/** `spark.key=value` or, as in spark-defaults.conf, `spark.key value`, one a line. */
const conf = (value) => {
  const pairs = (lines(value) ?? []).filter((line) => !line.startsWith("#")).map((line) => {
    const [, key, rest] = /^([^\s=]+)(?:\s*=\s*|\s+)?(.*)$/.exec(line) ?? [null, line, ""];
    return [key, rest];
  });
  return pairs.length ? Object.fromEntries(pairs) : undefined;
};

/** Each field: its label, how it is read, and a hint. */
const FIELDS = {
  file: ["Application file", text, "A .jar, or a Python or R file: a path in the image, or a URI such as s3a://bucket/job.py", "input"],
  name: ["Name", text, "Must differ from other batches' names", "input"],
  className: ["Main class", text, "For a .jar: org.example.Main", "input"],
  args: ["Arguments", lines, "One a line", "textarea"],
  driverMemory: ["Driver memory", text, "For instance 2g", "input"],
  driverCores: ["Driver cores", text, null, "input"],
  executorMemory: ["Executor memory", text, "For instance 4g", "input"],
  executorCores: ["Executor cores", text, null, "input"],
  numExecutors: ["Executors", text, "How many", "input"],
  conf: ["Spark configuration", conf, "One a line: spark.key=value. Credentials are kept in a Secret", "textarea"],
  jars: ["Jars", lines, "One a line", "textarea"],
  pyFiles: ["Python files", lines, "One a line", "textarea"],
  files: ["Files", lines, "One a line", "textarea"],
  archives: ["Archives", lines, "One a line", "textarea"],
  queue: ["Queue", text, null, "input"],
  proxyUser: ["Proxy user", text, "To run on behalf of, where the server allows it", "input"],
};
const NUMBERS = ["driverCores", "executorCores", "numExecutors"];
const MORE = ["jars", "pyFiles", "files", "archives", "queue", "proxyUser"];

export function showSubmit(main, view) {
  const { namespace, address, signal } = view;
  const summary = element("p", { class: "message error", role: "alert", hidden: true });
  const names = Object.keys(FIELDS);
  const send = element("button", { class: "primary", type: "submit" }, "Submit");
  const more = element("details", {}, element("summary", {}, "More: jars, files, queue"),
    element("div", { class: "grid" }, MORE.map(field)));
  const form = element("form", { class: "submit", novalidate: true },
    element("a", { class: "back", href: address({ ns: namespace }) }, "← All batches"),
    element("h1", {}, namespace ? `Submit a batch in ${namespace}` : "Submit a batch"), summary,
    element("div", { class: "grid" }, names.filter((name) => !MORE.includes(name)).map(field)), more,
    element("div", { class: "actions" }, element("a", { class: "button", href: address({ ns: namespace }) }, "Cancel"), send));
  let key = { body: null, id: null };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(summary, names);
    const body = JSON.stringify(Object.fromEntries(names.map((name) => [name, FIELDS[name][1](byId(`f-${name}`).value)])));
    // The same request, sent again because no answer came, makes no second batch.
    if (key.body !== body) key = { body, id: randomId() };
    send.disabled = true;
    try {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": key.id };
      const batch = await json(batches(namespace), { method: "POST", headers, body, signal });
      announce(`Batch ${batch.id} was submitted.`);
      byId("notice").dataset.keep = "true";
      location.hash = address({ ns: namespace, id: String(batch.id) });
    } catch (error) {
      if (!signal.aborted) explain(error.message, summary, names, more);
    } finally {
      send.disabled = false;
    }
  });
  main.replaceChildren(form);
  byId("f-file").focus();
}

function field(name) {
  const [label, , hint, kind] = FIELDS[name];
  const id = `f-${name}`;
  const control = element(kind, {
    id, name, autocomplete: "off", autocapitalize: "none", spellcheck: "false", rows: kind === "textarea" ? "3" : null,
    inputmode: NUMBERS.includes(name) ? "numeric" : null, required: name === "file", "aria-describedby": `${id}-error ${id}-hint`,
  });
  const wide = name === "file" || kind === "textarea" ? "wide" : "";
  return element("div", { class: `field ${wide}` }, element("label", { for: id }, label, name === "file" ? " (required)" : ""),
    control, element("p", { class: "field-error", id: `${id}-error`, hidden: true }),
    element("p", { class: "hint", id: `${id}-hint` }, hint ?? ""));
}

function clear(summary, names) {
  summary.hidden = true;
  for (const name of names) {
    byId(`f-${name}`).removeAttribute("aria-invalid");
    byId(`f-${name}-error`).hidden = true;
  }
}

/** Shows what the API says is wrong at the fields that it names, and the rest above them. */
function explain(message, summary, names, more) {
  const left = [];
  let name = null;
  for (const reason of message.replace(/^Rejected, Reason: /, "").split("; ")) {
    // What names no field goes on with what was said before it: reasons have semicolons in them, too.
    name = fieldOf(reason, names) ?? name;
    if (!name) {
      left.push(reason);
      continue;
    }
    const error = byId(`f-${name}-error`);
    error.textContent = error.hidden ? reason : `${error.textContent}; ${reason}`;
    error.hidden = false;
    byId(`f-${name}`).setAttribute("aria-invalid", "true");
    if (MORE.includes(name)) more.open = true;
  }
  const wrong = names.find((name) => byId(`f-${name}`).hasAttribute("aria-invalid"));
  summary.textContent = left.length ? left.join("; ") : "Not submitted: see the fields below.";
  summary.hidden = false;
  if (wrong) byId(`f-${wrong}`).focus();
}

function fieldOf(reason, names) {
  // Livy's own words for what has no field before it.
  if (reason.includes("File is required")) return "file";
  if (/session name/.test(reason)) return "name";
  if (/^Blacklisted configuration/.test(reason)) return "conf";
  const named = /^([A-Za-z]+)(?:[[.][^:]*)?:/.exec(reason)?.[1] ?? /\(([A-Za-z]+)(?:[[.][^:]*)?:/.exec(reason)?.[1];
  return names.includes(named) ? named : null;
}

/** Browsers have `randomUUID` only where the page came by TLS. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
