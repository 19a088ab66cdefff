// One user: the devices and how far each is, the last pushes, and the objects.

import { el, name, replace, table } from "./dom.js";
import { ask } from "./hub.js";
import { toObject } from "./places.js";
import { Refreshed } from "./refreshed.js";
import { ago, bytes, count, howFar, howFarInFull, moment, number } from "./words.js";

const PUSHES = 30;
const OBJECTS = 50;
const DEVICES = 100;
const DEVICE_HEADS = [{ title: "Device" }, { title: "How far" }, { title: "Last seen" }, { title: "Received", number: true }];
const PUSH_HEADS = [{ title: "Clock", number: true }, { title: "Stored" }, { title: "Device" }, { title: "Objects" }];
const OBJECT_HEADS = [{ title: "Model" }, { title: "Id" }, { title: "Changed at clock", number: true }, { title: "By" }];

export class User {
  #user;
  #clock;
  #model = "";
  #after = null;
  #standing = el("p", { class: "quiet" });
  #devices = el("div", {}, el("p", { class: "empty" }, "Asking the hub…"));
  #pushes = el("div");
  #objects = el("div");
  #next = el("button", { on: { click: () => this.#more() } }, "Next objects");
  #first = el("button", { hidden: true, on: { click: () => this.#from(null) } }, "From the first");
  #asking;

  constructor(user, clock, watchOnly) {
    [this.#user, this.#clock] = [user, clock];
    this.#asking = new Refreshed((signal) => this.#ask(signal), (found) => this.#show(found), this.#devices);
    const model = el("input", { id: "model", type: "search", placeholder: "all models", autocomplete: "off", spellcheck: "false", on: { change: () => this.#only(model.value) } });
    this.element = el("div", { class: "one" },
      el("section", { class: "card", "aria-labelledby": "user-title" },
        el("div", { class: "bar" }, el("a", { href: "#/", class: "back" }, "All users"), el("h2", { id: "user-title" }, name(user)),
          el("button", { on: { click: () => watchOnly(user) } }, "Watch the pushes")),
        this.#standing, this.#devices),
      el("section", { class: "card", "aria-labelledby": "log-title" }, el("h2", { id: "log-title" }, "Last pushes"), this.#pushes),
      el("section", { class: "card", "aria-labelledby": "objects-title" },
        el("div", { class: "bar" }, el("h2", { id: "objects-title" }, "Objects"), el("label", {}, el("span", {}, "Model"), model)),
        this.#objects,
        el("nav", { class: "bar pager", "aria-label": "Pages of objects" }, this.#first, this.#next)),
    );
  }

  show() {
    this.#asking.start();
  }

  hide() {
    this.#asking.stop();
  }

  #only(model) {
    this.#model = model;
    this.#from(null);
  }

  #more() {
    this.#from(this.#last);
  }

  #from(object) {
    this.#after = object;
    this.#first.hidden = object === null;
    this.#asking.start();
  }

  async #ask(signal) {
    const user = this.#user;
    const { devices, connected } = await ask("devices", { user }, signal);
    const { users } = await ask("users", { find: user, after: before(user), most: 1 }, signal);
    const [standing] = users.filter((each) => each.user === user);
    const after = { after_model: this.#after?.model ?? "", after_id: this.#after?.id ?? "" };
    const [log, objects] = await Promise.all([
      ask("log", { user, after: Math.max((standing?.clock ?? 0) - PUSHES, 0) }, signal),
      ask("objects", { user, model: this.#model, most: OBJECTS, ...after }, signal),
    ]);
    return { devices, connected, standing, log, objects };
  }

  #show({ devices, connected, standing, log, objects }) {
    const now = this.#clock();
    if (standing) this.#standing.textContent = `${count(standing.objects, "object")}, ${bytes(standing.bytes)}; at clock ${number(standing.clock)}, the log goes back to ${number(standing.first_clock)}.`;
    this.#showDevices(devices, connected, now);
    const rows = log.pushes.slice(-PUSHES).reverse().map((push) => this.#push(push, now));
    replace(this.#pushes, rows.length ? table("Pushes, newest first", PUSH_HEADS, rows) : el("p", { class: "empty" }, "The log has no push of this user any more."));
    this.#showObjects(objects);
  }

  #showDevices(devices, connected, now) {
    const rows = devices.slice(0, DEVICES).map((device) => {
      const state = connected[device.device];
      const { words, mood } = howFar(device, state, now);
      return [
        name(device.device),
        el("span", { class: `how ${mood}`, title: howFarInFull(device, state, now) }, words),
        el("span", {}, el("span", { class: state ? "dot on" : "dot off" }), state ? state.replace("_", " ") : ago(device.seen, now)),
        number(device.received),
      ];
    });
    const more = devices.length - DEVICES;
    const none = el("p", { class: "empty" }, "No device of this user was here.");
    replace(this.#devices, rows.length ? table("Devices, those first that were here last", DEVICE_HEADS, rows) : none,
      more > 0 ? el("p", { class: "quiet" }, `And ${count(more, "other")} that were here before these.`) : null);
  }

  #push(push, now) {
    const links = push.diffs.slice(0, 6).map(({ model, json_data: { id } }) =>
      el("a", { class: "object", href: toObject(this.#user, model, id) }, name(model), " ", name(id)));
    const { lost = [], rejected = [] } = push.refused; // what is empty is not told
    return [
      number(push.clock), moment(push.stored_at, now), name(push.device),
      el("p", { class: "objects" }, links,
        push.diffs.length > 6 ? el("span", { class: "quiet" }, `+${number(push.diffs.length - 6)} more`) : null,
        lost.length ? el("span", { class: "badge lost" }, `${number(lost.length)} lost`) : null,
        rejected.length ? el("span", { class: "badge rejected" }, `${number(rejected.length)} rejected`) : null),
    ];
  }

  #showObjects({ objects, more }) {
    this.#last = objects.at(-1) ?? null;
    this.#next.disabled = !more;
    const rows = objects.map(({ model, id, clock, device }) =>
      [name(model), el("a", { href: toObject(this.#user, model, id) }, name(id)), number(clock), name(device)]);
    const none = el("p", { class: "empty" }, this.#model ? "There are no objects of this model; it has to be the whole name." : "There are no objects.");
    replace(this.#objects, rows.length ? table("Objects by model and id", OBJECT_HEADS, rows) : none);
  }

  #last = null;
}

/** A name just before another: the hub tells of those behind it. */
function before(user) {
  return user.slice(0, -1);
}
