// The REST API, with the token that its user gave. Every address is relative to the page.

import { byId } from "./dom.js";

const KEY = "sparkbatch-token";
let asking = null;

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Whether asking again would be answered in the same way. */
export function isRefusal(error) {
  return error.status >= 400 && error.status < 500 && error.status !== 429;
}

/** What to say of an error of a view that is asked for again, unless it was refused. */
export const trouble = (error) => (isRefusal(error) ? error.message : `Not answered (${error.message}). Trying again …`);

const token = () => sessionStorage.getItem(KEY);

/** Whether requests carry a token, which a link that the browser follows does not. */
export const hasToken = () => Boolean(token());

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  byId("sign-out").hidden = true;
}

/** Where batches of a namespace are; of the default one, if it has no name. */
export const batches = (namespace) => (namespace ? `namespaces/${encodeURIComponent(namespace)}/batches` : "batches");

/** The answer, which is one of success. Asks for a token where the API wants another. */
export async function call(path, options = {}) {
  for (;;) {
    const sent = token();
    // What says so gets no challenge that a browser would answer in place of the page.
    const headers = { "X-Requested-With": "XMLHttpRequest", "X-Requested-By": "sparkbatch", ...options.headers };
    if (sent) headers.Authorization = `Bearer ${sent}`;
    const answer = await fetch(path, { ...options, headers });
    if (answer.ok) return answer;
    const text = await message(answer);
    if (answer.status !== 401) throw new ApiError(answer.status, text);
    // Another call may have got one meanwhile.
    if (token() === sent) await askForToken(sent ? text : "This server wants to know who you are.", options.signal);
  }
}

async function message(answer) {
  const text = await answer.text();
  try {
    return String(JSON.parse(text).msg);
  } catch {
    return `${answer.status} ${answer.statusText}`.trim();
  }
}

export const json = async (path, options) => (await call(path, options)).json();

function askForToken(why, signal) {
  if (signal?.aborted) throw signal.reason;
  byId("token-why").textContent = why;
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

function ask() {
  const [dialog, form, field] = [byId("token-dialog"), byId("token-form"), byId("token")];
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const { signal } = done;
    const end = (act) => {
      done.abort();
      field.value = "";
      dialog.close();
      act();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, field.value.trim());
      byId("sign-out").hidden = false;
      end(resolve);
    }, { signal });
    const cancel = () => end(() => reject(new ApiError(401, "Nothing can be shown without a token.")));
    byId("token-cancel").addEventListener("click", cancel, { signal });
    dialog.addEventListener("cancel", (event) => (event.preventDefault(), cancel()), { signal });
    dialog.showModal();
  });
}

/** Pieces of a body as text, as they come. */
export async function* pieces(answer) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** How long a stream may be silent: the server says something each 15 s. */
const SILENCE = 40_000;
const PAUSES = [500, 1000, 2000, 5000, 10_000];

export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/**
 * Loads a view, until it is answered or refused: a server that is away, or not ready, comes back. `failed(error)` gets
 * each failure, `live` as of [watch]. Gives whether it was loaded.
 */
export async function persist(load, signal, failed, live) {
  for (let failures = 0; !signal.aborted; ) {
    try {
      await load();
      return !signal.aborted;
    } catch (error) {
      if (signal.aborted) return false;
      failed(error);
      if (isRefusal(error)) {
        live(false, error.message);
        return false;
      }
    }
    live(false);
    await pause(PAUSES[Math.min(failures++, PAUSES.length - 1)], signal);
  }
  return false;
}

/**
 * Server-sent events, until `signal`: `take(name, data)` gets each, `live(true)` says that they flow and `live(false)`
 * that they do not. EventSource cannot send a token, so this reads a stream.
 */
export async function watch(path, signal, take, live) {
  for (let failures = 0; !signal.aborted; ) {
    try {
      await events(path, signal, (name, data) => {
        if (name === "synced") failures = 0;
        take(name, data);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (isRefusal(error)) {
        live(false, error.message);
        return;
      }
    }
    if (signal.aborted) return;
    live(false);
    await pause(PAUSES[Math.min(failures++, PAUSES.length - 1)], signal);
  }
}

async function events(path, signal, take) {
  const silent = new AbortController();
  const either = AbortSignal.any([signal, silent.signal]);
  let timer = setTimeout(() => silent.abort(), SILENCE);
  try {
    let rest = "";
    for await (const piece of pieces(await call(path, { signal: either }))) {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE);
      const blocks = (rest + piece).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) parse(block, take);
    }
  } finally {
    clearTimeout(timer);
  }
}

function parse(block, take) {
  let [name, data] = ["", ""];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name) take(name, data);
}
