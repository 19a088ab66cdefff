// The history of one object: which push set each field, and what else was tried.

import { el, name, replace, table } from "./dom.js";
import { ask } from "./hub.js";
import { toUser } from "./places.js";
import { Refreshed } from "./refreshed.js";
import { moment, number } from "./words.js";

const LONG = 400;
const HEADS = [{ title: "Field" }, { title: "Value" }, { title: "Set by" }, { title: "Clock", number: true }, { title: "Edited" }, { title: "Stored" }];
const KINDS = { create: "created", update: "changed", delete: "deleted" };

export class ObjectHistory {
  #said = el("div", {}, el("p", { class: "empty" }, "Asking the hub…"));
  #asking;
  #clock;
  #last = "";

  constructor([user, model, id], clock) {
    this.#clock = clock;
    this.#asking = new Refreshed((signal) => ask("why", { user, model, id }, signal), ({ why }) => this.#show(why), this.#said);
    this.element = el("section", { class: "card one", id: "object", "aria-labelledby": "object-title" },
      el("div", { class: "bar" }, el("a", { href: toUser(user), class: "back" }, name(user)),
        el("h2", { id: "object-title" }, name(model), " ", name(id))),
      this.#said);
  }

  show() {
    this.#asking.start();
  }

  hide() {
    this.#asking.stop();
  }

  #show(why) {
    const text = JSON.stringify(why);
    if (text === this.#last) return; // what is open, or selected, stays so
    this.#last = text;
    replace(this.#said, this.#standing(why), this.#fields(why), this.#edits(why));
  }

  #standing({ is_deleted, clock, created, first_clock }) {
    const words = is_deleted
      ? `Deleted at clock ${number(clock)}.`
      : clock ? `Created at clock ${number(created)}, last changed at clock ${number(clock)}.`
      : "It was never there: every edit of it was refused.";
    const forgotten = first_clock > 1 ? ` What happened before clock ${number(first_clock)} the log no longer knows.` : "";
    return el("p", { class: is_deleted ? "error" : "quiet" }, words + forgotten);
  }

  #fields({ fields, is_deleted }) {
    if (!fields.length) return is_deleted ? null : el("p", { class: "empty" }, "It has no fields beside its id.");
    const now = this.#clock();
    const rows = fields.map((field) => [
      el("b", {}, name(field.name)), value(field.value),
      field.device ? name(field.device) : el("span", { class: "quiet" }, "given back"),
      number(field.clock), moment(field.utc_timestamp, now),
      field.stored_at === null ? el("span", { class: "quiet" }, "no longer known") : moment(field.stored_at, now),
    ]);
    return table("As it stands: the push that set each field", HEADS, rows, { class: "fields" });
  }

  #edits({ edits }) {
    const now = this.#clock();
    const items = [...edits].reverse().map((edit) => el("li", { class: `edit ${edit.became.replace(" ", "-")}` }, 
      el("p", {},
        el("span", { class: "clock" }, number(edit.clock)), " ",
        name(edit.device), ` ${KINDS[edit.type] ?? "sent"} it `,
        el("time", { class: "quiet" }, moment(edit.stored_at, now)), " ",
        el("span", { class: `badge ${edit.became.replace(" ", "-")}` }, edit.became)),
      reason(edit),
      values(edit)));
    return el("div", {}, el("h3", {}, "Every edit that the log has, newest first"),
      items.length ? el("ol", { class: "edits" }, items) : el("p", { class: "empty" }, "The log has none of its edits any more."));
  }
}

/** Why an edit, or a part of it, did not become part of the object. */
function reason(edit) {
  if (edit.code) return el("p", { class: "reason" }, `${edit.code}: `, name(edit.message));
  const lost = Object.entries(edit.won_by);
  if (!lost.length) return null;
  return el("p", { class: "reason" }, lost.map(([field, clock], place) =>
    [place ? ", " : "", el("b", {}, name(field)), ` lost to the push of clock ${number(clock)}`]).flat());
}

function values({ fields }) {
  const entries = Object.entries(fields);
  if (!entries.length) return null;
  return el("dl", { class: "values" }, entries.map(([field, of]) => el("div", {}, el("dt", {}, name(field)), el("dd", {}, value(of)))));
}

/** A value as JSON; a long one is shown whole to whoever wants it. */
function value(of) {
  const text = JSON.stringify(of, null, typeof of === "object" ? 1 : 0);
  if (text.length <= LONG) return el("code", {}, el("bdi", {}, text));
  return el("details", {}, el("summary", {}, el("code", {}, el("bdi", {}, `${text.slice(0, LONG)}…`)), ` all ${number(text.length)} characters`), el("code", {}, el("bdi", {}, text)));
}
