// Knock-out lab. The page has all stored runs, so that switching needs no kernel; by `running` it asks the kernel to
// start a run, or to stop it.

const QUANTITIES = { accuracy: "accuracy", loss: "loss", time: "relative time" };
const LABELS = { accuracy: "accuracy on held-out text, higher is better", loss: "loss on held-out text in nats, lower is better", time: "time of a step, BERT = 1, lower is better" };
const DIGITS = { accuracy: 3, loss: 3, time: 2 };
const H = 230, LEFT = 52, RIGHT = 14, TOP = 10, BOTTOM = 42; // of the curves, in pixels
const PATIENCE = 2000; // ms without an answer until the kernel must be busy with a cell

const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
const whole = x => Math.round(x).toLocaleString("en-US");
const minus = text => text.replace("-", "−");
const signed = (x, digits) => (x > 0 ? "+" : "") + minus(fixed(x, digits));
const listed = names => [names.slice(0, -1).join(", "), names.at(-1)].filter(part => part).join(" and ");
const seeds = n => (n === 1 ? "one seed" : `${n} seeds`);
/** The number of switches that differ. */
const distance = (a, b) => a.filter(name => !b.includes(name)).length + b.filter(name => !a.includes(name)).length;

/** An estimate as text: its mean and half the width of its interval, if there is one. */
function estimate([mean, margin], quantity, write = (x, digits) => minus(fixed(x, digits))) {
  return write(mean, DIGITS[quantity]) + (margin === null ? "" : ` ±\u00a0${fixed(margin, DIGITS[quantity])}`);
}

/** BERT or Modern, whichever fewer switches lead to. */
function nearestEnd(view, on) {
  const [bert, modern] = Object.entries(view.get("ends"));
  return distance(modern[1], on) < distance(bert[1], on) ? modern : bert;
}

/** What a combination is called. */
function nameOf(view, on) {
  const [end, switches] = nearestEnd(view, on);
  const without = switches.filter(name => !on.includes(name)), more = on.filter(name => !switches.includes(name));
  const changes = [without.length && `without ${listed(without)}`, more.length && `with ${listed(more)}`].filter(part => part);
  return `${end} ${changes.join(", ")}`.trim();
}

/** The switches after one was flipped; of those that exclude each other the others go off. */
function flipped(view, name) {
  const on = new Set(view.get("on")), exclusive = view.get("exclusive");
  if (!on.delete(name)) {
    if (exclusive.includes(name)) exclusive.forEach(other => on.delete(other));
    on.add(name);
  }
  return view.get("switches").map(([each]) => each).filter(each => on.has(each));
}

const storedRun = (view, on) => view.get("stored").find(run => same(run.on, on));
const liveRuns = (view, on) => view.get("live").filter(run => same(run.on, on));
/** The run that the kernel is making; a page without kernel has none. */
const current = view => (view.alone ? undefined : view.get("live").find(run => run.state === "running"));
/** What a run was evaluated to last, or undefined. */
const lastValue = ({ curve }, quantity) => curve.at(-1)?.[{ loss: 1, accuracy: 2 }[quantity]];

/** The combination that is described: the row under the pointer or the focus, otherwise that of the switches. */
function preview(view) {
  let peeked = null;
  const listeners = [];
  return {
    on: () => peeked ?? view.get("on"),
    is: () => peeked !== null && !same(peeked, view.get("on")),
    peek(on) { peeked = on; listeners.forEach(f => f()); },
    watch(names, f) { listeners.push(f); view.watch(names, f); },
  };
}

function switchList(view, glance) {
  const rows = view.get("switches").map(([name, does]) => {
    const what = h("span", { id: newId(), class: "kl-does" }, does);
    const input = h("input", { type: "checkbox", role: "switch", "aria-describedby": what.id, change: () => view.set({ on: flipped(view, name) }) });
    return { name, input, row: h("li", {}, labeled(name, input), what) };
  });
  glance.watch(["on"], () => rows.forEach(({ name, input, row }) => {
    input.checked = view.get("on").includes(name);
    row.classList.toggle("kl-differs", glance.on().includes(name) !== input.checked);
  }));
  const years = { BERT: "BERT, 2018", Modern: "Modern, 2024" };
  const presets = Object.entries(view.get("ends")).map(([end, on]) => {
    const press = button(years[end] ?? end, () => view.set({ on }));
    view.watch(["on"], () => press.setAttribute("aria-pressed", same(on, view.get("on"))));
    return press;
  });
  return [h("div", { class: "bl-bar kl-presets" }, presets), h("ul", { class: "kl-switches", "aria-label": "switches" }, rows.map(({ row }) => row))];
}

