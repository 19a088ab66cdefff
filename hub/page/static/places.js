// Where things are on this page: addresses behind the `#`, which no server ever sees.

export const toUser = (user) => `#/user/${encodeURIComponent(user)}`;
export const toObject = (user, model, id) => `#/object/${[user, model, id].map(encodeURIComponent).join("/")}`;

/** What the address says: its parts, the first of them the kind of place. */
export function here() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [""];
  }
}
