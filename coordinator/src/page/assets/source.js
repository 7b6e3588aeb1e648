// Where the status comes from: server-sent events, and where those fail, asking again and again. Says how it stands with that.
//
//   connecting ─► live ──► polling ──► gone        live: the stream speaks. polling: only questions are answered.
//        ▲         ▲          │  ▲       │         gone: nobody answers. over: the run has ended, and its coordinator with it.
//        └─────────┴──────────┘  └───────┘

/** Nothing on the stream for longer, and it is taken for broken: the coordinator speaks every 5 s. */
const SILENCE = 12000;
/** Between two questions. */
const EVERY = 1000;
/** Questions before the stream is tried again. */
const TRIES = 8;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const visible = () =>
  document.hidden ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })) : Promise.resolve();

/** JSON from the coordinator; an error where it does not answer in time. */
export async function fetchJson(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** Listens to the stream until it breaks, the tab is hidden or the run is over; says which. */
function listen(onStatus, onState) {
  return new Promise((resolve) => {
    const stream = new EventSource("/api/stream");
    let silence;
    const end = (why) => {
      clearTimeout(silence);
      document.removeEventListener("visibilitychange", hide);
      stream.close();
      resolve(why);
    };
    const hide = () => document.hidden && end("hidden");
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => end("broken"), SILENCE);
    };
    document.addEventListener("visibilitychange", hide);
    heard();
    stream.addEventListener("status", (event) => {
      heard();
      onState("live");
      onStatus(JSON.parse(event.data));
    });
    stream.addEventListener("over", () => end("over"));
    stream.addEventListener("error", () => end("broken"));
  });
}

/** Asks for the status until it is time to try the stream again. Where the session has ended, a new one is begun. */
async function ask(onStatus, onState, enter) {
  for (let n = 0; n < TRIES && !document.hidden; n += 1) {
    try {
      onStatus(await fetchJson("/api/status"));
      onState("polling");
    } catch (error) {
      if (error.status === 401) return enter();
      onState("gone");
      await pause(EVERY);
      return;
    }
    await pause(EVERY);
  }
}

/** Watches for ever. A hidden tab listens to nothing: browsers give a site few connections. */
export async function watch(onStatus, onState, enter) {
  for (;;) {
    await visible();
    const why = await listen(onStatus, onState);
    if (why === "over") {
      onState("over");
      await pause(3 * EVERY);
    } else if (why === "broken") {
      await ask(onStatus, onState, enter);
    }
  }
}