// ── the run of one's own ──

/** The stored combinations with the fewest other switches, as buttons. */
function nearest(view, refuge) {
  const on = view.get("on"), far = run => distance(run.on, on);
  const runs = [...view.get("stored")].sort((a, b) => far(a) - far(b)), least = far(runs[0]);
  const close = runs.filter(run => far(run) === least).slice(0, 4);
  return close.map(run => button(run.name, () => { view.set({ on: run.on }); refuge().focus(); }));
}

/** How far the run in progress is, in words. */
function progressText({ step, until, seconds }) {
  const left = step ? ` · ${whole(seconds / step * (until - step))} s left` : " · getting ready";
  return `step ${whole(step)} of ${whole(until)} · ${whole(seconds)} s${left}`;
}

/** What can be said of the chosen combination's runs. */
function standing(view) {
  const stored = storedRun(view, view.get("on")), live = liveRuns(view, view.get("on"));
  if (stored) return `This combination is stored: ${seeds(stored.values.accuracy.length)}. Flip more switches for one that is not${view.alone ? "" : "; you can run that here"}.`;
  const made = live.filter(run => run !== current(view) && run.curve.length).length;
  return made ? `This combination is not stored; ${seeds(made)} ${made === 1 ? "was" : "were"} run here, just now.` : "This combination is not stored.";
}

/** Says whether the chosen combination is stored, and runs it otherwise. `refuge()` takes the focus of a button that goes. */
function runBox(view, refuge) {
  const text = h("p"), close = h("div", { class: "kl-nearest" }), hint = h("span", { class: "bl-quiet" });
  const bar = h("progress", { "aria-label": "steps done" }), steps = h("span", { class: "bl-number" });
  const press = button("", () => { view.set({ running: !view.get("running") }); wait(); });
  const progress = h("div", { class: "kl-progress" }, bar, steps), action = h("div", { class: "bl-control" }, press, hint);
  let busy = false, timer = null;
  const wait = () => { clearTimeout(timer); busy = false; timer = setTimeout(() => { busy = view.get("running") && !current(view); write(); }, PATIENCE); };
  const unanswered = () => (busy ? "Waiting for the cell that is running; the run starts when it has finished." : "asking the kernel …");
  const write = () => {
    const stored = storedRun(view, view.get("on")), running = !view.alone && view.get("running"), run = current(view);
    text.textContent = standing(view);
    close.hidden = progress.hidden = true;
    if (!stored) { close.replaceChildren("Nearest: ", ...nearest(view, refuge)); close.hidden = false; }
    if (run) { Object.assign(bar, { max: run.until, value: run.step }); steps.textContent = `${nameOf(view, run.on)}: ${progressText(run)}`; progress.hidden = false; }
    const idle = !running && (stored || view.alone);
    if (idle && press === document.activeElement) refuge().focus();
    press.hidden = idle;
    press.textContent = running ? "■ Stop" : liveRuns(view, view.get("on")).length ? "▶ Run another seed" : "▶ Run it here";
    if (running) hint.textContent = run ? "" : unanswered();
    else if (run) hint.textContent = "Stopping. A cell that is running has to finish first.";
    else if (stored) hint.textContent = "";
    else hint.textContent = view.alone ? "Running it needs a running notebook." : `about ${Math.max(1, Math.round(view.get("minutes")))} min on one core`;
  };
  view.watch(["on", "live", "running", "stored"], write);
  const problem = h("p", { class: "bl-problem" });
  view.watch(["problem"], () => { problem.textContent = view.get("problem") && `⚠ ${shown(view.get("problem"))}`; });
  return h("div", { class: "kl-run" }, text, close, action, progress, problem);
}

// ── the numbers ──

/** The cells of one quantity: its value, and the differences to BERT and to Modern. */
function cells(view, on, quantity) {
  const stored = storedRun(view, on), ends = Object.keys(view.get("ends"));
  if (stored) return [estimate(stored.estimates[quantity], quantity), ...ends.map(end => (same(on, view.get("ends")[end]) ? "–" : estimate(stored.off[end][quantity], quantity, signed)))];
  const value = liveRuns(view, on).map(run => lastValue(run, quantity)).findLast(x => x !== undefined);
  if (value === undefined) return ["–", "–", "–"];
  const means = ends.map(end => storedRun(view, view.get("ends")[end]).estimates[quantity][0]);
  return [fixed(value, DIGITS[quantity]), ...means.map(mean => signed(value - mean, DIGITS[quantity]))];
}

