// One chart: lines over steps, with a band of extremes, few ticks, and a cross under the pointer. Small SVG, drawn anew when it changes.

import { element, say, shape } from "./elements.js";
import { short, whole } from "./words.js";

/** Lower where there is little room. */
const heightOf = (width) => (width < 420 ? 130 : 170);
const EDGE = { left: 52, right: 12, top: 10, bottom: 22 };
/** Room at the right for the names of lines. */
const NAMES = 96;

/** About `n` round numbers that lie in [low, high]. */
export function ticks(low, high, n) {
  const rough = (high - low) / n || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let i = Math.ceil(low / size); i * size <= high + size * 1e-9; i += 1) found.push(Number((i * size).toPrecision(12)));
  return found;
}

function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list ?? []) {
      if (value === null || !Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return [low, high];
}

export class Chart {
  /** title; format(value) for ticks and readings; floor: a value that the axis always shows. */
  constructor({ title, format = short, floor, ceiling }) {
    this.options = { title, format, floor, ceiling };
    this.reading = element("output", { "aria-hidden": "true" });
    this.plot = shape("svg", { role: "img", height: heightOf(0) });
    this.figure = element("figure", {}, element("figcaption", {}, element("span", {}, title), this.reading), this.plot);
    this.lines = [];
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.rest());
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  /** lines: [{name, x, y, low, high, kind}], x ascending. */
  show(lines) {
    this.lines = lines.filter((line) => line.x.length > 0);
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth;
    if (width === 0) return;
    this.height = heightOf(width);
    this.plot.setAttribute("height", this.height);
    this.plot.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    if (this.lines.length === 0) {
      this.plot.replaceChildren(shape("text", { x: EDGE.left, y: this.height / 2 }, "nothing yet"));
      return;
    }
    this.scale(width);
    this.plot.replaceChildren(...this.axes(), ...this.lines.flatMap((line) => this.curve(line)), ...this.names());
    this.cross = shape("line", { class: "cross", y1: EDGE.top, y2: this.height - EDGE.bottom, visibility: "hidden" });
    this.plot.append(this.cross);
    this.rest();
  }

  scale(width) {
    this.right = width - (this.lines.length > 1 ? NAMES : EDGE.right);
    const { floor, ceiling } = this.options;
    const [left, right] = extent(this.lines.map((line) => line.x));
    let [low, high] = extent(this.lines.flatMap((line) => [line.y, line.low, line.high]));
    if (!Number.isFinite(low)) [low, high] = [0, 1];
    low = Math.min(low, floor ?? low);
    high = Math.max(high, ceiling ?? high);
    const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
    [low, high] = [low === floor ? low : low - room, high + room];
    this.range = { left, right, low, high };
    this.toX = (step) => EDGE.left + ((step - left) / (right - left || 1)) * (this.right - EDGE.left);
    this.toY = (value) => EDGE.top + ((high - value) / (high - low)) * (this.height - EDGE.top - EDGE.bottom);
  }

  axes() {
    const { left, right, low, high } = this.range;
    const across = ticks(low, high, 4).flatMap((value) => [
      shape("line", { class: "grid", x1: EDGE.left, x2: this.right, y1: this.toY(value), y2: this.toY(value) }),
      shape("text", { x: EDGE.left - 6, y: this.toY(value) + 4, "text-anchor": "end" }, this.options.format(value)),
    ]);
    const steps = ticks(left, right, Math.max(2, Math.floor(this.right / 60))).filter(Number.isInteger);
    const along = steps.map((step) => shape("text", { x: this.toX(step), y: this.height - 5, "text-anchor": "middle" }, whole(step)));
    return [...across, ...along];
  }

  curve({ x, y, low, high, kind = "" }) {
    const at = (values) => (i) => `${this.toX(x[i]).toFixed(1)},${this.toY(values[i]).toFixed(1)}`;
    const known = x.map((_, i) => i).filter((i) => y[i] !== null);
    const drawn = [];
    if (low && high && known.length > 1) {
      const around = [...known.map(at(high)), ...known.toReversed().map(at(low))];
      drawn.push(shape("polygon", { class: "band", points: around.join(" ") }));
    }
    drawn.push(shape("polyline", { class: `line ${kind}`, points: known.map(at(y)).join(" ") }));
    const last = known.at(-1);
    if (last !== undefined) drawn.push(shape("circle", { class: `dot ${kind}`, r: 3, cx: this.toX(x[last]), cy: this.toY(y[last]) }));
    return drawn;
  }

  /** Names beside the newest values, none over another: colours alone do not tell lines apart. */
  names() {
    if (this.lines.length < 2) return [];
    const ends = this.lines.map(({ name, kind = "", x, y }) => ({ name, kind, x: this.toX(x.at(-1)) + 8, y: this.toY(y.at(-1)) + 4 }));
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => {
      if (i > 0) end.y = Math.max(end.y, ends[i - 1].y + 12);
    });
    return ends.map(({ name, kind, x, y }) => shape("text", { class: `name ${kind}`, x, y }, name));
  }

  /** The newest values; also as the picture's description. */
  rest() {
    if (this.cross) this.cross.setAttribute("visibility", "hidden");
    const newest = this.lines.map((line) => this.told(line, line.x.length - 1)).join(", ");
    say(this.reading, newest);
    const { left, right } = this.range;
    this.plot.setAttribute("aria-label", `${this.options.title} from step ${whole(left)} to ${whole(right)}; at last ${newest}`);
  }

  point(event) {
    if (this.lines.length === 0) return;
    const { x } = this.lines[0];
    const { left, right } = this.range;
    const width = this.right - EDGE.left;
    const step = left + ((event.offsetX - EDGE.left) / width) * (right - left);
    let i = x.findIndex((candidate) => candidate >= step);
    if (i < 0) i = x.length - 1;
    this.cross.setAttribute("x1", this.toX(x[i]));
    this.cross.setAttribute("x2", this.toX(x[i]));
    this.cross.setAttribute("visibility", "visible");
    say(this.reading, `step ${whole(x[i])}: ${this.told(this.lines[0], i)}`);
  }

  told(line, i) {
    const value = this.options.format(line.y[i]);
    return line.name ? `${line.name} ${value}` : value;
  }
}
