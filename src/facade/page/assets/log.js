// A log that is followed: its last lines, as they come.

import { call, isRefusal, pause, pieces } from "./api.js";
import { element } from "./dom.js";

/** Most lines that are kept. */
const LINES = 5000;
/** Longest line that is shown. */
const LENGTH = 10_000;
const GRAVE = /\b(ERROR|FATAL|WARN)\b/;

export function log() {
  const lines = element("div", { class: "lines", role: "log", "aria-label": "Log of the driver", "aria-live": "off", tabindex: "0" });
  const state = element("span", { class: "log-state", role: "status" });
  const button = element("button", { type: "button", "aria-pressed": "false" }, "Pause");
  let [isPaused, held, dropped, frame] = [false, [], false, 0];

  const show = () => {
    frame = 0;
    if (isPaused || !held.length) return;
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    lines.append(...held.map(line));
    held = [];
    while (lines.childElementCount > LINES) {
      lines.firstElementChild.remove();
      dropped = true;
    }
    lines.classList.toggle("cut", dropped);
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };
  const take = (texts) => {
    held = held.length + texts.length > LINES ? [...held, ...texts].slice(-LINES) : [...held, ...texts];
    frame ||= requestAnimationFrame(show);
  };
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) {
      show();
      lines.scrollTop = lines.scrollHeight;
    }
  });

  /** Follows the log at `path` to its end, which `isOver` says may have come. */
  const follow = async (path, signal, isOver) => {
    const say = (text) => (state.textContent = text);
    for (;;) {
      try {
        say("Following");
        lines.replaceChildren();
        [held, dropped] = [[], false];
        const answer = await call(`${path}?follow=true&size=${LINES}`, { signal });
        let rest = "";
        for await (const piece of pieces(answer)) {
          const texts = (rest + piece).split("\n");
          rest = texts.pop();
          // A line without an end does not grow without end.
          if (rest.length > LENGTH) rest = rest.slice(0, LENGTH + 1);
          if (texts.length) take(texts);
        }
        if (rest) take([rest]);
        if (isOver()) return say("The log has ended");
      } catch (error) {
        if (signal.aborted) return;
        say(`Not live: ${error.message}`);
        if (isRefusal(error)) return;
      }
      await pause(2000, signal);
      if (signal.aborted) return;
    }
  };
  return { lines, bar: element("div", { class: "log-bar" }, element("h2", {}, "Log"), state, button), follow };
}

function line(text) {
  const shown = text.length > LENGTH ? `${text.slice(0, LENGTH)} …` : text;
  const grave = GRAVE.exec(shown.slice(0, 200))?.[1];
  return element("div", grave ? { class: grave.toLowerCase() } : {}, shown || "\u00a0");
}
