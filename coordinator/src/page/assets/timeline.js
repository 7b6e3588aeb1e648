// The generations in time: a bar each, forming and training, and between them the regroups, which the table tells in words.

import { byId, element, fillTable, say, shape } from "./elements.js";
import { isOver, moment, roundSpan, span } from "./words.js";

const HEIGHT = 46;
const BAR = { top: 4, height: 20 };
/** Regroups that the table tells of. */
const SHOWN = 12;

/** Round spans of time, in seconds. */
const ROUND = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000];

let generations = [];
let status = null;

/** Ends of spans, drawn at least this wide: a regroup of a second is to be seen in a day, too. */
const LEAST = 2;

function bars(width, from, to) {
  const x = (at) => ((at - from) / (to - from || 1)) * width;
  const bar = (kind, start, end, title) =>
    shape("rect", { class: kind, x: x(start), y: BAR.top, width: Math.max(LEAST, x(end) - x(start)), height: BAR.height }, shape("title", {}, title));
  const drawn = [];
  generations.forEach((generation, i) => {
    const before = generations[i - 1];
    const end = generation.ended ?? to;
    const trains = generation.trains ?? end;
    drawn.push(bar("training", trains, end, `${generation.text}; ${generation.why ?? "it trains"}`));
    drawn.push(bar("forming", generation.formed, Math.min(trains, end), `generation ${generation.generation} forms`));
    if (before?.ended) drawn.push(bar("between", before.ended, generation.formed, before.why));
    if (x(end) - x(trains) > 24) {
      drawn.push(shape("text", { class: "number", x: (x(end) + x(trains)) / 2, y: BAR.top + 14, "text-anchor": "middle" }, String(generation.generation)));
    }
  });
  return drawn;
}

function draw() {
  const place = byId("timeline");
  const width = place.clientWidth;
  if (generations.length === 0 || width === 0) {
    place.replaceChildren();
    return;
  }
  const from = generations[0].formed;
  const to = Math.max(isOver(status?.phase) ? 0 : (status?.at ?? 0), ...generations.map((generation) => generation.ended ?? generation.trains ?? generation.formed));
  const seconds = (to - from) / 1000;
  const size = ROUND.find((candidate) => candidate >= seconds / Math.max(2, width / 130)) ?? ROUND.at(-1);
  const labels = [shape("text", { x: 0, y: HEIGHT - 6 }, moment(from))];
  for (let second = size; second <= seconds; second += size) {
    const at = (second / seconds) * width;
    if (at > 90 && at < width - 20) labels.push(shape("text", { x: at, y: HEIGHT - 6, "text-anchor": "middle" }, `+${roundSpan(second)}`));
  }
  place.replaceChildren(shape("svg", { role: "img", height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-label": `${generations.length} generations since ${moment(from)}` }, ...bars(width, from, to), ...labels));
}

/** What ended a generation, without the words that the column says. */
const why = (generation) => (generation?.why ?? "").replace(/^generation \d+ ended: /, "");

function regroups() {
  const rows = generations.slice(1).map((generation, i) => ({ before: generations[i], generation }));
  const last = generations.at(-1);
  if (last?.ended && status && !isOver(status.phase)) rows.push({ before: last, generation: null });
  return rows.filter((row) => row.before.ended).reverse().slice(0, SHOWN);
}

const COLUMNS = [
  { title: "When", cell: ({ before }) => moment(before.ended) },
  { title: "Generation", number: true, cell: ({ before, generation }) => (generation ? `${before.generation} → ${generation.generation}` : `${before.generation} →`) },
  {
    title: "Took",
    number: true,
    cell: ({ generation }) => {
      if (generation?.regroup) return element("span", { title: generation.regroup.text }, span(generation.regroup.seconds));
      return !generation || !generation.ended ? "under way" : "–";
    },
  },
  { title: "Why", wide: true, cell: ({ before }) => why(before) },
];

/** Shows generations that the coordinator told of. */
export function showGenerations(told) {
  generations = told;
  draw();
  const rows = regroups();
  const took = generations.flatMap((generation) => (generation.regroup ? [generation.regroup.seconds] : []));
  const longest = took.length ? `; the longest regroup took ${span(Math.max(...took))}` : "";
  say(byId("timeline-summary"), generations.length === 0 ? "None yet." : `${generations.at(-1).generation} so far${longest}`);
  fillTable(byId("regroups"), COLUMNS, rows, "No regroup: the first generation stands.");
  byId("regroups").hidden = generations.length === 0;
}

/** Time passes. */
export function passTime(now) {
  const wasOver = status && isOver(status.phase);
  const grows = !status || now.at - status.at > 900 || now.phase !== status.phase;
  if (!grows || wasOver) return;
  status = now;
  draw();
}

new ResizeObserver(draw).observe(byId("timeline"));
