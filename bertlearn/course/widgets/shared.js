// Code that all widgets share. A widget's own file follows and defines `draw(view)`, which fills view.root. Before
// that file, KIND is defined: the class to which the rules of its style sheet apply.
// No imports. Text from data becomes text nodes only, never HTML.

// JupyterLab's command-mode keys (arrows, letters) check the focused element itself: everything that can have the
// focus needs this attribute.
const QUIET = { "data-lm-suppress-shortcuts": "true" };
const FOCUSABLE = ["button", "input", "select", "textarea", "summary"];

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(child => child != null));
  return element;
}

/** Make an element: attributes by name, functions as listeners, without those that are false or null. */
function h(tag, attributes = {}, ...children) {
  const quiet = FOCUSABLE.includes(tag) || "tabindex" in attributes ? QUIET : {};
  return furnish(document.createElement(tag), { ...attributes, ...quiet }, children);
}

/** Make an SVG element, as h() makes an HTML element. */
function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

let made = 0;
/** Return an id that no other element of the page has. */
const newId = () => `bl-${Date.now().toString(36)}-${made++}`;

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const range = n => [...Array(n).keys()];
const fixed = (x, digits = 3) => (Number.isFinite(x) ? x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1") : "not a number");

/** Return a token as one line of visible text: line breaks and control characters as symbols, "" as ∅. */
function shown(token) {
  const text = token.replace(/\n/g, "⏎").replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "␣");
  return text === "" ? "∅" : text;
}

/** Round numbers between two limits, about five of them, each with its number of decimals. */
function ticks(low, high) {
  const least = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map(factor => factor * unit).find(width => width >= least);
  const first = Math.ceil(low / step - 1e-9);
  const values = range(Math.floor(high / step + 1e-9) - first + 1).map(i => (first + i) * step);
  return values.map(value => [value, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))]);
}

