// What is told in words: the numbers at the top, checkpoints, the log.

import { byId, element, fillTable, say } from "./elements.js";
import { bytes, moment, percent, short, span, whole } from "./words.js";

const tiles = new Map();

/** A number with its name, and a word below it. */
function tile(name, value, below) {
  if (!tiles.has(name)) {
    const [number, word] = [element("dd"), element("dd")];
    byId("numbers").append(element("div", {}, element("dt", {}, name), number, word));
    tiles.set(name, [number, word]);
  }
  const [number, word] = tiles.get(name);
  say(number, value);
  say(word, below);
}

/** The numbers that one looks for first. */
export function showNumbers(status) {
  const at = status.progress;
  const devices = status.machines.flatMap((machine) => machine.devices);
  const hosting = devices.filter((device) => device.ranks.length > 0).length;
  tile("Loss", short(at?.loss), at?.loss == null ? "no step yet" : `after step ${whole(at.step)}`);
  tile("Images a second", at && at.images_per_second > 0 ? short(at.images_per_second) : "–", `batch of ${whole(status.world * status.batch_per_rank)}`);
  tile("Learning rate", short(at?.learning_rate), at ? `momentum ${at.parameter_momentum.toFixed(4)}` : "");
  tile("Waiting for data", at ? percent(at.data_wait) : "–", at?.bottleneck ? `most for ${at.bottleneck}` : "the worst device");
  tile("Devices", `${hosting} / ${devices.length}`, `for ${status.world} ranks, at least ${status.min_devices}`);
  tile("Generation", String(status.generation), status.generation === 0 ? "none yet" : "placement");
  const checkpoint = status.checkpoint;
  const behind = checkpoint && at ? at.step - checkpoint.step : 0;
  tile("Checkpoint", checkpoint ? `step ${whole(checkpoint.step)}` : "none yet", checkpoint ? (behind === 0 ? "up to date" : behind === 1 ? "a step ago" : `${whole(behind)} steps ago`) : "");
  if (at?.replaced > 0) tile("Replaced files", whole(at.replaced), "cannot be decoded");
}

const cost = (told) => (checkpoint) => (checkpoint.bytes > 0 ? told(checkpoint) : "–");

const COLUMNS = [
  { title: "Step", number: true, cell: (checkpoint) => whole(checkpoint.step) },
  { title: "Complete", cell: (checkpoint) => (checkpoint.at === null ? "–" : moment(checkpoint.at)) },
  { title: "Size", number: true, cell: cost((checkpoint) => bytes(checkpoint.bytes)) },
  { title: "Written in", number: true, cell: cost((checkpoint) => span(checkpoint.write_seconds)) },
  { title: "Training stood", number: true, cell: cost((checkpoint) => span(checkpoint.stall_seconds)) },
  { title: "Digest", cell: (checkpoint) => element("code", { title: checkpoint.state_digest }, checkpoint.state_digest.slice(0, 8)) },
];

/** The checkpoints that count, the newest first. */
export function showCheckpoints(checkpoints) {
  fillTable(byId("checkpoints"), COLUMNS, checkpoints.toReversed(), "None yet.");
}

/** The log, the newest first. */
export function showLog(log) {
  const lines = log.toReversed().map(({ at, text, weight }) =>
    element("li", {}, element("time", { datetime: new Date(at).toISOString() }, moment(at)), element("span", { class: weight }, text)));
  byId("log").replaceChildren(...lines);
}
