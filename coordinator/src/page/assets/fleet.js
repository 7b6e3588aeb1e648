// The machines as a picture: a card a machine, a cell a device, in it the ranks it hosts. A card opens to its devices in numbers.

import { byId, element, fillTable, say } from "./elements.js";
import { orderButton } from "./orders.js";
import { brief, health, percent, ranges, seconds, span, whole } from "./words.js";

/** A wait for data that is worth a colour. */
const WAITS = 0.2;

const cards = new Map();

function cellOf(machine, device) {
  const ofMachine = health(machine);
  if (ofMachine === "bad") return "bad";
  if (device.ranks.length === 0) return "idle";
  if (ofMachine === "warn" || device.data_wait > WAITS || device.slow_files) return "warn";
  return "good";
}

function inWords(device) {
  const ranks = device.ranks.length === 0 ? "no rank" : `rank ${ranges(device.ranks)}`;
  const waits = device.bottleneck ? `, waits ${percent(device.data_wait)} (${device.bottleneck})` : "";
  return `device ${device.index} (${device.kind}): ${ranks}, step ${whole(device.step)}${waits}`;
}

function makeCard(machine) {
  const name = element("span", {}, machine.name);
  const state = element("span", { class: "state" });
  const cells = element("span", { class: "cells" });
  const table = element("table");
  const drain = orderButton("Drain this machine", { order: "drain", machine: machine.name }, `Let ${machine.name} go at the next step boundary? Its daemon ends; the others go on, and nothing is lost.`);
  const readmit = orderButton("Take it back", { order: "readmit", machine: machine.name });
  const root = element(
    "details",
    { class: "machine" },
    element("summary", {}, element("span", { class: "name" }, name, element("span", { "aria-hidden": "true" })), state, cells),
    element("div", { class: "scroll" }, table),
    element("div", { class: "orders" }, drain, readmit),
  );
  const card = { root, state, cells, table, drain, readmit, machine };
  root.addEventListener("toggle", () => fillCard(card));
  return card;
}

const COLUMNS = [
  { title: "Device", number: true, cell: (device) => String(device.index) },
  { title: "Kind", cell: (device) => device.kind },
  { title: "Ranks", cell: (device) => ranges(device.ranks) || "none" },
  { title: "Positions of a batch", cell: (device) => (device.ranks.length ? `${device.shard.start}–${device.shard.end - 1}` : "") },
  { title: "Step", number: true, cell: (device) => whole(device.step) },
  { title: "Waits for data", number: true, cell: (device) => percent(device.data_wait) },
  { title: "Where", wide: true, cell: (device) => [device.bottleneck, ...(device.slow_files ?? [])].filter(Boolean).join(": ") },
];

/** The inside of a card, where it is open. */
function fillCard({ root, table, machine }) {
  if (root.open) fillTable(table, COLUMNS, machine.devices, "no device");
}

function fill(card, machine) {
  card.machine = machine;
  const ofMachine = health(machine);
  card.root.className = `machine ${ofMachine}`;
  const silent = seconds(machine.silent_for);
  const since = silent > 2 ? `, silent for ${span(silent)}` : "";
  say(card.state, `${machine.state}${since}`);
  card.root.title = `${machine.name} at ${machine.address}: ${machine.state}`;
  const devices = machine.devices;
  while (card.cells.childElementCount > devices.length) card.cells.lastElementChild.remove();
  devices.forEach((device, i) => {
    const cell = card.cells.children[i] ?? card.cells.appendChild(element("span"));
    cell.className = `cell ${cellOf(machine, device)}${device.ranks.length > 1 ? " several" : ""}`;
    cell.title = inWords(device);
    say(cell, brief(device.ranks));
  });
  card.readmit.hidden = !machine.state.startsWith("set aside");
  fillCard(card);
}

/** Shows all machines; cards stay the same as long as their machines do. */
export function showFleet(status) {
  const fleet = byId("fleet");
  const names = new Set(status.machines.map((machine) => machine.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.root.remove();
      cards.delete(name);
    }
  }
  status.machines.forEach((machine, i) => {
    if (!cards.has(machine.name)) cards.set(machine.name, makeCard(machine));
    const card = cards.get(machine.name);
    if (fleet.children[i] !== card.root) fleet.insertBefore(card.root, fleet.children[i] ?? null);
    fill(card, machine);
  });
  const devices = status.machines.flatMap((machine) => machine.devices);
  const hosting = devices.filter((device) => device.ranks.length > 0).length;
  const several = devices.some((device) => device.ranks.length > 1) ? "; some host several ranks" : "";
  say(byId("fleet-summary"), devices.length === 0
    ? "No machine is attached; start m2t-worker on each."
    : `${status.machines.length} ${status.machines.length === 1 ? "machine" : "machines"}, ${hosting} of ${devices.length} devices host the ${status.world} ranks${several}`);
}