/** Read bytes from the kernel as numbers of a type; the copy aligns them. */
function numbers(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// ── the parts of a card ──

/** The head: what the widget is, and one sentence on what to try. */
const cardHead = (title, hint) => h("header", {}, h("p", { class: "bl-name", role: "heading", "aria-level": 3 }, title), h("p", { class: "bl-try" }, hint));

/** The legend, which stands before the picture: pairs of a sample (the classes of a swatch, or an element) and its meaning. */
const cardLegend = (...entries) => h("ul", { class: "bl-legend", "aria-label": "legend" }, entries.map(([sample, meaning]) =>
  h("li", {}, typeof sample === "string" ? h("span", { class: `bl-swatch ${sample}`, "aria-hidden": "true" }) : sample, h("span", {}, meaning))));

/** A part that is opened on demand; a picture in it learns its width only then. */
function onDemand(view, title, ...parts) {
  const details = h("details", { toggle: () => { if (details.open) view.root.dispatchEvent(new CustomEvent("bl-size")); } }, h("summary", {}, title), ...parts);
  return details;
}

/** The width in pixels that a picture has in its box; `before` while the box is closed. */
const widthOf = (box, before = 400) => Math.floor(box.clientWidth) || before;

// ── controls, each with a label ──

function labeled(text, control, ...more) {
  control.id = newId();
  const label = h("label", { for: control.id }, text);
  const parts = ["radio", "checkbox"].includes(control.type) ? [control, label] : [label, control];
  return h("span", { class: "bl-control" }, parts, ...more);
}

/** A drop-down list bound to a whole-number trait. */
function select(view, text, trait, names) {
  const control = h("select", { change: () => view.set({ [trait]: Number(control.value) }) },
    names.map((name, i) => h("option", { value: i }, name)));
  view.watch([trait], () => { control.value = view.get(trait); });
  return labeled(text, control);
}

/** A check box bound to a boolean trait. */
function check(view, text, trait) {
  const control = h("input", { type: "checkbox", change: () => view.set({ [trait]: control.checked }) });
  view.watch([trait], () => { control.checked = view.get(trait); });
  return labeled(text, control);
}

/** A slider bound to a number trait; `write` makes the text next to it. */
function slider(view, text, trait, { min, max, step, write = String }) {
  const read = h("span", { class: "bl-number", "aria-hidden": "true" });
  const control = h("input", { type: "range", min, max, step, input: () => view.set({ [trait]: Number(control.value) }) });
  view.watch([trait], () => {
    control.value = view.get(trait);
    read.textContent = write(view.get(trait));
    control.setAttribute("aria-valuetext", read.textContent);
  });
  return labeled(text, control, read);
}

/** Radio buttons bound to a text trait; `choices` maps the trait's values to their names. */
function choice(view, text, trait, choices) {
  const name = newId();
  const group = h("span", { class: "bl-control bl-choice", role: "radiogroup", "aria-label": text },
    h("span", { class: "bl-label", "aria-hidden": "true" }, text));
  const inputs = Object.entries(choices).map(([value, label]) => {
    const input = h("input", { type: "radio", name, value, change: () => view.set({ [trait]: value }) });
    group.append(labeled(label, input));
    return input;
  });
  view.watch([trait], () => inputs.forEach(input => { input.checked = input.value === view.get(trait); }));
  return group;
}

/** A button; `does` is called when the button is pressed. */
const button = (text, does, attributes = {}) => h("button", { type: "button", class: "bl-button", click: does, ...attributes }, text);

/** A key listener for a grid: an arrow key calls `go` with the number of rows down and columns to the right. */
const arrows = go => event => {
  const by = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
  if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  go(...by);
};

/** The same for a grid of all heads, whose cells are in a list, layer by layer. */
const chooseHead = (view, cells) => arrows((down, right) => {
  const [layers, heads] = view.get("shape");
  const layer = clamp(view.get("layer") + down, 0, layers - 1), head = clamp(view.get("head") + right, 0, heads - 1);
  view.set({ layer, head });
  cells[layer * heads + head].focus();
});

/**
 * A list of tokens from which one is chosen: by pointer, arrow keys, Home, End, Page Up and Page Down.
 * `pick(i)` is called for a new choice. Returns the list, its items, choose(i) to show a choice, and, for other
 * elements in which a pointer chooses, point(i) and press(i). A token that is clicked stays chosen, wherever the
 * pointer goes, until it is clicked again or Escape is pressed. If `hover` is false, only a click chooses.
 */
function tokenList(tokens, label, pick, { horizontal = false, hover = true } = {}) {
  const items = tokens.map((token, i) => h("li", { role: "option", tabindex: -1, "aria-selected": "false", "data-i": i, title: `${i}: ${shown(token)}` },
    h("bdi", {}, shown(token))));
  const list = h("ul", { class: "bl-tokens", role: "listbox", "aria-label": label, "aria-orientation": horizontal ? "horizontal" : "vertical" }, items);
  let chosen = -1;
  const choose = i => {
    if (chosen === i) return;
    items[chosen]?.setAttribute("aria-selected", "false");
    items.forEach((item, j) => { if (item.tabIndex === 0 || j === i) item.tabIndex = j === i ? 0 : -1; });
    items[i]?.setAttribute("aria-selected", "true");
    chosen = i;
  };
  const pin = held => { list.classList.toggle("bl-pinned", held); };
  const point = i => { if (i !== chosen && !list.classList.contains("bl-pinned")) pick(i); };
  const press = i => {
    pin(hover && !(i === chosen && list.classList.contains("bl-pinned")));
    if (i !== chosen) pick(i);
  };
  const at = event => { const item = event.target.closest("[data-i]"); return item && list.contains(item) ? Number(item.dataset.i) : null; };
  const open = i => !items[i].hidden;
  if (hover) list.addEventListener("pointerover", event => { const i = at(event); if (i !== null) point(i); });
  list.addEventListener("click", event => { const i = at(event); if (i !== null) { press(i); items[i].focus({ preventScroll: true }); } });
  list.addEventListener("keydown", event => {
    if (event.key === "Escape") pin(false);
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const visible = range(tokens.length).filter(open);
    const i = visible[clamp(visible.indexOf(chosen) + steps[event.key], 0, visible.length - 1)];
    pick(i);
    items[i].focus();
  });
  return { list, items, choose, point, press };
}

// ── text fields ──

const PAUSE = 120; // milliseconds without a key before the kernel is asked

/**
 * Fields whose text is sent to the kernel, as the question of this name. `read(…texts)` returns the traits to set.
 * The question is sent when typing pauses, or only by ask() if `typing` is false. Returns a note on its state,
 * ask(), waits(), and problem(): what is wrong with the last text, if anything.
 */
function question(view, name, fields, read, typing = true) {
  const note = h("span", { class: "bl-note", id: newId(), "aria-live": "polite" });
  let timer = null;
  const number = () => view.get("asked")[name]?.[0] ?? 0, answer = () => view.get("answered")[name] ?? [0, ""];
  const waits = () => timer !== null || number() !== answer()[0];
  const problem = () => (waits() ? "" : answer()[1]);
  const tell = () => {
    note.textContent = view.alone ? "typing needs a running notebook" : waits() ? "reading …" : problem() && `⚠ ${problem()}. Below is what was read before.`;
    note.classList.toggle("bl-problem", problem() !== "");
    for (const field of fields) field.setAttribute("aria-invalid", problem() !== "");
  };
  const ask = () => {
    clearTimeout(timer);
    timer = null;
    const values = read(...fields.map(field => field.value.toWellFormed())); // half an emoji is not a character
    view.set({ asked: { ...view.get("asked"), [name]: [number() + 1, values] } });
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
    tell();
  };
  for (const field of fields) {
    field.disabled = view.alone;
    field.setAttribute("aria-describedby", note.id);
    if (typing) field.addEventListener("input", soon);
  }
  view.watch(["asked", "answered"], tell);
  return { note, ask, waits, problem };
}

// ── colors ──

/** Return 256 colors, from the theme's lowest to its highest one, as ABGR numbers for an ImageData. */
function shades(root) {
  const style = getComputedStyle(root);
  const parse = name => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map(part => parseInt(part, 16));
  const [low, high] = [parse("--bl-low"), parse("--bl-high")];
  return Uint32Array.from(range(256), i => {
    const [r, g, b] = low.map((x, c) => Math.round(x + (high[c] - x) * i / 255));
    return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  });
}

/** Paint a canvas pixel by pixel: `fill(dots, colors)` colors rows × columns pixels, which start in the lowest color. */
function paintDots(canvas, rows, columns, colors, fill) {
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  const dots = new Uint32Array(image.data.buffer).fill(colors[0]);
  fill(dots, colors);
  context.putImageData(image, 0, 0);
}

/** Paint rows × columns values between 0 and 1, one pixel each; the style sheet enlarges them. */
function paint(canvas, rows, columns, value, colors) {
  paintDots(canvas, rows, columns, colors, dots => {
    for (let r = 0, p = 0; r < rows; r++)
      for (let c = 0; c < columns; c++, p++) dots[p] = colors[Math.round(255 * clamp(value(r, c) || 0, 0, 1))];
  });
}

/** Return whether the background of the element is dark. */
function isDark(element) {
  for (let node = element; node; node = node.parentElement) {
    const parts = getComputedStyle(node).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (parts.length >= 3 && (parts[3] ?? 1) > 0.5) return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches && element.closest(".bl-page") !== null;
}

// ── the frame around every widget ──

/** Find the still that a notebook shows where no script runs; a live widget replaces it. */
function findStill(element) {
  for (let node = element.parentElement; node; node = node.parentElement) {
    const still = node.querySelector(".bl-still");
    if (still) return still;
  }
  return null;
}

/**
 * Render a widget. Its `draw(view)` gets
 *   view.root            the element to fill
 *   view.get(name)       a trait's value
 *   view.set({name: …})  set traits, here and in the kernel
 *   view.watch(names, f) call f soon, and whenever one of the traits changes; for the name "theme", when colors
 *                        change, and for "size", when the width does; several changes at once give one call
 *   view.say(text)       show a text below the widget and announce it to screen readers
 *   view.alone           true in an exported page, where no kernel answers
 */
function render({ model, el }) {
  const root = h("div", { class: "bl", role: "group", "aria-label": model.get("description") });
  const status = h("p", { class: "bl-say", role: "status", "aria-live": "polite" });
  const redraws = new Set(), listeners = [];
  let scheduled = true; // until the element is in the page: before that it has no colors and no size
  const flush = () => {
    scheduled = false;
    const now = [...redraws];
    redraws.clear();
    now.forEach(f => f());
    root.dispatchEvent(new CustomEvent("bl-drawn", { bubbles: true }));
  };
  const soon = f => {
    redraws.add(f);
    if (!scheduled) { scheduled = true; queueMicrotask(flush); }
  };
  const view = {
    root,
    alone: model.alone === true,
    get: name => model.get(name),
    set(values) {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      model.save_changes();
    },
    watch(names, f) {
      for (const name of names) {
        const again = () => soon(f);
        listeners.push([`change:${name}`, again]);
        if (name === "theme" || name === "size") root.addEventListener(`bl-${name}`, again);
        else model.on(`change:${name}`, again);
      }
      soon(f);
    },
    say(text) { if (status.textContent !== text) status.textContent = text; },
  };
  const theme = () => {
    const name = isDark(el) ? "dark" : "light";
    if (!root.isConnected || root.dataset.theme === name) return;
    const first = !root.dataset.theme;
    root.dataset.theme = name;
    if (first) flush();
    else root.dispatchEvent(new CustomEvent("bl-theme"));
  };
  let width = 0;
  const size = () => {
    if (root.clientWidth === width || !root.clientWidth) return;
    width = root.clientWidth;
    root.classList.toggle("bl-narrow", width < 680);
    root.dispatchEvent(new CustomEvent("bl-size"));
  };
  const resized = () => requestAnimationFrame(() => { theme(); size(); }); // not at once: what is drawn may change the height
  const observers = [new ResizeObserver(resized), new MutationObserver(theme)], preference = matchMedia("(prefers-color-scheme: dark)");
  el.classList.add(KIND);
  draw(view);
  root.append(status);
  el.append(root);
  theme();
  observers[0].observe(root); // a notebook attaches the element later; only then does it have a background
  observers[1].observe(document.body, { attributes: true });
  preference.addEventListener("change", theme);
  const still = findStill(el);
  const hide = requestAnimationFrame(() => { const shown = still ?? findStill(el); if (shown) shown.hidden = true; });
  return () => {
    cancelAnimationFrame(hide);
    observers.forEach(observer => observer.disconnect());
    preference.removeEventListener("change", theme);
    listeners.forEach(([event, f]) => model.off(event, f));
  };
}

