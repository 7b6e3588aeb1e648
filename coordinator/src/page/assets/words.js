// Numbers, times and states in words. Pure functions.

const grouped = new Intl.NumberFormat("en");

export const whole = (number) => grouped.format(number);

/** A number with about four digits. */
export function short(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size === 0) return "0";
  if (size >= 10000) return grouped.format(Math.round(number));
  if (size >= 1000) return grouped.format(Math.round(number * 10) / 10);
  if (size < 0.001) return number.toExponential(2);
  return String(Number(number.toPrecision(4)));
}

export const percent = (ratio) => `${Number((ratio * 100).toPrecision(ratio < 0.1 ? 2 : 3))} %`;

export const seconds = (duration) => duration.secs + duration.nanos / 1e9;

/** A span of seconds in its two largest units. */
export function span(total) {
  if (total < 1) return `${Math.round(total * 1000)} ms`;
  if (total < 10) return `${total.toFixed(2)} s`;
  const s = Math.round(total);
  if (s < 60) return `${s} s`;
  const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
  if (h < 1) return `${m} min ${s % 60} s`;
  if (d < 1) return `${h} h ${m % 60} min`;
  return `${d} d ${h % 24} h`;
}

/** A span of seconds without a second unit that is nought. */
export const roundSpan = (total) => (total < 60 ? `${total} s` : span(total).replace(/ 0 (s|min|h)$/, ""));

export function bytes(n) {
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (n >= size) return `${(n / size).toFixed(1)} ${unit}`;
  }
  return `${n} B`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** A moment, with its day where it is not today. */
export function moment(milliseconds) {
  const date = new Date(milliseconds);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : dayAndClock.format(date);
}

export const day = (milliseconds) => dayAndClock.format(new Date(milliseconds));

/** Ranks as ranges: 0–3, 8. */
export function ranges(numbers) {
  const parts = [];
  for (const n of numbers) {
    const last = parts.at(-1);
    if (last && last[1] + 1 === n) last[1] = n;
    else parts.push([n, n]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

/** Ranks in the room of a cell: 8, and for 8 and three more 8+3. */
export const brief = (numbers) => (numbers.length > 1 ? `${numbers[0]}+${numbers.length - 1}` : `${numbers[0] ?? "–"}`);

/** How a phase is meant: good, warn, bad or idle. */
export const mood = (phase) => ({ training: "good", finished: "good", failed: "bad", gathering: "warn", regrouping: "warn", forming: "warn", recovering: "warn", draining: "warn", stopped: "warn" })[phase] ?? "idle";

export const isOver = (phase) => ["finished", "stopped", "failed"].includes(phase);

/** How a machine is, by what its state begins with. */
export function health(machine) {
  if (/^(connection lost|cannot train|set aside)/.test(machine.state)) return "bad";
  if (/^(leaving|draining|starting|checking)/.test(machine.state)) return "warn";
  return machine.state === "training" ? "good" : "idle";
}
