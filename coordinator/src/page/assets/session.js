// Who one is to the coordinator: it says so, or asks for a token first. A token in the address (#token=…) is taken and wiped from it.

import { byId, say } from "./elements.js";

const HASH = "#token=";

async function post(path, body) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(15000) });
}

/** Logs in; resolves to what was wrong, or to nothing. */
async function login(token) {
  try {
    const response = await post("/api/login", { token: token.trim() });
    return response.ok ? undefined : ((await response.json()).refused ?? `refused (${response.status})`);
  } catch {
    return "The coordinator did not answer.";
  }
}

/** Who one is: {role, orders}; nothing for whoever is to log in. An error where nobody answers. */
async function me() {
  const response = await fetch("/api/me", { signal: AbortSignal.timeout(8000) });
  if (response.status === 401) return undefined;
  const said = await response.json();
  if (!response.ok) throw new Error(said.refused);
  return said;
}

/** Asks for a token until one is taken. */
function ask() {
  const dialog = byId("login");
  const form = byId("login-form");
  const input = byId("login-token");
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      say(byId("login-answer"), "");
      const wrong = await login(input.value);
      if (wrong !== undefined) {
        say(byId("login-answer"), `Not let in: ${wrong}`);
        input.select();
        return;
      }
      input.value = "";
      dialog.close();
      resolve();
    };
    // Nothing is to be seen behind it.
    dialog.oncancel = (event) => event.preventDefault();
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}

/** Resolves to who one is, once one is let in. */
export async function enter() {
  if (location.hash.startsWith(HASH)) {
    const token = decodeURIComponent(location.hash.slice(HASH.length));
    history.replaceState(null, "", location.pathname);
    const wrong = await login(token);
    if (wrong !== undefined) say(byId("login-answer"), `Not let in: ${wrong}`);
  }
  for (;;) {
    const found = await me();
    if (found) {
      const who = byId("who");
      who.hidden = !found.role;
      if (found.role) say(byId("role"), `logged in as ${found.role}`);
      return found;
    }
    await ask();
  }
}

// An address with a token that is pasted into a page that is open.
addEventListener("hashchange", () => location.hash.startsWith(HASH) && location.reload());

byId("logout").addEventListener("click", async () => {
  await post("/api/logout", {}).catch(() => {});
  location.reload();
});
