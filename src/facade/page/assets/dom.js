// Elements, and how values are shown. Text becomes text nodes, never markup.

/** An element with attributes, listeners (`onclick`) and children; children that are null are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Each state of Livy's that a batch here can be in, with what it means. */
export const STATES = {
  not_started: "Waits to be started",
  starting: "On its way to a running driver",
  running: "The driver runs",
  success: "Ended well",
  dead: "Ended badly",
  killed: "Was stopped",
};
const FINAL = ["success", "dead", "killed"];
export const isFinal = (state) => FINAL.includes(state);

export function badge(state) {
  const known = Object.hasOwn(STATES, state);
  return element("span", { class: `state ${known ? state : ""}`, title: known ? STATES[state] : null }, state.replaceAll("_", " "));
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(time) {
  const seconds = Math.round((time - Date.now()) / 1000);
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return relative.format(Math.trunc(seconds / length), unit);
}

/** A time, as how long ago it was; its title is the time itself. */
export function when(text) {
  if (!text) return element("span", { class: "none" }, "–");
  return element("time", { datetime: text, title: new Date(text).toLocaleString() }, ago(new Date(text)));
}

/** Brings what was written as `when` up to date. */
export function refreshTimes(below) {
  for (const time of below.querySelectorAll("time")) {
    const text = ago(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const span of below.querySelectorAll("[data-since]")) span.textContent = duration(span.dataset.since, null);
}

export function duration(from, to) {
  if (!from) return "–";
  const seconds = Math.max(0, Math.round(((to ? new Date(to) : Date.now()) - new Date(from)) / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

/** How long a batch ran, or has run. */
export function ran(batch) {
  const { started, ended } = batch.details;
  const since = started && !ended && !isFinal(batch.state) ? started : null;
  return element("span", { "data-since": since }, duration(started, ended));
}

export function executors(batch) {
  const counts = batch.details.executors;
  if (!counts) return "–";
  if (isFinal(batch.state)) return counts.failed ? `${counts.failed} failed` : "–";
  return `${counts.running} of ${Math.max(counts.requested, counts.running)}`;
}

export function announce(text, isError = false) {
  const notice = byId("notice");
  notice.textContent = text;
  notice.classList.toggle("error", isError);
  notice.hidden = !text;
}
