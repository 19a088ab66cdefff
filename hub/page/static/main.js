// What is shown when: signing in, the board, and on it the users, one user, or one object.

import { Connection } from "./connection.js";
import { el } from "./dom.js";
import { forgetToken, hasToken, keepToken, needsToken } from "./hub.js";
import { ObjectHistory } from "./object.js";
import { here } from "./places.js";
import { Pulse } from "./pulse.js";
import { Pushes } from "./pushes.js";
import { User } from "./user.js";
import { Users } from "./users.js";
import { longSpan } from "./words.js";

const part = (id) => document.getElementById(id);
const signIn = part("sign-in");
const board = part("board");

let began = null;
/** How much the hub's clock is ahead of this machine's, in ms: what it tells is by its own. */
let ahead = 0;
const clock = () => Date.now() + ahead;

const connection = new Connection({ event: hear, state: say, wrongToken: (message) => askForToken(message) });
const pulse = new Pulse(part("charts"), part("tiles"));
const pushes = new Pushes((user) => connection.watch(user));
const users = new Users(clock);
let shown = null;
let isTelling = "";

// What the hub says

function hear(name, data) {
  if (name === "hub") {
    part("version").textContent = data.version;
    [began, ahead] = [data.began, data.now - Date.now()];
    pulse.begin();
    pushes.bound(data.pushes_a_second);
    sayUptime();
  } else if (name === "moments") {
    pulse.add(data);
  } else if (name === "standing") {
    pulse.stand(data);
    sayHealth(data.trouble);
  } else if (name === "pushes") {
    pushes.add(data);
  }
}

function sayUptime() {
  part("uptime").textContent = began === null ? "" : `up ${longSpan(clock() - began)}`;
}

function sayHealth(trouble) {
  tell(trouble ? "trouble" : "live", trouble ? `Trouble: ${trouble}` : "Serving");
}

// Whether it says anything

function say(state, message, wait) {
  const isCut = state === "gone" || state === "refused";
  part("try-now").hidden = !isCut;
  board.classList.toggle("is-stale", isCut || state === "away");
  if (isCut) countDown(message, Date.now() + wait);
  else if (state === "live") isTelling === "live" || isTelling === "trouble" || tell("live", "Serving");
  else tell(state, message);
}

function countDown(message, until) {
  const seconds = Math.ceil((until - Date.now()) / 1000);
  tell("gone", `${message} ${seconds > 0 ? `Trying again in ${seconds} s` : "Trying again"}`);
  if (seconds > 0) setTimeout(() => isTelling === "gone" && until > Date.now() && countDown(message, until), 1000);
}

function tell(state, words) {
  isTelling = state;
  const line = part("state");
  line.className = state;
  if (line.lastElementChild.textContent !== words) line.lastElementChild.textContent = words;
}

// Signing in and out

function askForToken(message = "") {
  connection.stop();
  shown?.hide();
  [board.hidden, signIn.hidden, part("sign-out").hidden] = [true, false, true];
  for (const id of ["version", "uptime"]) part(id).textContent = "";
  tell("out", "Signed out");
  part("token-error").textContent = message;
  part("token").setAttribute("aria-invalid", String(message !== ""));
  part("token").focus();
}

function enter() {
  [board.hidden, signIn.hidden, part("sign-out").hidden] = [false, true, !needsToken()];
  connection.start();
  go();
}

signIn.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(part("token").value.trim());
  part("token").value = "";
  enter();
});

part("sign-out").addEventListener("click", () => {
  forgetToken();
  location.reload(); // so that nothing of what was shown is left in this tab
});

part("try-now").addEventListener("click", () => connection.tryNow());

// Where one is

function go() {
  shown?.hide();
  const [kind, ...names] = here();
  shown = kind === "user" && names.length === 1 ? new User(names[0], clock, watchOnly)
    : kind === "object" && names.length === 3 ? new ObjectHistory(names, clock)
    : users;
  part("view").replaceChildren(el("div", { class: "columns" }, shown.element, pushes.element));
  document.title = names.length ? `${names.at(-1)} · mobync-hub` : "mobync-hub";
  shown.show();
}

function watchOnly(user) {
  pushes.only(user);
  pushes.element.scrollIntoView({ block: "nearest" });
}

addEventListener("hashchange", () => board.hidden || go());
setInterval(sayUptime, 1000);

if (hasToken()) enter();
else askForToken();
