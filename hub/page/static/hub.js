// What is asked of the hub. The token is kept for this tab alone, and shown in a header: an address
// would end up in histories and in the logs of proxies.

const KEY = "mobync-hub admin token";

export class WrongToken extends Error {}
export class HubGone extends Error {}
/** The hub answered, and what was asked is not to be had: its message says why. */
export class Refused extends Error {}

export const needsToken = () => document.body.dataset.token === "needed";
export const hasToken = () => !needsToken() || sessionStorage.getItem(KEY) !== null;
export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** Answer to a question at `path` of /admin/, as it comes. */
export async function open(path, parameters = {}, signal = undefined) {
  const headers = needsToken() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` } : {};
  let response;
  try {
    response = await fetch(addressOf(path, parameters), {
      headers, signal, cache: "no-store", credentials: "omit", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new HubGone("The hub does not answer.");
  }
  if (response.status === 401) throw new WrongToken("This is not the hub's admin token.");
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The same as JSON. */
export async function ask(path, parameters, signal) {
  const response = await open(path, parameters, signal);
  return response.json();
}

function addressOf(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== false);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const message = said.message ?? `The hub answered with status ${response.status}.`;
  // A proxy in front says these for a hub that is not there.
  return response.status >= 502 ? new HubGone(message) : new Refused(message);
}