/** Where the numbers come from. */
function origin(view, on) {
  const stored = storedRun(view, on), run = liveRuns(view, on).findLast(each => each.curve.length);
  if (stored) return (stored.values.accuracy.length > 1 ? "mean of " : "") + seeds(stored.values.accuracy.length);
  if (!run) return "no run yet";
  return run.state === "done" ? "one seed, just now" : `one seed, at step ${whole(run.curve.at(-1)[0])}`;
}

function numbersTable(view, glance) {
  const title = h("p", { class: "bl-title" }), source = h("th", { scope: "col" }), rows = Object.keys(QUANTITIES).map(quantity => ({ quantity, cells: range(3).map(() => h("td")) }));
  const heads = Object.keys(view.get("ends")).map(end => h("th", { scope: "col" }, `difference to ${end}`));
  glance.watch(["on", "stored", "live"], () => {
    const on = glance.on();
    title.textContent = nameOf(view, on);
    title.classList.toggle("kl-preview", glance.is());
    source.textContent = origin(view, on);
    rows.forEach(({ quantity, cells: parts }) => cells(view, on, quantity).forEach((text, i) => { parts[i].textContent = text; }));
  });
  return h("div", { class: "kl-numbers" }, title, h("table", {}, h("thead", {}, h("tr", {}, h("td"), source, heads)),
    h("tbody", {}, rows.map(({ quantity, cells: parts }) => h("tr", {}, h("th", { scope: "row" }, quantity), parts)))));
}

// ── the plot of all combinations: a list box whose rows are drawn ──

/** What a row is called beside others of its group: the switch that was changed. */
function shortName(view, { on, end }) {
  const base = view.get("ends")[end], added = on.filter(name => !base.includes(name)), gone = base.filter(name => !on.includes(name));
  return added.length ? `+ ${added[0]}` : gone.length ? `− ${gone[0]}` : end;
}

/** The rows of one's own: a combination that was run here, or that the switches show and is not stored. */
function ownRows(view, quantity) {
  const combinations = [...view.get("live").map(run => run.on), view.get("on")].filter(on => !storedRun(view, on));
  const unique = combinations.filter((on, i) => combinations.findIndex(other => same(on, other)) === i);
  return unique.map(on => {
    const values = liveRuns(view, on).map(run => lastValue(run, quantity)).filter(x => x !== undefined);
    return { on, name: nameOf(view, on), label: nameOf(view, on), values, text: values.length ? fixed(values.at(-1), DIGITS[quantity]) : "no run" };
  });
}

function storedRows(view, end, quantity) {
  return view.get("stored").filter(run => run.end === end).map(run => {
    const [mean, margin] = run.estimates[quantity];
    return { on: run.on, name: run.name, label: shortName(view, run), values: run.values[quantity], mean, margin, text: minus(fixed(mean, DIGITS[quantity])) };
  });
}

/** The groups of rows, each with the mean of BERT or of Modern as its line. */
function groupsOf(view) {
  const quantity = view.get("quantity"), base = end => storedRun(view, view.get("ends")[end]).estimates[quantity][0];
  const groups = [
    { kind: "bert", title: "BERT, and one switch on", rows: storedRows(view, "BERT", quantity), line: base("BERT") },
    { kind: "modern", title: "Modern, and one switch changed", rows: storedRows(view, "Modern", quantity), line: base("Modern") },
    { kind: "own", title: "Run here, one seed each", rows: ownRows(view, quantity), line: null }];
  return groups.filter(({ rows }) => rows.length);
}

/** A function that places a value on the axis, in per cent, and the axis's round numbers. */
function scale(groups) {
  const rows = groups.flatMap(group => group.rows);
  const all = rows.flatMap(({ values, mean, margin }) => [...values, ...(margin ? [mean - margin, mean + margin] : [])]);
  const low = Math.min(...all), high = Math.max(...all), room = 0.03 * (high - low || Math.abs(high) || 1);
  const at = value => (value - low + room) / (high - low + 2 * room) * 100;
  return { at, marks: ticks(low - room, high + room).map(([value, digits]) => [at(value), minus(value.toFixed(digits))]) };
}

const placed = (kind, left, width = null) => h("span", { class: kind, style: `left: ${left.toFixed(2)}%${width === null ? "" : `; width: ${width.toFixed(2)}%`}` });

function drawRow(view, { on, name, label, values, mean, margin, text }, i, at) {
  const interval = margin ? [placed("kl-interval", at(mean - margin), at(mean + margin) - at(mean - margin))] : [];
  const middle = mean === undefined ? [] : [placed("kl-mean", at(mean))];
  return h("div", { role: "option", id: newId(), class: "kl-row", "data-i": i, "aria-selected": String(same(on, view.get("on"))), "aria-label": `${name}: ${text}`, title: name },
    h("span", { class: "kl-label" }, label), h("span", { class: "kl-track" }, interval, middle, values.map(value => placed("kl-seed", at(value)))), h("span", { class: "kl-value bl-number" }, text));
}

