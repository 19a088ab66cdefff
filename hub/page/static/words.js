// Numbers, sizes and times in words for people.

const DAY = 86_400_000;
const SPANS = [[DAY, "day"], [3_600_000, "hour"], [60_000, "minute"], [1000, "second"]];

export function number(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** A rate, or any other number that may be a fraction. */
export function decimal(value) {
  if (value >= 100 || value === 0) return number(value);
  return value.toLocaleString("en-US", { maximumSignificantDigits: value >= 10 ? 3 : 2 });
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit ? value.toFixed(value < 10 ? 1 : 0) : number(value)} ${units[unit]}`;
}

export function milliseconds(value) {
  return value === null ? "–" : `${decimal(value)} ms`;
}

export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** How long something is: "3 days", "40 seconds". */
export function span(ms) {
  const [size, unit] = SPANS.find(([size]) => ms >= size * (size === DAY ? 1 : 2)) ?? SPANS.at(-1);
  return count(Math.max(Math.floor(ms / size), 0), unit);
}

/** Two units of it: "3 days 4 hours". */
export function longSpan(ms) {
  const at = SPANS.findIndex(([size]) => ms >= size);
  if (at < 0) return "a moment";
  const [size, unit] = SPANS[at];
  const rest = SPANS[at + 1];
  const more = rest ? Math.floor((ms % size) / rest[0]) : 0;
  return count(Math.floor(ms / size), unit) + (more ? ` ${count(more, rest[1])}` : "");
}

export function ago(ms, now) {
  if (ms === null) return "never seen";
  return now - ms < 2000 ? "just now" : `${span(now - ms)} ago`;
}

/** A moment in the time of whoever looks: "14:03:22", with the day where that is another one. */
export function moment(ms, now = Date.now()) {
  if (ms === null) return "–";
  const at = new Date(ms);
  const time = at.toLocaleTimeString("en-GB");
  if (at.toDateString() === new Date(now).toDateString()) return time;
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} ${time}`;
}

/**
 * How far a device is, and whether that is well. One that is live was handed everything, though it
 * says only now and then what it has received.
 */
export function howFar(device, state, now) {
  if (state === "live" || device.behind === 0) return { words: "level", mood: "well" };
  if (device.behind === null) return { words: "has not said", mood: "unknown" };
  const since = device.since === null ? 0 : now - device.since;
  const words = since >= 3_600_000 ? span(since) : count(device.behind, "push", "pushes");
  return { words: `${words} behind`, mood: since >= DAY ? "far" : "behind" };
}

/** The same at length, for who wants to know. */
export function howFarInFull(device, state, now) {
  if (state === "live") return "live: each push is handed to it as it is stored";
  if (device.behind === null) return "it has never said what it has received";
  if (device.behind === 0) return `has received everything, up to clock ${number(device.received)}`;
  const since = device.since === null ? "" : `, the first of them ${ago(device.since, now)}`;
  return `${count(device.behind, "push", "pushes")} behind${since}`;
}
