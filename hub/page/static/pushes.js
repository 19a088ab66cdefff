// Pushes as they happen: whose, and about which objects. What was written is in an object's history.

import { el, name } from "./dom.js";
import { toObject, toUser } from "./places.js";
import { count, moment, number } from "./words.js";

const KEPT = 60;
const PAUSE_MS = 400;

export class Pushes {
  #watch;
  #paused = false;
  #missed = 0;
  #leftOut = 0;
  #timer = 0;
  #list = el("ol", { class: "pushes", "aria-label": "Pushes, newest first" });
  #empty = el("p", { class: "empty" });
  #note = el("p", { class: "quiet note" });
  #pause = el("button", { "aria-pressed": "false", on: { click: () => this.#turn() } }, "Pause");
  #user = el("input", { id: "of-user", type: "search", placeholder: "all users", autocomplete: "off", spellcheck: "false", on: { input: () => this.#typed() } });

  /** `watch` has the hub tell of one user's pushes only. */
  constructor(watch) {
    this.#watch = watch;
    this.element = el("section", { class: "card", id: "pushes", "aria-labelledby": "pushes-title" },
      el("div", { class: "bar" },
        el("h2", { id: "pushes-title" }, "Pushes"),
        el("label", {}, el("span", {}, "Of user"), this.#user),
        this.#pause,
      ),
      this.#empty,
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Pushes" }, this.#list),
      this.#note,
    );
    this.#sayEmpty();
  }

  add({ pushes, left_out }) {
    this.#leftOut += left_out;
    if (this.#paused) {
      this.#missed += pushes.length + left_out;
    } else {
      this.#list.prepend(...pushes.map(row).reverse());
      while (this.#list.children.length > KEPT) this.#list.lastChild.remove();
      this.#sayEmpty();
    }
    this.#sayNote();
  }

  /** At most so many are shown of each second. */
  bound(aSecond) {
    this.aSecond = aSecond;
  }

  #turn() {
    this.#paused = !this.#paused;
    this.#missed = 0;
    this.#pause.textContent = this.#paused ? "Resume" : "Pause";
    this.#pause.setAttribute("aria-pressed", String(this.#paused));
    this.#sayNote();
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.only(this.#user.value), PAUSE_MS);
  }

  only(user) {
    this.#user.value = user;
    this.#list.replaceChildren();
    [this.#leftOut, this.#missed] = [0, 0];
    this.#watch(user);
    this.#sayEmpty();
    this.#sayNote();
  }

  #sayEmpty() {
    const user = this.#user.value;
    const words = user ? ["No push of ", name(user), " since you look. The name has to be the whole name."] : ["No push since you look. Each appears here in the moment in which it is stored."];
    this.#empty.replaceChildren(...(this.#list.children.length ? [] : words));
  }

  #sayNote() {
    const parts = [];
    if (this.#paused) parts.push(`Paused; ${count(this.#missed, "push", "pushes")} since.`);
    if (this.#leftOut) parts.push(`${number(this.#leftOut)} left out: more than ${this.aSecond} in a second are not shown.`);
    this.#note.textContent = parts.join(" ");
  }
}

function row(push) {
  const named = push.objects.filter(({ model, id }) => model && id);
  const more = push.diffs - named.length;
  return el("li", {},
    el("p", {},
      el("time", {}, moment(Date.now())), " ",
      el("a", { href: toUser(push.user) }, name(push.user)), el("span", { class: "quiet" }, " from "), name(push.device),
      el("span", { class: "quiet end" }, `clock ${number(push.clock)} · ${count(push.diffs, "edit")}`),
    ),
    el("p", { class: "objects" },
      named.map(({ model, id, type }) =>
        el("a", { href: toObject(push.user, model, id), class: `object ${["create", "update", "delete"].includes(type) ? type : ""}` },
          el("span", { class: "aloud" }, `${type} `), name(model), " ", name(id))),
      more > 0 ? el("span", { class: "quiet" }, `+${number(more)} more`) : null,
      push.lost ? el("span", { class: "badge lost" }, `${number(push.lost)} lost`) : null,
      push.rejected ? el("span", { class: "badge rejected" }, `${number(push.rejected)} rejected`) : null,
    ),
  );
}