/** Draw all groups; returns the elements of the groups, those of the rows, and the axis. */
function drawGroups(view, groups) {
  const { at, marks } = scale(groups);
  let i = 0;
  const drawn = groups.map(({ kind, title, rows, line }) => {
    const elements = rows.map(row => drawRow(view, row, i++, at));
    const back = h("div", { class: "kl-back", "aria-hidden": "true" }, marks.map(([left]) => placed("kl-mark", left)), line === null ? null : placed("kl-line", at(line)));
    return { elements, group: h("div", { role: "group", "aria-label": title, class: `kl-group kl-${kind}` }, h("p", { class: "kl-title", "aria-hidden": "true" }, title), back, elements) };
  });
  return { groups: drawn.map(({ group }) => group), elements: drawn.flatMap(({ elements }) => elements), axis: marks.map(([left, text]) => h("span", { style: `left: ${left.toFixed(2)}%` }, text)) };
}

/** The list box: the pointer or the arrow keys preview a row; a click, Enter or the space bar sets its switches. */
function plot(view, glance) {
  const list = h("div", { class: "kl-plot", role: "listbox", tabindex: 0, "aria-label": "combinations; choose one to set its switches" });
  const axis = h("div", { class: "kl-axis", "aria-hidden": "true" }), label = h("p", { class: "kl-quantity bl-quiet" });
  let rows = [], elements = [], at = 0, before = "";
  const go = (i, focused) => {
    at = clamp(i, 0, rows.length - 1);
    elements.forEach((element, j) => element.classList.toggle("kl-at", focused && j === at));
    if (focused) list.setAttribute("aria-activedescendant", elements[at].id);
    glance.peek(focused ? rows[at].on : null);
  };
  const choose = () => view.set({ on: rows[at].on });
  const rowOf = event => event.target.closest("[data-i]")?.dataset.i;
  const isFocused = () => document.activeElement === list;
  list.addEventListener("pointermove", event => { const i = rowOf(event); if (i !== undefined && (Number(i) !== at || !glance.is())) go(Number(i), true); });
  list.addEventListener("pointerleave", () => go(at, false));
  list.addEventListener("click", event => { const i = rowOf(event); if (i !== undefined) { go(Number(i), true); choose(); } });
  list.addEventListener("focus", () => go(Math.max(0, rows.findIndex(row => same(row.on, view.get("on")))), true));
  list.addEventListener("blur", () => go(at, false));
  list.addEventListener("keydown", event => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 5, PageUp: -5, Home: -1e9, End: 1e9, Enter: 0, " ": 0 }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(at + by, true);
    if (by === 0) choose();
  });
  view.watch(["stored", "live", "quantity", "on"], () => {
    const key = JSON.stringify([view.get("quantity"), view.get("on"), view.get("live").map(run => [run.on, run.curve])]);
    if (key === before) return; // so that the progress of a run does not replace a row that is being clicked
    before = key;
    const groups = groupsOf(view), drawn = drawGroups(view, groups);
    [rows, elements] = [groups.flatMap(group => group.rows), drawn.elements];
    list.replaceChildren(...drawn.groups);
    axis.replaceChildren(...drawn.axis);
    label.textContent = LABELS[view.get("quantity")];
    go(at, isFocused());
  });
  return { list, part: h("section", { class: "kl-all", "aria-label": "all combinations" }, label, list, axis) };
}

// ── learning curves ──

/** The curves to draw: BERT, Modern, the described combination, and the runs made here. */
function curvesOf(view, on) {
  const ends = Object.entries(view.get("ends")).map(([end, switches]) => ({ kind: end === "BERT" ? "bert" : "modern", name: end, curve: storedRun(view, switches).curve }));
  const stored = storedRun(view, on), isEnd = Object.values(view.get("ends")).some(switches => same(switches, on));
  const chosen = stored && !isEnd ? [{ kind: "chosen", name: stored.name, curve: stored.curve }] : [];
  const live = view.get("live").filter(run => run.curve.length)
    .map(run => ({ kind: same(run.on, on) ? "chosen kl-live" : "other kl-live", name: `${nameOf(view, run.on)}, one seed, just now${run.state === "stopped" ? `, stopped at step ${whole(run.step)}` : ""}`, curve: run.curve }));
  return [...ends, ...chosen, ...live];
}

