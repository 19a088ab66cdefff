// The hub's events, for as long as there are any (hub/http/live.py); they are read with fetch, for an
// EventSource cannot show a token.

import { HubGone, open } from "./hub.js";

/** The hub tells something each second; a line on which nothing comes for so long is dead. */
const SILENCE_MS = 10_000;

/** Events as {name, data}, until the hub ends them or `signal` does. */
export async function* events(user, signal) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await open("live", { user }, AbortSignal.any([signal, silence.signal]));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new HubGone("The hub has ended the connection.");
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield event(part);
    }
  } catch (error) {
    throw signal.aborted || error.constructor !== TypeError && error.name !== "AbortError" ? error : new HubGone("The hub does not answer.");
  } finally {
    clearTimeout(timer);
  }
}

function event(text) {
  const at = text.indexOf("\ndata: ");
  return { name: text.slice("event: ".length, at), data: JSON.parse(text.slice(at + "\ndata: ".length)) };
}
