// The table of pairs, to be touched: pick a letter, see what follows it, write a name and watch its log-likelihood.
// Reads the counts stored in the page; talks to nobody. One state: the name so far and whether it has ended.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const minus = (x) => (Number.isFinite(x) ? x.toFixed(2).replace("-", "−") : "−∞");
const percent = (p) => (p === 0 ? "0" : p < 0.001 ? "<0.1" : (100 * p).toFixed(1)) + " %";

// Arrow keys move inside a group of buttons, of which one at a time can be reached by Tab.
function roving(box, columns, onMove = () => {}) {
  box.addEventListener("keydown", (event) => {
    const buttons = [...box.querySelectorAll("button")];
    const i = buttons.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : i + step;
    if (i < 0 || Number.isNaN(to) || !buttons[to]) return;
    event.preventDefault();
    buttons.forEach((b, j) => (b.tabIndex = j === to ? 0 : -1));
    buttons[to].focus();
    onMove(to);
  });
}

function touchable(box) {
  const { symbols, counts } = JSON.parse(box.querySelector("script").textContent);
  const V = symbols.length, END = 0, LONGEST = 20;
  const say = (i) => (i === END ? "• (start or end)" : symbols[i]);
  let name = [], ended = false;                                  // ids, without the borders

  const smooth = el("input", { type: "checkbox" });
  const row = (i) => {                                           // the probabilities of what follows symbol i
    const c = counts[i].map((n) => n + (smooth.checked ? 1 : 0));
    const total = c.reduce((a, b) => a + b, 0);
    return c.map((n) => (total ? n / total : 0));
  };
  const path = () => [...name, ...(ended ? [END] : [])];         // the symbols that have a probability
  const here = () => (ended || !name.length ? END : name.at(-1));

  // the table: one button a row, the squares beside them
  const rows = el("div", { class: "touch-rows", role: "radiogroup", "aria-label": "Letter to look at" });
  const squares = document.createElementNS(SVG, "svg");
  const table = el("div", { class: "touch-table" }, rows, squares);
  symbols.forEach((symbol, i) => {
    const button = el("button", { type: "button", role: "radio", "aria-label": "after " + say(i) }, symbol);
    button.addEventListener("click", () => look(i));
    rows.append(button);
  });
  squares.setAttribute("viewBox", `0 0 ${V} ${V}`);
  squares.setAttribute("preserveAspectRatio", "none");
  squares.setAttribute("aria-hidden", "true");
  squares.addEventListener("click", (event) => {
    const area = squares.getBoundingClientRect();
    look(Math.min(V - 1, Math.floor((V * (event.clientY - area.top)) / area.height)));
  });

  // what follows: one button a symbol, its bar behind it
  const title = el("p", { class: "touch-title" });
  const bars = el("div", { class: "touch-bars", role: "group", "aria-label": "What follows: press one to write it" });
  symbols.forEach((symbol, i) => {
    const letter = el("b", {}, i === END ? "end" : symbol);
    const button = el("button", { type: "button", tabindex: i ? -1 : 0 }, letter, el("span"));
    button.addEventListener("click", () => write(i));
    bars.append(button);
  });
  roving(rows, () => 1, (i) => look(i));
  roving(bars, () => getComputedStyle(bars).gridTemplateColumns.split(" ").length);

  // the name: typed or pressed, drawn as a strip in which each symbol takes the room of its −log p
  const field = el("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  field.maxLength = LONGEST;
  field.addEventListener("input", () => {
    const plain = field.value.toLowerCase().normalize("NFD");
    name = [...plain].map((c) => symbols.indexOf(c)).filter((i) => i > 0);
    ended = false;
    show();
  });
  const act = (text, action) => {
    const button = el("button", { type: "button" }, text);
    button.addEventListener("click", action);
    return button;
  };
  const strip = el("div", { class: "touch-strip", "aria-hidden": "true" });
  const guess = el("i");                                         // where a uniform guess would stand
  const sum = el("p", { class: "touch-sum" });
  const live = el("p", { class: "touch-live", "aria-live": "polite" });
  smooth.addEventListener("change", () => show());

  function draw() {                                              // one symbol at random, by its probability
    let u = Math.random();
    return row(here()).findIndex((p) => (u -= p) < 0);
  }
  function write(i) {
    if (ended) [name, ended] = [[], false];
    if (i === END) ended = true;
    else if (i > 0) name = [...name, i].slice(0, LONGEST);
    show();
  }
  function finish() {
    if (ended) [name, ended] = [[], false];
    do write(name.length === LONGEST ? END : draw()); while (!ended);
  }
  function look(i) {
    name = i === END ? [] : [i];
    ended = false;
    show();
  }

  function show() {
    const now = here(), p = row(now);
    field.value = name.map((i) => symbols[i]).join("");
    [...rows.children].forEach((b, i) => {
      b.setAttribute("aria-checked", i === now);
      b.tabIndex = i === now ? 0 : -1;
    });
    [...bars.children].forEach((b, i) => {
      b.style.setProperty("--p", p[i] / Math.max(...p, 1e-9));
      b.lastChild.textContent = percent(p[i]);
    });
    title.replaceChildren(...(now === END ? ["How a name begins"] : ["What follows ", el("b", {}, symbols[now])]));
    squares.replaceChildren(...paint(now));
    tell(now, p);
  }
  function paint(now) {
    const square = (kind, x, y, width, strength) => {
      const rect = document.createElementNS(SVG, "rect");
      const attributes = { class: kind, x, y, width, height: 1, "fill-opacity": strength };
      for (const [key, value] of Object.entries(attributes)) rect.setAttribute(key, value);
      return rect;
    };
    const cells = symbols.flatMap((_, i) => row(i).map((p, j) => square("cell", j, i, 1, Math.sqrt(p).toFixed(3))));
    return [...cells, square("now", 0, now, V, 0)];
  }
  function tell(now, p) {
    const ids = path(), costs = ids.map((id, t) => -Math.log(row(t ? ids[t - 1] : END)[id]));
    const total = costs.reduce((a, b) => a + b, 0), uniform = Math.log(V);
    const scale = 1.02 * Math.max(16, Number.isFinite(total) ? total : 0, ids.length * uniform);
    strip.replaceChildren(...costs.map((c, t) => {
      const part = el("span", {}, el("b", {}, symbols[ids[t]]), el("small", {}, minus(-c)));
      part.classList.toggle("never", !Number.isFinite(c));
      part.style.width = (100 * (Number.isFinite(c) ? c : uniform)) / scale + "%";
      return part;
    }), guess);
    guess.style.left = (100 * ids.length * uniform) / scale + "%";
    guess.hidden = !ids.length;
    const never = costs.findIndex((c) => !Number.isFinite(c));
    const pair = never < 0 ? "" : (symbols[never ? ids[never - 1] : END] + symbols[ids[never]]);
    const text = !ids.length ? "Press a letter, or type a name."
      : never >= 0 ? `Log-likelihood −∞: “${pair}” never occurs in the names. Add 1 to every count, and it can.`
      : `Log-likelihood ${minus(-total)}, that is ${minus(total / ids.length)} nats per character ` +
        `(dashed, a uniform guess: ${uniform.toFixed(2)}).` + (ended ? "" : " Not ended yet.");
    sum.textContent = text;
    const best = p.map((q, i) => [q, i]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    live.textContent = `After ${say(now)}: ` + best.map(([q, i]) => `${say(i)} ${percent(q)}`).join(", ") + ". " + text;
  }

  box.append(
    table,
    el("div", { class: "touch-side" }, title, bars),
    el("div", { class: "touch-name" },
      el("label", {}, "Name ", field),
      act("draw a letter", () => write(draw())), act("draw the rest", finish), act("clear", () => look(END)),
      el("label", { class: "touch-switch" }, smooth, " add 1 to every count")),
    strip, sum, live);
  box.classList.add("on");
  show();
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".touchable").forEach(touchable));
