// Lines over the last five minutes, as SVG. A chart is drawn anew each second; its size stays.

import { el, svg } from "./dom.js";
import { moment } from "./words.js";

const MINUTES = 5;
const SPAN_MS = MINUTES * 60_000;
const HEIGHT = 132;
const LEFT = 44;
const RIGHT = 6;
const TOP = 8;
const BOTTOM = 20;
/** Two moments further apart are not joined: nobody knows what was between them. */
const GAP_MS = 4000;
/** What is read out is renewed so often: each second would be noise. */
const READ_OUT_MS = 10_000;

/**
 * A chart of `lines`, each {title, of(moment)}: a number, or null where there is nothing to show.
 * `say` makes words of a number, `least` is the least that its scale goes up to.
 */
export class Chart {
  #lines;
  #say;
  #least;
  #title;
  #moments = [];
  #at = null;
  #readOut = 0;
  #width = 320;
  #figures;
  #when = el("span", { class: "when quiet" });
  #svg = svg("svg", { role: "img", tabindex: "0", height: HEIGHT });

  constructor({ title, unit, lines, say, least = 1 }) {
    [this.#title, this.#lines, this.#say, this.#least] = [`${title}, ${unit}`, lines, say, least];
    this.#figures = lines.map(() => el("strong", {}, "–"));
    const legend = lines.map(({ title }, place) =>
      el("span", { class: `legend line-${place}` }, this.#figures[place], " ", el("span", { class: "quiet" }, title)),
    );
    this.element = el("figure", { class: "card chart" },
      el("figcaption", {}, el("h2", {}, title, " ", el("span", { class: "quiet" }, unit)), this.#when),
      el("p", { class: "figures" }, legend),
      this.#svg,
    );
    this.#listen();
  }

  show(moments) {
    this.#moments = moments;
    this.#draw();
  }

  #listen() {
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.max(Math.floor(contentRect.width), 160);
      this.#draw();
    }).observe(this.#svg);
    this.#svg.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#svg.addEventListener("pointerleave", () => this.#pointAt(null));
    this.#svg.addEventListener("blur", () => this.#pointAt(null));
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#moments.length) return;
    event.preventDefault();
    const place = this.#at === null ? this.#moments.length : this.#moments.findIndex(({ at }) => at === this.#at);
    const next = Math.min(Math.max(place + step, 0), this.#moments.length - 1);
    this.#pointAt(this.#moments[next].at);
  }

  #point(x) {
    const at = this.#end - SPAN_MS + ((x - LEFT) / (this.#width - LEFT - RIGHT)) * SPAN_MS;
    const near = this.#moments.reduce((best, each) => (Math.abs(each.at - at) < Math.abs((best?.at ?? -Infinity) - at) ? each : best), null);
    this.#pointAt(near?.at ?? null);
  }

  #pointAt(at) {
    this.#at = at;
    this.#draw();
  }

  get #end() {
    return this.#moments.at(-1)?.at ?? Date.now();
  }

  #draw() {
    const most = Math.max(this.#least, ...this.#moments.flatMap((each) => this.#lines.map(({ of }) => of(each) ?? 0)));
    const scale = { top: nice(most), end: this.#end, width: this.#width };
    this.#svg.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    this.#svg.replaceChildren(...this.#axes(scale), ...this.#paths(scale), ...this.#pointer(scale));
    this.#sayFigures();
    this.#sayAloud();
  }

  #axes({ top, width }) {
    const ticks = [0, top / 2, top].map((value) => {
      const y = yOf(value, top);
      return [
        svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
        svg("text", { class: "tick", x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.#say(value)),
      ];
    });
    const labels = [[LEFT, "start", `−${MINUTES} min`], [(LEFT + width - RIGHT) / 2, "middle", `−${MINUTES / 2} min`], [width - RIGHT, "end", "now"]];
    const times = labels.map(([x, anchor, text]) => svg("text", { class: "tick", x, y: HEIGHT - 4, "text-anchor": anchor }, text));
    return [...ticks.flat(), ...times];
  }

  #paths(scale) {
    return this.#lines.map(({ of }, place) => {
      const points = this.#moments.map((each) => [each.at, of(each)]);
      return svg("path", { class: `line line-${place}`, d: pathOf(points, scale) });
    }).reverse();
  }

  #pointer(scale) {
    const shown = this.#shown();
    if (this.#at === null || !shown) return [];
    const x = xOf(shown.at, scale);
    const dots = this.#lines.flatMap(({ of }, place) =>
      of(shown) === null ? [] : [svg("circle", { class: `dot-${place}`, cx: x, cy: yOf(of(shown), scale.top), r: 3.5 })],
    );
    return [svg("line", { class: "pointer", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), ...dots];
  }

  #shown() {
    return this.#at === null ? this.#moments.at(-1) : this.#moments.find(({ at }) => at === this.#at);
  }

  #sayFigures() {
    const shown = this.#shown();
    this.#lines.forEach(({ of }, place) => {
      const value = shown ? of(shown) : null;
      this.#figures[place].textContent = value === null ? "–" : this.#say(value);
    });
    this.#when.textContent = this.#at !== null && shown ? `at ${moment(shown.at)}` : "";
  }

  #sayAloud() {
    if (this.#at === null && Date.now() - this.#readOut < READ_OUT_MS) return;
    this.#readOut = Date.now();
    const shown = this.#shown();
    const parts = this.#lines.map(({ title, of }) => {
      const values = this.#moments.map(of).filter((value) => value !== null);
      if (!values.length) return `${title}: nothing yet`;
      const now = shown && of(shown) !== null ? this.#say(of(shown)) : "nothing";
      return `${title}: ${now}, at least ${this.#say(Math.min(...values))}, at most ${this.#say(Math.max(...values))}`;
    });
    const when = this.#at === null ? "now" : `at ${moment(this.#at)}`;
    this.#svg.setAttribute("aria-label", `${this.#title}, ${when}, in the last ${MINUTES} minutes. ${parts.join("; ")}`);
  }
}

/** The next of 1, 2, 4, 5, 8 and 10 times a power of ten: half of it is a good tick, too. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].find((step) => step * power >= value * 0.999) * power;
}

function xOf(at, { end, width }) {
  return LEFT + (1 - (end - at) / SPAN_MS) * (width - LEFT - RIGHT);
}

function yOf(value, top) {
  return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
}

function pathOf(points, scale) {
  let path = "";
  let before = -Infinity;
  for (const [at, value] of points) {
    if (value === null || scale.end - at > SPAN_MS) continue;
    const place = `${xOf(at, scale).toFixed(1)} ${yOf(value, scale.top).toFixed(1)}`;
    // A point with nobody beside it is a line of no length, which its round ends make a dot.
    path += at - before > GAP_MS ? `M${place}h0` : `L${place}`;
    before = at;
  }
  return path;
}
