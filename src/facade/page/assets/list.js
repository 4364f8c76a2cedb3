// The batches of a namespace: one page of them, kept up to date.

import { batches, isRefusal, json, persist, trouble, watch } from "./api.js";
import { STATES, badge, element, executors, ran, when } from "./dom.js";

const SIZE = 50;
/** How long changes are gathered before the page of them is read anew. */
const GATHER = 400;
const COLUMNS = ["Id", "State", "Name", "Owner", "Submitted", "Ran", "Executors"];

/** What the API is asked for. */
function query({ state, q }, more) {
  const asked = new URLSearchParams({ details: "true", ...more });
  if (state) asked.set("state", state);
  if (q) asked.set("search", q);
  return asked;
}

export async function showList(main, view) {
  const { values, namespace, signal, live, address } = view;
  const parts = layout(main, view);
  const link = (batch) => address({ ns: namespace, id: String(batch.id) });
  const from = Math.max(0, Number.parseInt(values.from, 10) || 0);
  let listed = new Map();

  const load = async () => {
    const path = `${batches(namespace)}?${query(values, { from, size: SIZE, order: "latest" })}`;
    const page = await json(path, { signal });
    listed = draw(parts.body, page.sessions, listed, link);
    turn(parts, view, from, page);
  };
  const failed = (error) => {
    if (signal.aborted) return;
    parts.body.replaceChildren();
    parts.count.textContent = "";
    parts.newer.hidden = parts.older.hidden = true;
    parts.empty.hidden = false;
    parts.empty.textContent = trouble(error);
  };
  if (!(await persist(load, signal, failed, live))) return;

  let timer = null;
  const gather = () => (timer ??= setTimeout(() => {
    timer = null;
    // A server that is away, or not ready, is told of by the stream, which comes back by itself: what is shown stays.
    load().catch((error) => (isRefusal(error) ? failed(error) : live(false, error.message)));
  }, GATHER));
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  let isSynced = false;
  await watch(`${batches(namespace)}?${query(values, { watch: "true" })}`, signal, (name, data) => {
    if (name === "synced") {
      isSynced = true;
      live(true);
      // What changed between the page and the stream.
      gather();
    } else if (isSynced) {
      // What is not shown may be what the page begins with now.
      if (name === "batch" && replace(JSON.parse(data), listed, link)) return;
      gather();
    }
  }, (isLive, why) => {
    isSynced = false;
    live(isLive, why);
  });
}

/** The controls and the empty table; those that are there already are kept, as somebody may be writing in them. */
function layout(main, { values, namespace, address, signal }) {
  const go = (changes) => {
    location.hash = address({ ns: namespace, state: values.state, q: values.q, ...changes });
  };
  let filters = main.querySelector(".filters");
  if (!filters) {
    filters = element("form", { class: "filters", role: "search", "aria-label": "Batches" },
      element("label", { for: "search" }, "Search"),
      element("input", { id: "search", type: "search", placeholder: "Name, id or owner", autocomplete: "off", maxlength: "200" }),
      element("label", { for: "state" }, "State"),
      element("select", { id: "state" }, element("option", { value: "" }, "All states"),
        Object.keys(STATES).map((state) => element("option", { value: state }, state.replaceAll("_", " ")))),
      element("span", { class: "count", role: "status" }));
    const head = element("tr", { role: "row" },
      COLUMNS.map((name) => element("th", { scope: "col", role: "columnheader" }, name)));
    main.append(
      element("h1", { class: "hidden" }, "Batches"), filters,
      element("table", { class: "batches", role: "table", "aria-label": "Batches" },
        element("thead", { role: "rowgroup" }, head), element("tbody", { role: "rowgroup" })),
      element("p", { class: "empty", hidden: true }),
      element("nav", { class: "pages", "aria-label": "Pages of batches" },
        element("a", { class: "button newer", hidden: true }, "← Newer"), element("a", { class: "button older", hidden: true }, "Older →")));
  }
  const [search, state] = [filters.querySelector("#search"), filters.querySelector("#state")];
  if (document.activeElement !== search) search.value = values.q ?? "";
  state.value = values.state ?? "";
  let timer;
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  const typed = () => {
    clearTimeout(timer);
    if (search.value.trim() !== (values.q ?? "")) go({ q: search.value.trim() });
  };
  search.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(typed, 250))), { signal });
  filters.addEventListener("submit", (event) => (event.preventDefault(), typed()), { signal });
  state.addEventListener("change", () => go({ state: state.value, q: search.value.trim() }), { signal });
  return {
    body: main.querySelector("tbody"),
    empty: main.querySelector(".empty"),
    count: filters.querySelector(".count"),
    newer: main.querySelector(".newer"),
    older: main.querySelector(".older"),
  };
}

/** Draws the batches of a page; rows that say the same are left as they are. Returns what is listed. */
function draw(body, sessions, before, link) {
  const listed = new Map();
  for (const batch of sessions) {
    const text = JSON.stringify(batch);
    const had = before.get(batch.id);
    listed.set(batch.id, had?.text === text ? had : { text, row: row(batch, link) });
  }
  const focused = document.activeElement?.getAttribute("href");
  const rows = [...listed.values()].map((entry) => entry.row);
  if (rows.length !== body.children.length || rows.some((made, at) => made !== body.children[at])) {
    body.replaceChildren(...rows);
    if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
  return listed;
}

/** Draws a batch anew if it is listed. */
function replace(batch, listed, link) {
  const had = listed.get(batch.id);
  if (!had) return false;
  const isFocused = had.row.contains(document.activeElement);
  const made = row(batch, link);
  had.row.replaceWith(made);
  listed.set(batch.id, { text: JSON.stringify(batch), row: made });
  if (isFocused) made.querySelector("a").focus();
  return true;
}

function row(batch, link) {
  const { details } = batch;
  const why = details.reason && !["DriverRunning", "DriverSucceeded"].includes(details.reason) ? details.reason : null;
  const cell = (at, ...children) => {
    const made = element("td", { role: "cell", "data-label": COLUMNS[at] }, ...children);
    // On a phone, where rows are no columns, what there is not is not told.
    made.classList.toggle("blank", made.textContent === "–");
    return made;
  };
  return element("tr", { role: "row" },
    cell(0, element("a", { href: link(batch) }, `${batch.id}`)),
    cell(1, badge(batch.state), why ? element("span", { class: "why" }, why) : null),
    cell(2, batch.name ?? element("span", { class: "none" }, "–")),
    cell(3, batch.owner ?? element("span", { class: "none" }, "–")),
    cell(4, when(details.created)),
    cell(5, ran(batch)),
    cell(6, executors(batch)));
}

/** Says which batches are shown, and leads to the others. */
function turn({ count, empty, newer, older }, { values, namespace, address }, from, { total, sessions }) {
  const number = new Intl.NumberFormat("en");
  const shown = sessions.length ? `${number.format(from + 1)}–${number.format(from + sessions.length)} of ` : "";
  const text = `${shown}${number.format(total)} ${total === 1 ? "batch" : "batches"}`;
  if (count.textContent !== text) count.textContent = text;
  empty.hidden = sessions.length > 0;
  empty.textContent = values.q || values.state ? "No batch is like this." : total ? "No more batches." : "There are no batches here yet.";
  const to = (start) => address({ ns: namespace, state: values.state, q: values.q, from: start > 0 ? String(start) : "" });
  for (const [link, start, isThere] of [
    [newer, Math.max(0, from - SIZE), from > 0],
    [older, from + SIZE, from + SIZE < total],
  ]) {
    link.hidden = !isThere;
    link.href = to(start);
  }
}
