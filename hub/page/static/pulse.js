// What the hub does: charts of the last minutes, and figures of now.

import { Chart } from "./charts.js";
import { el } from "./dom.js";
import { bytes, count, decimal, milliseconds, number } from "./words.js";

const KEPT = 300;
const MANY_WAL_BYTES = 600 * 2 ** 20;
const LONG_LAG_MS = 250;

const rate = (name) => (moment) => moment[name] / moment.seconds;
const CHARTS = [
  {
    title: "Connections", unit: "open now", say: decimal, least: 4,
    lines: [{ title: "connections", of: (moment) => moment.connections }, { title: "users", of: (moment) => moment.users }],
  },
  {
    title: "Pushes", unit: "per second", say: decimal, least: 4,
    lines: [
      { title: "stored", of: rate("pushes") },
      { title: "lost or rejected", of: (moment) => (moment.lost + moment.rejected) / moment.seconds },
    ],
  },
  {
    title: "Push to ack", unit: "milliseconds", say: decimal, least: 4,
    lines: [{ title: "p99", of: (moment) => moment.ack_p99 }, { title: "p50", of: (moment) => moment.ack_p50 }],
  },
];

/** Figures: title, words of it, and words of what is wrong with it, if anything is. */
const TILES = [
  ["Edits per second", ({ last }) => decimal(last.diffs / last.seconds)],
  ["Lost or rejected, 5 min", ({ sum }) => number(sum("lost") + sum("rejected"))],
  ["Made durable, p99", ({ last }) => milliseconds(last.commit_p99)],
  ["Handed out, p99", ({ last }) => milliseconds(last.broadcast_p99)],
  ["Loop late by", ({ last }) => milliseconds(last.loop_lag), ({ last }) => last.loop_lag > LONG_LAG_MS && "everybody waits so long"],
  ["Pushes waiting", ({ now }) => number(now.waiting)],
  ["Catching up", ({ now }) => count(now.catching_up, "device")],
  ["Reading slowly", ({ now }) => count(now.slow, "device"), ({ now }) => now.slow > 0 && `${bytes(now.most_buffered)} wait for the slowest`],
  ["Tokens refused, 5 min", ({ sum }) => number(sum("refused_tokens"))],
  ["Data file", ({ now }) => (now.file === null ? "–" : bytes(now.file)), ({ now }) => now.trouble],
  ["Its WAL", ({ now }) => (now.wal === null ? "–" : bytes(now.wal)), ({ now }) => now.wal > MANY_WAL_BYTES && "nobody moves it into the file"],
  ["Log written", ({ last }) => `${bytes(last.log_bytes / last.seconds)}/s`],
];

export class Pulse {
  #moments = [];
  #charts = CHARTS.map((each) => new Chart(each));
  #tiles = TILES.map(([title, words, wrong = () => ""]) => new Tile(title, words, wrong));

  constructor(charts, tiles) {
    charts.replaceChildren(...this.#charts.map(({ element }) => element));
    tiles.replaceChildren(el("dl", { class: "tiles" }, this.#tiles.map(({ element }) => element)));
  }

  /** A stream begins: what it tells first is all that is kept. */
  begin() {
    this.#moments = [];
  }

  add(moments) {
    this.#moments = [...this.#moments, ...moments].slice(-KEPT);
    for (const chart of this.#charts) chart.show(this.#moments);
  }

  stand(now) {
    const last = this.#moments.at(-1);
    if (!last) return;
    const sum = (name) => this.#moments.reduce((all, moment) => all + moment[name], 0);
    for (const tile of this.#tiles) tile.show({ now, last, sum });
  }
}

class Tile {
  #value = el("dd", { class: "value" }, "–");
  #wrong = el("dd", { class: "wrong" });

  constructor(title, words, wrong) {
    [this.words, this.wrong] = [words, wrong];
    this.element = el("div", { class: "tile" }, el("dt", {}, title), this.#value, this.#wrong);
  }

  show(figures) {
    const wrong = this.wrong(figures) || "";
    this.#value.textContent = this.words(figures);
    this.#wrong.textContent = wrong;
    this.element.classList.toggle("is-wrong", wrong !== "");
  }
}
