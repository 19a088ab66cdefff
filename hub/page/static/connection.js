// One stream of events, opened again whenever it breaks, and not while nobody looks.

import { forgetToken, Refused, WrongToken } from "./hub.js";
import { events } from "./stream.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/**
 * Tells `on.event(name, data)`, `on.state(state, message, waitMs)` with connecting, live, gone,
 * refused, away or out, and `on.wrongToken(message)`.
 */
export class Connection {
  #on;
  #user = "";
  #abort = null;
  #wake = () => {};
  #failures = 0;
  #isOn = false;

  constructor(on) {
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#restart());
    addEventListener("online", () => this.tryNow());
  }

  start() {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#run();
  }

  stop() {
    this.#isOn = false;
    this.#restart();
  }

  /** From now on only the pushes of this user are told of; of all, if it is empty. */
  watch(user) {
    if (user === this.#user) return;
    this.#user = user;
    this.#restart();
  }

  tryNow() {
    this.#wake();
  }

  #restart() {
    this.#abort?.abort();
    this.#wake();
  }

  async #run() {
    while (this.#isOn) {
      if (document.hidden) {
        this.#on.state("away", "Paused while this tab is in the background", 0);
        await this.#until(Infinity);
      } else {
        await this.#once();
      }
    }
    this.#on.state("out", "", 0);
  }

  async #once() {
    this.#abort = new AbortController();
    if (!this.#failures) this.#on.state("connecting", "Connecting", 0);
    try {
      for await (const { name, data } of events(this.#user, this.#abort.signal)) {
        this.#failures = 0;
        this.#on.state("live", "", 0);
        this.#on.event(name, data);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) await this.#failed(error);
    }
  }

  async #failed(error) {
    if (error instanceof WrongToken) {
      this.#isOn = false;
      forgetToken();
      this.#on.wrongToken(error.message);
      return;
    }
    const wait = this.#nextWait();
    this.#on.state(error instanceof Refused ? "refused" : "gone", error.message, wait);
    await this.#until(wait);
  }

  /** Ever longer, and never all pages at once: a hub that comes back should not meet them together. */
  #nextWait() {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS);
    this.#failures += 1;
    return wait * (0.5 + Math.random() / 2);
  }

  #until(ms) {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, ms) : 0;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
