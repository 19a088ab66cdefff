// A part of the page that is asked for anew every few seconds, for as long as it is shown.

import { el } from "./dom.js";
import { HubGone, Refused, WrongToken } from "./hub.js";

const REFRESH_MS = 5000;

export class Refreshed {
  #ask;
  #show;
  #asked = new AbortController();
  #timer = 0;

  /** `ask(signal)` has an answer, `show(answer)` shows it, and `element` is where trouble is said. */
  constructor(ask, show, element) {
    [this.#ask, this.#show, this.element] = [ask, show, element];
  }

  start(inMs = 0) {
    this.stop();
    this.#timer = setTimeout(() => this.#once(), inMs);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asked.abort();
  }

  async #once() {
    const { signal } = (this.#asked = new AbortController());
    try {
      const answer = document.hidden ? null : await this.#ask(signal);
      if (answer && !signal.aborted) this.#show(answer);
    } catch (error) {
      // Of a hub that is gone the head of the page says so; what was here stays.
      if (error instanceof Refused) this.element.replaceChildren(el("p", { class: "empty" }, error.message));
      else if (!signal.aborted && !(error instanceof HubGone) && !(error instanceof WrongToken)) reportError(error);
    }
    if (!signal.aborted) this.#timer = setTimeout(() => this.#once(), REFRESH_MS);
  }
}
