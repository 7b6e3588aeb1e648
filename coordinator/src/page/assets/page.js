// The page: hears the status and hands it to the parts that show it.

import { advance, forget, showEvaluations } from "./charts.js";
import { byId, element, say } from "./elements.js";
import { showFleet } from "./fleet.js";
import { allow, offer, renewToken } from "./orders.js";
import { enter } from "./session.js";
import { fetchJson, watch } from "./source.js";
import { showCheckpoints, showLog, showNumbers } from "./tables.js";
import { passTime, showGenerations } from "./timeline.js";
import { day, isOver, moment, mood, seconds, span, whole } from "./words.js";

/** Between two questions for the chronicle. */
const CHRONICLE_EVERY = 500;

let connection = "connecting";
let phase = "";
let newest = "";
let isAsking = false;
let goneSince = 0;

const WORDS = { connecting: "connecting", live: "live", polling: "asking again and again", gone: "not connected", over: "the run has ended" };

function showHead(status) {
  say(byId("experiment"), status.experiment);
  const place = byId("phase");
  place.className = `phase ${mood(status.phase)}`;
  say(place, status.phase);
  say(byId("reason"), status.reason);
  if (phase !== status.phase) {
    if (phase !== "") say(byId("announcement"), `The run is now ${status.phase}: ${status.reason}`);
    phase = status.phase;
  }
  offer(status.phase);
  const waits = status.waits.map(([name, wait]) => `${name} ${span(seconds(wait))}`).join(", ");
  say(byId("waits"), waits && `What is waited for how long: ${waits}`);
}

function showProgress(status) {
  const at = status.progress;
  const ratio = at ? at.step / at.total_steps : 0;
  document.title = `${at ? `${Math.floor(ratio * 100)} % ` : ""}${status.phase} · ${status.experiment}`;
  const bar = byId("bar");
  bar.hidden = !at;
  if (!at) return say(byId("advance"), "");
  bar.setAttribute("aria-valuemax", at.total_steps);
  bar.setAttribute("aria-valuenow", at.step);
  byId("bar-done").style.width = `${ratio * 100}%`;
  const epochs = Math.ceil(at.total_steps / at.steps_per_epoch);
  const parts = [` of ${whole(at.total_steps)} steps, ${(ratio * 100).toFixed(ratio < 0.1 ? 2 : 1)} %`];
  parts.push(`epoch ${Math.min(at.epoch + 1, epochs)} of ${epochs}`);
  if (at.remaining && status.phase === "training") {
    const left = seconds(at.remaining);
    parts.push(`${span(left)} left${left > 3600 ? `, until ${day(status.at + left * 1000)}` : ""}`);
  }
  const text = parts.join(" · ");
  const place = byId("advance");
  if (place.dataset.told === `${at.step}${text}`) return undefined;
  place.dataset.told = `${at.step}${text}`;
  return place.replaceChildren(element("b", {}, whole(at.step)), text);
}

/** Generations, checkpoints, log and evaluations change with events. */
async function askChronicle() {
  if (isAsking) return;
  isAsking = true;
  const asked = newest;
  let again = false;
  try {
    const chronicle = await fetchJson("/api/chronicle");
    showGenerations(chronicle.generations);
    showCheckpoints(chronicle.checkpoints);
    showLog(chronicle.log);
    showEvaluations(chronicle.evaluations);
    if (chronicle.reading) {
      forget();
      again = true;
    }
  } catch {
    again = true;
  }
  setTimeout(() => {
    isAsking = false;
    if (again || asked !== newest) askChronicle();
  }, CHRONICLE_EVERY);
}

function show(status) {
  showHead(status);
  showProgress(status);
  showNumbers(status);
  showFleet(status);
  passTime(status);
  if (status.progress) advance(status.progress.step);
  const last = status.events.at(-1);
  // An evaluation may come without an event; an epoch does not end without one for long.
  const key = `${last?.at} ${last?.text} ${status.progress?.epoch}`;
  if (key !== newest) {
    newest = key;
    askChronicle();
  }
}

function connect(state) {
  if (state === "gone" && connection === "gone") return;
  // A coordinator that said that the run has ended is gone rightly.
  const isRight = state === "gone" && (connection === "over" || isOver(phase));
  const next = isRight ? "over" : state;
  const wasAway = connection === "gone" || connection === "over";
  if (wasAway && (next === "live" || next === "polling")) {
    // The coordinator was started again.
    renewToken();
    forget();
    newest = "";
  }
  if (next === "gone" && connection !== "gone") goneSince = Date.now();
  connection = next;
  document.body.dataset.connection = connection;
  say(byId("connection"), WORDS[connection]);
  const banner = byId("gone");
  banner.hidden = connection !== "gone";
  if (connection === "gone") {
    say(banner, `The coordinator has not answered since ${moment(goneSince)}. Training may go on without it. What stands below is the last that was heard; this page tries again every second.`);
    document.title = `no coordinator · ${byId("experiment").textContent}`;
  }
}

/** Once one is let in; again when a session has ended. */
async function begin() {
  for (;;) {
    try {
      return allow(await enter());
    } catch {
      connect("gone");
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

await begin();
watch(show, connect, begin);
