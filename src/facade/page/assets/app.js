// Which view is shown: what stands after the # of the address says it.

import { forgetToken } from "./api.js";
import { showBatch } from "./batch.js";
import { announce, byId, refreshTimes } from "./dom.js";
import { showList } from "./list.js";
import { showSubmit } from "./submit.js";

const main = byId("main");
let leave = new AbortController();
let shown = null;

/** The address of a view: `#id=7`, `#submit`, `#state=running&q=daily`. Empty values are left out. */
function address(values) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) if (value) query.set(key, value === true ? "" : value);
  return `#${query.toString().replace(/=(?=&|$)/g, "")}`;
}

function live(isLive, why) {
  const sign = byId("live");
  const text = isLive === null ? "" : isLive ? "Live" : why ? "Not live" : "Not live – reconnecting";
  if (sign.textContent !== text) sign.textContent = text;
  sign.title = why ?? "";
  sign.className = `live ${isLive === null ? "" : isLive ? "on" : "off"}`;
}

function render() {
  const place = new URLSearchParams(location.hash.slice(1));
  if (place.has("main")) return;
  const values = Object.fromEntries(place);
  leave.abort();
  leave = new AbortController();
  live(null);
  byId("namespace").value = values.ns ?? "";
  byId("to-submit").href = address({ ns: values.ns, submit: true });
  document.querySelector(".brand").href = address({ ns: values.ns });
  const view = place.has("submit") ? "submit" : values.id ? "batch" : "list";
  const show = { submit: showSubmit, batch: showBatch, list: showList }[view];
  const kept = shown === view && view === "list";
  shown = view;
  if (!kept) {
    main.replaceChildren();
    if (document.activeElement !== document.body || location.hash) main.focus();
  }
  show(main, { values, namespace: values.ns ?? "", signal: leave.signal, live, address });
}

window.addEventListener("hashchange", () => {
  if (shown !== "list" && !byId("notice").dataset.keep) announce("");
  delete byId("notice").dataset.keep;
  render();
});
byId("skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
byId("namespace-form").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = address({ ns: byId("namespace").value.trim() });
});
byId("sign-out").addEventListener("click", () => (forgetToken(), location.reload()));
byId("sign-out").hidden = !sessionStorage.getItem("sparkbatch-token");
setInterval(() => refreshTimes(main), 1000);
render();
