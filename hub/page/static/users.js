// Users, some at a time, each with how far its devices are.

import { el, name, replace, table } from "./dom.js";
import { ask } from "./hub.js";
import { toUser } from "./places.js";
import { Refreshed } from "./refreshed.js";
import { ago, bytes, howFar, howFarInFull, number } from "./words.js";

const ROWS = 25;
const DEVICES = 6;
/** While somebody types, the hub is asked once they pause. */
const PAUSE_MS = 250;
const HEADS = [
  { title: "User" }, { title: "Devices" }, { title: "Last push" },
  { title: "Objects", number: true }, { title: "Size", number: true }, { title: "Clock", number: true },
];

export class Users {
  #find = "";
  #connected = false;
  #pages = [""];
  #clock;
  #asking;
  #rows = el("div", { class: "rows" }, el("p", { class: "empty" }, "Asking the hub…"));
  #previous = el("button", { "data-key": "previous", on: { click: () => this.#turn(-1) } }, "Previous");
  #next = el("button", { "data-key": "next", on: { click: () => this.#turn(1) } }, "Next");
  #where = el("span", { class: "quiet" });
  #after = "";

  constructor(clock) {
    this.#clock = clock;
    this.#asking = new Refreshed((signal) => this.#ask(signal), (found) => this.#show(found), this.#rows);
    const find = el("input", { id: "find", type: "search", placeholder: "part of a name", autocomplete: "off", spellcheck: "false", on: { input: () => this.#look({ find: find.value }) } });
    const connected = el("input", { id: "connected", type: "checkbox", on: { change: () => this.#look({ connected: connected.checked }) } });
    this.element = el("section", { class: "card", id: "users", "aria-labelledby": "users-title" },
      el("div", { class: "bar" },
        el("h2", { id: "users-title" }, "Users"),
        el("label", {}, el("span", {}, "Find"), find),
        el("label", { class: "check" }, connected, el("span", {}, "Connected only")),
      ),
      this.#rows,
      el("nav", { class: "bar pager", "aria-label": "Pages of users" }, this.#previous, this.#where, this.#next),
    );
  }

  show() {
    this.#asking.start();
  }

  hide() {
    this.#asking.stop();
  }

  #look({ find = this.#find, connected = this.#connected }) {
    [this.#find, this.#connected, this.#pages] = [find, connected, [""]];
    this.#asking.start(PAUSE_MS);
  }

  #turn(step) {
    if (step > 0) this.#pages.push(this.#after);
    else this.#pages.pop();
    this.#asking.start();
  }

  #ask(signal) {
    const of = { find: this.#find, connected: this.#connected, after: this.#pages.at(-1) };
    return ask("users", { ...of, most: ROWS, devices: DEVICES }, signal);
  }

  #show({ users, more, connected, devices }) {
    const first = (this.#pages.length - 1) * ROWS + 1;
    this.#after = users.at(-1)?.user ?? "";
    this.#previous.disabled = this.#pages.length === 1;
    this.#next.disabled = !more;
    this.#where.textContent = users.length ? `${number(first)} to ${number(first + users.length - 1)}` : "";
    const rows = users.map((user) => this.#row(user, devices[user.user] ?? [], connected[user.user] ?? {}));
    replace(this.#rows, users.length ? table("Users by name", HEADS, rows, { class: "users" }) : this.#nobody());
  }

  #row(user, devices, states) {
    const now = this.#clock();
    const more = user.devices - devices.length;
    const chips = devices.map((device) => chip(device, states[device.device], now));
    if (more > 0) chips.push(el("li", { class: "quiet" }, `+${number(more)} more`));
    return [
      el("a", { href: toUser(user.user) }, name(user.user)),
      chips.length ? el("ul", { class: "chips" }, chips) : el("span", { class: "quiet" }, "none yet"),
      user.stored_at === null ? el("span", { class: "quiet" }, "none kept") : ago(user.stored_at, now),
      number(user.objects), bytes(user.bytes), number(user.clock),
    ];
  }

  #nobody() {
    if (this.#find) return el("p", { class: "empty" }, "No ", this.#connected ? "connected " : "", "user has “", name(this.#find), "” in the name.");
    if (this.#connected) return el("p", { class: "empty" }, "No device is connected just now.");
    if (this.#pages.length > 1) return el("p", { class: "empty" }, "There is nobody behind these any more.");
    return el("p", { class: "empty" }, "Nobody is here yet. Have a device connect: README has one in ten lines, and ", el("code", {}, "scripts/demo"), " shows two.");
  }
}

/** A device in a few words: "tablet 3 days behind", and whether it is connected. */
export function chip(device, state, now) {
  const { words, mood } = howFar(device, state, now);
  const where = state ? "connected" : `away, ${ago(device.seen, now)}`;
  return el("li", { class: `chip ${mood}`, title: `${where}; ${howFarInFull(device, state, now)}` },
    el("span", { class: state ? "dot on" : "dot off" }), el("span", { class: "aloud" }, state ? "connected: " : "away: "),
    name(device.device), " ", el("span", { class: "how" }, words),
  );
}
