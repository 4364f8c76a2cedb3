// One batch: its state, why, what was asked for, its log.

import { batches, call, hasToken, json, persist, trouble, watch } from "./api.js";
import { announce, badge, byId, duration, element, executors, isFinal, ran, when } from "./dom.js";
import { log } from "./log.js";

const SIZES = ["driverMemory", "driverCores", "executorMemory", "executorCores", "numExecutors", "queue", "proxyUser"];
const LISTS = ["args", "jars", "pyFiles", "files", "archives"];

export async function showBatch(main, view) {
  const { values, namespace, signal, live, address } = view;
  const path = `${batches(namespace)}/${encodeURIComponent(values.id)}`;
  const list = address({ ns: namespace });
  const parts = {
    head: element("div", { class: "batch-head" }),
    facts: element("dl", { class: "facts" }),
    why: element("p", { class: "message", hidden: true }),
    more: element("div"),
    log: log(),
  };
  const back = element("a", { class: "back", href: list }, "← All batches");
  const failed = (error) => main.replaceChildren(back, element("p", { class: "empty", role: "status" }, trouble(error)));
  let batch;
  const load = async () => {
    batch = await json(path, { signal });
    // By a name that is used again, another one would be found.
    view.path = `${batches(namespace)}/${batch.id}`;
    await refresh(parts, batch, view);
  };
  if (!(await persist(load, signal, failed, live))) return;
  // Where nothing is watched, nothing else says so.
  live(null);
  main.replaceChildren(back, parts.head, parts.facts, parts.why, parts.more, parts.log.bar, parts.log.lines);
  parts.log.follow(`${view.path}/log`, signal, () => isFinal(batch.state));

  // A final state never changes.
  if (isFinal(batch.state)) return;
  const over = new AbortController();
  await watch(`${view.path}?watch=true`, AbortSignal.any([signal, over.signal]), (name, data) => {
    // Who deleted it here is told so as soon as that is certain.
    if (name === "deleted" && !view.isDeleting) announce(`Batch ${batch.id} is gone.`);
    if (name === "batch") batch = JSON.parse(data);
    const isOver = name === "deleted" || isFinal(batch.state);
    live(isOver ? null : true);
    if (isOver) over.abort();
    if (name === "batch") refresh(parts, batch, view).catch(() => {});
  }, live);
}

/** Draws what the batch is now. */
async function refresh(parts, batch, view) {
  const turn = (parts.turn = (parts.turn ?? 0) + 1);
  const told = await json(`${view.path}/details`, { signal: view.signal });
  // Of two answers that pass each other on their way, the later request's counts.
  if (turn !== parts.turn) return;
  const shown = { ...batch, details: told };
  const { request } = told;
  const fact = (name, ...value) => element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
  const old = parts.head.querySelector("button");
  const isFocused = old && document.activeElement === old;
  const kill = element("button", { type: "button", class: "danger", onclick: () => confirmKill(batch, view) },
    isFinal(batch.state) ? "Delete" : "Kill");
  parts.head.replaceChildren(
    element("h1", {}, `${batch.id} `, element("span", { class: "title" }, batch.name ?? told.resource)),
    badge(batch.state), element("span", { class: "grow" }), ...ui(batch, view), kill);
  if (isFocused) kill.focus();
  parts.facts.replaceChildren(
    fact("Reason", told.reason ?? "–"),
    fact("Owner", batch.owner ?? "–", batch.proxyUser ? ` for ${batch.proxyUser}` : ""),
    fact("Submitted", when(told.created)),
    fact("Started", when(told.started)),
    fact("Ended", when(told.ended)),
    fact("Ran", ran(shown)),
    fact("Executors", executors(shown)),
    fact("Attempt", told.attempt === null ? "–" : `${told.attempt}`),
    fact("Application", batch.appId ?? "–"),
    fact("Driver", told.driverPod ?? "–"));
  parts.why.textContent = told.message ?? "";
  parts.why.hidden = !told.message;
  parts.why.classList.toggle("error", batch.state === "dead");
  const wasOpen = [...parts.more.querySelectorAll("details")].map((part) => part.open);
  parts.more.replaceChildren(...[asked(request), attempts(told.attempts)].filter(Boolean));
  [...parts.more.querySelectorAll("details")].forEach((part, at) => (part.open = wasOpen[at] ?? false));
}

/** The link to Spark's own pages: below the batch while it runs, then the history server's. */
function ui(batch, view) {
  const history = batch.appInfo.sparkUiUrl;
  const target = batch.state === "running" ? `${view.path}/ui/` : isFinal(batch.state) ? history : null;
  if (!target || !URL.canParse(target, location.href)) return [];
  if (!["http:", "https:"].includes(new URL(target, location.href).protocol)) return [];
  const link = element("a", { class: "button", href: target, target: "_blank", rel: "noreferrer" }, "Spark UI");
  // The browser follows the link without the page's token, and asks for a password itself.
  if (target === history || !hasToken()) return [link];
  link.setAttribute("aria-describedby", "ui-hint");
  const hint = "opens in a new tab; enter any user name and your token as the password";
  return [element("span", { class: "hint", id: "ui-hint" }, hint), link];
}

function asked(request) {
  const rows = [["file", request.file], ["className", request.className]];
  for (const field of LISTS) if (request[field]?.length) rows.push([field, request[field].join("\n")]);
  for (const field of SIZES) rows.push([field, request[field]]);
  for (const [key, value] of Object.entries(request.conf ?? {})) rows.push([key, value]);
  return element("details", { class: "asked" }, element("summary", {}, "Request and configuration"),
    table("Request", ["Field", "Value"], rows.filter(([, value]) => value !== undefined && value !== null)));
}

function attempts(records) {
  if (!records.length) return null;
  const rows = records.map(({ attempt, reason, exitCode, startTime, completionTime, message }) =>
    [attempt, reason ?? "–", exitCode ?? "–", duration(startTime, completionTime), message ?? ""]);
  return element("details", { class: "attempts" }, element("summary", {}, `Earlier attempts (${records.length})`),
    table("Earlier attempts", ["Attempt", "Reason", "Exit code", "Took", "Message"], rows));
}

function table(label, heads, rows) {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    element("table", { "aria-label": label },
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((value) => element("td", {}, `${value}`)))))));
}

/** Asks whether the batch is to be deleted, and deletes it. */
function confirmKill(batch, view) {
  const dialog = byId("kill-dialog");
  const what = batch.name ? `${batch.id} (${batch.name})` : `${batch.id}`;
  const ended = isFinal(batch.state);
  byId("kill-title").textContent = `${ended ? "Delete" : "Kill"} batch ${what}?`;
  byId("kill-text").textContent = ended
    ? "The batch and its log are removed. This cannot be undone."
    : "Its driver and executors are stopped, and the batch and its log are removed. This cannot be undone.";
  byId("kill-confirm").textContent = ended ? "Delete batch" : "Kill batch";
  dialog.returnValue = "cancel";
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "kill" || view.signal.aborted) return;
    view.isDeleting = true;
    try {
      await call(view.path, { method: "DELETE" });
      announce(`Batch ${what} was ${ended ? "deleted" : "killed and removed"}.`);
      byId("notice").dataset.keep = "true";
      location.hash = view.address({ ns: view.namespace });
    } catch (error) {
      view.isDeleting = false;
      announce(error.message, true);
    }
  }, { once: true });
  dialog.showModal();
}