/** The functions that place a step and a value in the picture, and the axes. */
function frame(points, W) {
  const steps = points.map(([step]) => step), values = points.map(([, value]) => value), most = Math.max(...steps);
  const low = Math.min(...values), high = Math.max(...values), room = 0.08 * (high - low || 1);
  const x = step => LEFT + step / most * (W - LEFT - RIGHT), y = value => H - BOTTOM - (value - low + room) / (high - low + 2 * room) * (H - TOP - BOTTOM);
  const across = ticks(low - room, high + room).flatMap(([value, digits]) => [
    svg("line", { class: "kl-grid", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value) }), svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(digits))]);
  const below = [...new Set(steps)].filter(step => x(step) - LEFT > 30).map(step => svg("text", { x: x(step), y: H - BOTTOM + 18, "text-anchor": step === most ? "end" : "middle" }, whole(step)));
  return { x, y, axes: [...across, ...below, svg("text", { x: (LEFT + W) / 2, y: H - 5, "text-anchor": "middle", class: "bl-quiet" }, "step")] };
}

function drawCurve({ kind, curve }, column, x, y) {
  const points = curve.map(point => [x(point[0]), y(point[column])]);
  return svg("g", { class: `kl-curve kl-${kind}` }, svg("polyline", { points: points.map(pair => pair.join(",")).join(" ") }), points.map(([cx, cy]) => svg("circle", { cx, cy, r: 4 })));
}

function curves(view, glance) {
  const title = h("p", { class: "bl-title" }), names = h("ul", { class: "bl-legend kl-names", "aria-label": "curves" }), picture = svg("svg", { height: H, role: "img" }), box = h("div", {}, picture);
  const sample = kind => svg("svg", { viewBox: "0 0 28 10", class: "kl-sample", "aria-hidden": "true" }, svg("g", { class: `kl-curve kl-${kind}` }, svg("polyline", { points: "0,5 28,5" })));
  glance.watch(["on", "stored", "live", "quantity", "size"], () => {
    const quantity = view.get("quantity") === "loss" ? "loss" : "accuracy", column = quantity === "loss" ? 1 : 2, all = curvesOf(view, glance.on()), W = widthOf(box, 600);
    const { x, y, axes } = frame(all.flatMap(({ curve }) => curve.map(point => [point[0], point[column]])), W);
    title.textContent = `While learning: ${quantity} on held-out text${quantity === "loss" ? " (nats)" : ""}`;
    picture.setAttribute("width", W);
    picture.setAttribute("aria-label", `${quantity} by step: ${all.map(({ name, curve }) => `${name} ${curve.map(point => fixed(point[column], 3)).join(", ")}`).join("; ")}`);
    picture.replaceChildren(...axes, ...all.map(each => drawCurve(each, column, x, y)));
    names.replaceChildren(...all.map(({ kind, name }) => h("li", {}, sample(kind), name)));
  });
  return h("section", { class: "kl-curves", "aria-label": "learning curves" }, title, names, box);
}

function tell(view, glance) {
  const on = glance.on(), quantity = view.get("quantity"), [value, ...off] = cells(view, on, quantity), ends = Object.keys(view.get("ends"));
  if (value === "–") return `${nameOf(view, on)}: ${quantity === "time" && liveRuns(view, on).length ? "its time was not compared with BERT’s." : "no run yet."}`;
  const differences = off.map((text, i) => [text, ends[i]]).filter(([text]) => text !== "–").map(([text, end]) => `${text} from ${end}`);
  return `${nameOf(view, on)}: ${QUANTITIES[quantity]} ${value} (${quantity === "time" ? "BERT = 1" : origin(view, on)}); ${differences.join(", ")}.`;
}

function draw(view) {
  const glance = preview(view), { list, part } = plot(view, glance), sample = kind => h("span", { class: `kl-key ${kind}`, "aria-hidden": "true" });
  view.root.append(
    cardHead("Knock-out lab", "From BERT to a modern recipe, one switch at a time: the same small model, text and number of steps. Flip switches, or choose a row."),
    h("div", { class: "kl-parts" },
      h("section", { class: "kl-left", "aria-label": "switches" }, ...switchList(view, glance), runBox(view, () => list)),
      h("div", { class: "kl-right" }, h("div", { class: "bl-bar" }, choice(view, "Show", "quantity", QUANTITIES)), numbersTable(view, glance),
        cardLegend([sample("kl-seed"), "one seed"], [sample("kl-interval"), "95 % interval of the mean"], [sample("kl-line"), "BERT or Modern itself"], ["bl-chosen", "as the switches are"]), part),
      curves(view, glance)));
  glance.watch(["on", "stored", "live", "quantity"], () => view.say(tell(view, glance)));
}
