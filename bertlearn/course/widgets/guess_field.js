// The field for a guess. What the learner enters is a draft in the page; Commit sends it to the kernel.

const HELP = {
  number: () => "",
  choice: () => "",
  curve: () => "Draw with the mouse, a pen or a finger. With the keyboard, ← and → choose a point, ↑ and ↓ move it.",
};
const UNANSWERED = { number: "Enter a number first.", choice: "Choose an answer first.", curve: "Draw the curve first." };
const SILENCE = 4000; // milliseconds without an answer after which the kernel may be dead

const short = x => (Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en-US") : String(Number(x.toPrecision(3))));
const withUnit = (x, unit) => (["", "%", "×", "°"].includes(unit) ? x + unit : `${x} ${unit}`);
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function draw(view) {
  const kind = view.get("kind"), heading = h("p", { class: "gf-question", id: newId() }, view.get("question"));
  const entry = { number: numberEntry, choice: choiceEntry, curve: curveEntry }[kind](view, heading.id, entered);
  const commit = button("Commit", () => ask(), { class: "bl-button gf-commit" });
  const help = h("p", { class: "gf-help bl-quiet" }, HELP[kind]());
  view.root.append(h("p", { class: "gf-title" }, "Your guess"), heading, entry.part, help,
    h("div", { class: "gf-bar" }, commit, entry.more));
  const number = () => view.get("asked").guess?.[0] ?? 0, answer = () => view.get("answered").guess ?? [0, ""];
  const waits = () => number() !== answer()[0];
  let complaint = "", silent = null, sent;

  function entered() { // the kernel counts it if the result is asked for before a commit
    const draft = entry.draft();
    sent = Array.isArray(draft) ? [...draft] : draft;
    view.set({ draft: sent });
    tell();
  }
  function ask() {
    const value = entry.draft();
    complaint = value === null ? UNANSWERED[kind] : "";
    if (value !== null) view.set({ asked: { ...view.get("asked"), guess: [number() + 1, { guess: value }] } });
    tell();
  }
  function tell() {
    const locked = view.get("locked"), guess = view.get("guess");
    clearTimeout(silent);
    if (!view.alone && waits()) silent = setTimeout(() => view.say("⚠ The kernel does not answer. Is it busy, or was it shut down?"), SILENCE);
    commit.hidden = locked;
    commit.disabled = view.alone;
    help.hidden = locked || help.textContent === "";
    entry.lock(locked);
    view.root.classList.toggle("gf-kept", guess !== null && !waits() && same(entry.draft(), guess));
    view.say(said(locked, guess));
  }
  function said(locked, guess) {
    const problem = complaint || (waits() ? "" : answer()[1]);
    if (view.alone) return "Writing down a guess needs a running notebook.";
    if (locked) return `You guessed ${entry.text(guess)}. The result has been shown, so your guess stays as it is.`;
    if (waits()) return "Saving …";
    if (problem) return `⚠ ${problem[0].toUpperCase()}${problem.slice(1)}`;
    if (guess === null) return `Commit ${view.get("expected")} before you go on.`;
    if (same(entry.draft(), guess)) return `✓ Your guess is ${entry.text(guess)}. You can change it until you see the result.`;
    return `Not committed yet. Your guess is still ${entry.text(guess)}.`;
  }
  view.root.addEventListener("input", () => { complaint = ""; });
  view.watch(["guess", "draft"], () => { // what came from the kernel, not what is being typed here
    const draft = view.get("draft");
    if (!same(draft, sent)) entry.show(draft ?? view.get("guess"));
    sent = draft;
  });
  view.watch(["guess", "asked", "answered", "locked"], tell);
  entry.part.addEventListener("keydown", event => { if (event.key === "Enter" && !view.get("locked") && !view.alone) { event.preventDefault(); ask(); } });
}

// ── the three kinds: each has a part to show, draft() or null, show(guess), text(guess) and lock(locked) ──

/** A number: a field, with a slider if both limits are known. */
function numberEntry(view, named, changed) {
  const { low, high, unit } = view.get("form"), bounded = low !== null && high !== null;
  const step = bounded ? 10 ** Math.floor(Math.log10((high - low) / 50)) : 1, digits = Math.max(0, Math.round(-Math.log10(step)));
  const field = h("input", { type: "number", class: "gf-number bl-number", step: "any", min: low, max: high, "aria-labelledby": named,
    input: () => { if (slider && draft() !== null) slider.value = draft(); tint(); changed(); } });
  const slider = bounded ? h("input", { type: "range", class: "gf-slider", min: low, max: high, step: "any", value: (low + high) / 2, "aria-label": "Your guess, as a slider",
    input: () => { field.value = Number(slider.value).toFixed(digits); tint(); changed(); } }) : null;
  if (slider) slider.step = step;
  const draft = () => (field.value === "" ? null : Number(field.value));
  const tint = () => slider?.classList.toggle("gf-unset", draft() === null);
  tint();
  const ends = slider ? h("span", { class: "gf-ends" }, h("span", { "aria-hidden": "true" }, short(low)), slider, h("span", { "aria-hidden": "true" }, withUnit(short(high), unit))) : null;
  const part = h("div", { class: "gf-entry" }, h("span", { class: "bl-control" }, field, unit ? h("span", {}, unit) : null), ends);
  return { part, draft, text: guess => withUnit(short(guess), unit),
    show(guess) { field.value = guess ?? ""; if (slider) slider.value = guess ?? (low + high) / 2; tint(); },
    lock(locked) { field.disabled = locked; if (slider) slider.disabled = locked; } };
}

/** One of several options. */
function choiceEntry(view, named, changed) {
  const name = newId(), { options } = view.get("form");
  const inputs = options.map((_, i) => h("input", { type: "radio", name, value: i, input: changed }));
  const part = h("div", { class: "gf-options", role: "radiogroup", "aria-labelledby": named },
    options.map((option, i) => h("label", { class: "gf-option" }, inputs[i], h("bdi", {}, option))));
  return { part, text: guess => `“${guess}”`,
    draft() { const i = inputs.findIndex(input => input.checked); return i < 0 ? null : options[i]; },
    show(guess) { inputs.forEach((input, i) => { input.checked = options[i] === guess; }); },
    lock(locked) { inputs.forEach(input => { input.disabled = locked; }); } };
}

/** A curve through points, whose heights are dragged. */
function curveEntry(view, named, changed) {
  const form = view.get("form"), [low, high] = form.y, middle = (low + high) / 2;
  const places = range(form.points).map(i => form.x[0] + (form.x[1] - form.x[0]) * i / (form.points - 1));
  let heights = places.map(() => middle), touched = new Set(), drawn = false, locked = false, at = 0;
  const plot = svg("svg", { class: "gf-plot", role: "group", "aria-labelledby": named });
  const clear = button("Start over", () => { show(null); changed(); });
  const put = (i, y) => {
    heights[i] = round(clamp(y, low, high));
    touched.add(i);
    drawn = true;
    plot.dispatchEvent(new CustomEvent("input", { bubbles: true }));
  };
  let box = null, line = null, dots = [];

  // Points that a stroke did not reach lie between those that it did, or level with the first or the last one.
  function follow() {
    const set = [...touched].sort((a, b) => a - b);
    range(places.length).filter(i => !touched.has(i)).forEach(i => {
      const before = set.findLast(j => j < i) ?? set[0], after = set.find(j => j > i) ?? set.at(-1);
      heights[i] = round(heights[before] + (before === after ? 0 : (heights[after] - heights[before]) * (i - before) / (after - before)));
    });
  }
  function round(y) { return Number(y.toPrecision(4)); }
  function show(guess) {
    heights = guess ? [...guess] : places.map(() => middle);
    touched = new Set(guess ? range(places.length) : []);
    drawn = guess !== null;
    update();
  }
  function build() { // anew for each width, so that text keeps its size
    const held = dots.includes(plot.getRootNode().activeElement);
    box = boxOf(view.root.clientWidth - 30, form);
    plot.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    plot.setAttribute("width", box.width);
    plot.setAttribute("height", box.height);
    line = svg("path", { class: "gf-line" });
    dots = places.map((x, i) => svg("circle", { class: "gf-dot", cx: box.across(x, form.x), r: 6.5, tabindex: i === at ? 0 : -1, role: "slider", ...QUIET,
      "aria-orientation": "vertical", "aria-label": `${form.ylabel} at ${form.xlabel} ${short(x)}`, "aria-valuemin": low, "aria-valuemax": high, keydown: event => key(event, i), focus: () => { stay(i); } }));
    plot.replaceChildren(...axesOf(box, form), line, ...dots);
    update();
    if (held) dots[at].focus({ preventScroll: true });
  }
  function update() {
    const down = heights.map(y => box.down(y, form.y));
    line.setAttribute("d", "M" + places.map((x, i) => `${box.across(x, form.x).toFixed(1)},${down[i].toFixed(1)}`).join("L"));
    dots.forEach((dot, i) => {
      dot.setAttribute("cy", down[i]);
      dot.setAttribute("aria-valuenow", heights[i]);
      dot.setAttribute("aria-valuetext", short(heights[i]));
    });
    plot.classList.toggle("gf-blank", !drawn);
    clear.hidden = locked || !drawn;
  }
  function stay(i) {
    dots[at].setAttribute("tabindex", -1);
    at = i;
    dots[at].setAttribute("tabindex", 0);
  }
  function key(event, i) {
    const unit = (high - low) / 50, by = { ArrowUp: unit, ArrowDown: -unit, PageUp: 5 * unit, PageDown: -5 * unit, Home: -Infinity, End: Infinity }[event.key];
    const to = { ArrowLeft: i - 1, ArrowRight: i + 1 }[event.key];
    if ((by === undefined && to === undefined) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (to !== undefined) dots[clamp(to, 0, dots.length - 1)].focus();
    else if (!locked) { put(i, heights[i] + by); update(); changed(); }
  }

  // A stroke sets the points that it passes; a fast stroke has few events, so the way between two of them counts.
  let last = null;
  const pointed = event => {
    const frame = plot.getBoundingClientRect(), scale = box.width / frame.width;
    return [box.back((event.clientX - frame.left) * scale, form.x), box.up((event.clientY - frame.top) * scale, form.y)];
  };
  const stroke = event => {
    const [x, y] = pointed(event), [x0, y0] = last;
    places.forEach((place, i) => {
      if (place >= Math.min(x, x0) && place <= Math.max(x, x0)) put(i, x === x0 ? y : y0 + (y - y0) * (place - x0) / (x - x0));
    });
    last = [x, y];
    follow();
    update();
    changed();
  };
  plot.addEventListener("pointerdown", event => {
    if (locked || event.button !== 0) return;
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
    last = pointed(event);
    const i = range(places.length).reduce((best, j) => (Math.abs(places[j] - last[0]) < Math.abs(places[best] - last[0]) ? j : best), 0);
    put(i, last[1]);
    update();
    dots[i].focus({ preventScroll: true });
    changed();
  });
  plot.addEventListener("pointermove", event => { if (last) stroke(event); });
  for (const end of ["pointerup", "pointercancel"]) plot.addEventListener(end, () => { last = null; });
  new ResizeObserver(() => { if (box === null || boxOf(view.root.clientWidth - 30, form).width !== box.width) build(); }).observe(view.root);
  build();
  return { part: plot, more: clear, draft: () => (drawn ? heights : null), text: () => "the curve above",
    show,
    lock(value) { locked = value; plot.classList.toggle("gf-locked", value); update(); dots.forEach(dot => dot.setAttribute("aria-disabled", value)); } };
}

/** The plotting area for a width, with room for the numbers at the y axis, and the ways from numbers to pixels and back. */
function boxOf(available, form) {
  const width = clamp(Math.floor(available), 260, 620), height = Math.round(clamp(width / 2, 200, 290));
  const left = Math.max(50, 20 + 8 * Math.max(...axisTicks(form.y).map(y => short(y).length))), right = width - 22, top = 28, bottom = height - 42;
  return { width, height, left, right, top, bottom,
    across: (x, [a, b]) => left + (right - left) * (x - a) / (b - a), down: (y, [a, b]) => bottom - (bottom - top) * (y - a) / (b - a),
    back: (px, [a, b]) => a + (b - a) * (px - left) / (right - left), up: (px, [a, b]) => a + (b - a) * (bottom - px) / (bottom - top) };
}

/** Four to eight round numbers between two ends. */
function axisTicks([a, b]) {
  const rough = (b - a) / 5, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.99);
  return range(Math.floor(b / step + 1e-9) - Math.ceil(a / step - 1e-9) + 1).map(i => (Math.ceil(a / step - 1e-9) + i) * step);
}

function axesOf(box, form) {
  const label = (x, y, anchor, text) => svg("text", { x, y, "text-anchor": anchor, "aria-hidden": "true" }, text);
  return [
    svg("rect", { class: "gf-area", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }),
    ...axisTicks(form.y).flatMap(y => [svg("path", { class: "gf-grid", d: `M${box.left},${box.down(y, form.y)}H${box.right}` }), label(box.left - 11, box.down(y, form.y) + 4, "end", short(y))]),
    ...axisTicks(form.x).flatMap(x => [svg("path", { class: "gf-tick", d: `M${box.across(x, form.x)},${box.bottom}v5` }), label(box.across(x, form.x), box.bottom + 18, "middle", short(x))]),
    label(2, 14, "start", form.ylabel), label((box.left + box.right) / 2, box.height - 5, "middle", form.xlabel),
  ];
}
