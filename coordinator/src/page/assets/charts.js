// The charts of a run: loss, learning rate, speed, wait for data, and evaluations once there are any.

import { Chart } from "./chart.js";
import { byId } from "./elements.js";
import { fetchJson } from "./source.js";
import { percent, short, whole } from "./words.js";

/** Between two questions for more of the history. */
const EVERY = 1000;

const loss = new Chart({ title: "Loss" });
const rate = new Chart({ title: "Learning rate", floor: 0 });
const speed = new Chart({ title: "Images a second", floor: 0, format: (value) => (value >= 100 ? whole(Math.round(value)) : short(value)) });
const wait = new Chart({ title: "Waiting for data", floor: 0, ceiling: 0.05, format: percent });
const evaluation = new Chart({ title: "Top-1 of evaluations", format: percent });

byId("charts").append(...[loss, rate, speed, wait].map((chart) => chart.figure));

const columns = ["first", "last", "loss", "lowest_loss", "highest_loss", "learning_rate", "images_per_second", "data_wait"];
const nothing = () => Object.fromEntries(columns.map((name) => [name, []]));

let history = { stride: 0, ...nothing() };
let isAsking = false;
let latest = 0;

/** Takes more of the history in: buckets that begin where known ones do replace them. */
function take(more, from) {
  const known = more.stride === history.stride && from > 0;
  const keep = known ? history.first.findIndex((first) => first >= (more.first[0] ?? Infinity)) : 0;
  const n = keep < 0 ? history.first.length : keep;
  const joined = { stride: more.stride };
  for (const name of columns) joined[name] = [...(known ? history[name].slice(0, n) : []), ...more[name]];
  history = joined;
}

async function fetchMore() {
  const from = history.last.at(-1) ?? 0;
  const more = await fetchJson(`/api/history?from=${from}`);
  if (from > 0 && more.stride !== history.stride) take(await fetchJson("/api/history"), 0);
  else take(more, from);
}

function draw() {
  const x = history.last;
  byId("charts").hidden = x.length === 0;
  loss.show([{ x, y: history.loss, low: history.lowest_loss, high: history.highest_loss }]);
  rate.show([{ x, y: history.learning_rate }]);
  speed.show([{ x, y: history.images_per_second }]);
  wait.show([{ x, y: history.data_wait }]);
}

/** The run stands at `step`: gets what is missing, at most once a second. */
export async function advance(step) {
  latest = step;
  if (isAsking || step === (history.last.at(-1) ?? 0)) return;
  // Steps that were taken back are done again.
  if (step < (history.last.at(-1) ?? 0)) history = { stride: 0, ...nothing() };
  isAsking = true;
  try {
    await fetchMore();
    draw();
  } catch {
    // The source says that the coordinator is gone.
  }
  setTimeout(() => {
    isAsking = false;
    if (latest !== (history.last.at(-1) ?? 0)) advance(latest);
  }, EVERY);
}

/** Forgets what may have changed while the coordinator was gone or read its files. */
export function forget() {
  history = { stride: 0, ...nothing() };
}

/** Lines are told apart by colour, then by dashes. */
const kindOf = (i) => ["", "second", "third"][i % 3] + (i >= 3 ? " dashed" : "");

/** How well encoders were judged to be; a line an encoder and method. */
export function showEvaluations(evaluations) {
  if (evaluations.length === 0) return;
  const lines = new Map();
  for (const { step, encoder, method, top1 } of evaluations) {
    const name = [encoder, method].filter(Boolean).join(" ");
    if (!lines.has(name)) lines.set(name, { name, x: [], y: [], kind: kindOf(lines.size) });
    lines.get(name).x.push(step);
    lines.get(name).y.push(top1);
  }
  if (!evaluation.figure.isConnected) byId("charts").append(evaluation.figure);
  evaluation.show([...lines.values()]);
}
