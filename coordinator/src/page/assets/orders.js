// Orders: buttons that ask first where it cannot be taken back, and what the coordinator answers.

import { byId, element, say } from "./elements.js";
import { isOver } from "./words.js";

const meta = document.querySelector('meta[name="m2t-token"]');

let takesOrders = false;

/** Whether the coordinator takes orders from this page. */
export const mayOrder = () => takesOrders;

/** What the coordinator says of who one is here. */
export function allow(me) {
  takesOrders = me.orders;
}

/** Resolves when the token is the newest; an order waits for it. */
let renewal = Promise.resolve();

/** The coordinator was started again: its page has another token. */
export function renewToken() {
  const renewed = async () => {
    const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    meta.content = page.querySelector('meta[name="m2t-token"]')?.content ?? "";
  };
  // Where it cannot be read, the order that is given with the old one is refused in words.
  renewal = renewed().catch(() => {});
}

function answer(text, isRefused) {
  const place = byId("answer");
  place.classList.toggle("refused", isRefused);
  say(place, text);
}

async function give(order) {
  await renewal;
  try {
    const response = await fetch("/api/orders", {
      method: "POST",
      headers: { "Content-Type": "application/json", "M2t-Token": meta.content },
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(15000),
    });
    const said = await response.json();
    answer(said.accepted ?? said.refused, said.accepted === undefined);
  } catch {
    answer("The coordinator did not answer; the order may not have reached it.", true);
  }
}

/** Takes the decision on the question that is asked. */
let decide = () => {};

function close(isMeant) {
  byId("confirm").close();
  decide(isMeant);
}

byId("confirm-yes").addEventListener("click", () => close(true));
byId("confirm-no").addEventListener("click", () => close(false));
byId("confirm").addEventListener("cancel", () => decide(false));

/** Asks in words; resolves to whether it is meant. */
function ask(question, yes) {
  decide(false);
  say(byId("confirm-text"), question);
  say(byId("confirm-yes"), yes);
  byId("confirm").showModal();
  return new Promise((resolve) => {
    decide = resolve;
  });
}

/** A button that gives an order, after `question` is answered where there is one. */
export function orderButton(label, order, question) {
  const button = element("button", { type: "button", id: order.machine ? undefined : `order-${order.order}`, hidden: !mayOrder(), class: question ? "grave" : undefined }, label);
  button.addEventListener("click", async () => {
    if (question && !(await ask(question, label))) return;
    button.disabled = true;
    await give(order);
    button.disabled = false;
  });
  return button;
}

const pause = orderButton("Pause", { order: "pause" });
const resume = orderButton("Resume", { order: "resume" });
const stop = orderButton("Stop", { order: "stop" }, "Stop the run? All devices stop at the next step boundary, with a checkpoint, and coordinator and daemons end. The same commands continue it.");
byId("orders").append(pause, resume, stop);

/** Offers what may be asked in this phase. */
export function offer(phase) {
  const may = mayOrder() && !isOver(phase);
  pause.hidden = !may || phase === "paused";
  resume.hidden = !may || phase !== "paused";
  stop.hidden = !may;
}
