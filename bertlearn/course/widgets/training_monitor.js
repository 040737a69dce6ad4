// Training monitor. The kernel sends records and progress; the page sends a stop request and what is chosen.

const H = 320, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 46; // of the plot, in pixels; it is as wide as the card
const REACH = 2; // standard deviations on either side of the band's mean
const MANY = 60; // a curve with more points than this is drawn without dots
const PATIENCE = 2000; // ms without an answer until the kernel counts as unresponsive
const AXES = { loss: "loss (nats)", accuracy: "accuracy", "learning rate": "learning rate", gradient: "gradient norm before clipping" };
const WHERE = { inside: "● inside the band", above: "▲ above the band", below: "▼ below the band" };
const DOTS = { inside: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", above: "M0-6L6 5H-6z", below: "M0 6L6-5H-6z" };

const whole = x => Math.round(x).toLocaleString("en");
const time = s => (s < 60 ? `${Math.round(s)} s` : `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`);
const written = (quantity, value) => (quantity === "learning rate" ? String(Number(value.toPrecision(3))) : fixed(value));
const kind = name => (name.startsWith("held-out") ? "held" : name.startsWith("training") ? "train" : "plain");
/** The number of each curve's color: those of training curves come after the held-out ones, also before these begin. */
const colors = names => names.map((name, i) => i + (names.every(each => kind(each) === "train") ? names.length : 0));

/** All steps that have a record. */
function recorded(view) {
  const steps = Object.values(view.get("curves")).flatMap(curves => Object.values(curves)).flat().map(([step]) => step);
  return [...new Set(steps)].sort((a, b) => a - b);
}

/** The step whose numbers are shown: the chosen one, or the newest. */
const chosen = view => view.get("step") ?? recorded(view).at(-1) ?? null;

/** The values of a quantity's curves at a step, by name. */
function valuesAt(view, quantity, step) {
  const values = Object.entries(view.get("curves")[quantity] ?? {}).map(([name, points]) => [name, points.find(([x]) => x === step)?.[1]]);
  return values.filter(([, value]) => value !== undefined);
}

/** What is drawn now in this width, and the functions that place a step and a value in the plot. */
function layout(view, W) {
  const quantity = view.get("quantity"), loss = quantity === "loss", { first, until } = view.get("progress");
  const curves = Object.entries(view.get("curves")[quantity] ?? {}), { steps = [], mean, std } = view.get("band");
  const band = loss ? steps.map((step, i) => [step, mean[i] - REACH * std[i], mean[i] + REACH * std[i]]) : [];
  const lines = loss ? Object.entries(view.get("lines")) : [];
  const xs = [first ?? steps[0] ?? 0, until ?? steps.at(-1) ?? 1, ...band.map(([x]) => x)];
  const ys = [...curves.flatMap(([, points]) => points.map(([, y]) => y)), ...band.flatMap(([, ...ends]) => ends), ...lines.map(([, y]) => y)];
  const between = (values, spread) => {
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1], room = spread * (high - low || Math.abs(high) || 1);
    return [low - room, high + room];
  };
  const [x0, x1] = between(xs, 0), [y0, y1] = between(ys, 0.06);
  return {
    W, quantity, curves, band, lines, x0, x1, y0, y1,
    x: step => LEFT + (step - x0) / (x1 - x0 || 1) * (W - LEFT - RIGHT),
    y: value => H - BOTTOM - (value - y0) / (y1 - y0) * (H - TOP - BOTTOM),
  };
}

function drawAxes({ W, quantity, x, y, x0, x1, y0, y1 }) {
  const marks = ticks(y0, y1).flatMap(([value, digits]) => [
    svg("line", { class: "mo-grid", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(digits))]);
  const below = ticks(x0, x1).map(([step]) => svg("text", { x: x(step), y: H - BOTTOM + 18, "text-anchor": x(step) > W - 36 ? "end" : "middle" }, whole(step)));
  return [...marks, ...below,
    svg("text", { x: (LEFT + W) / 2, y: H - 5, "text-anchor": "middle", class: "bl-quiet" }, "step"),
    svg("text", { "text-anchor": "middle", class: "bl-quiet", transform: `translate(13 ${(H - BOTTOM) / 2}) rotate(-90)` }, AXES[quantity])];
}

function drawCurves(view, { W, curves, band, lines, x, y }) {
  const path = points => points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L");
  const where = Object.fromEntries(view.get("evaluations").map(evaluation => [evaluation.step, evaluation.where]));
  const crowded = height => lines.some(([, other]) => other > height && y(height) - y(other) < 18);
  const parts = lines.map(([, height]) => svg("line", { class: "mo-line", x1: LEFT, x2: W - RIGHT, y1: y(height), y2: y(height) }));
  const names = lines.map(([name, height]) => svg("text", { class: "mo-name", x: W - RIGHT, y: y(height) + (crowded(height) ? 15 : -5), "text-anchor": "end" }, shown(name)));
  if (band.length) {
    const around = [...band.map(([step, low]) => [step, low]), ...band.map(([step, , high]) => [step, high]).reverse()];
    parts.unshift(svg("path", { class: "mo-band", d: `M${path(around)}Z` }));
  }
  const hues = colors(curves.map(([name]) => name));
  curves.forEach(([name, points], nth) => {
    const i = hues[nth];
    parts.push(svg("path", { class: `mo-curve mo-${i} mo-${kind(name)}`, d: `M${path(points)}` }));
    const kinds = view.get("quantity") === "loss" && nth === 0 ? where : {};
    if (points.length === 1 || (kind(name) === "held" && points.length <= MANY))
      parts.push(...points.map(([step, value]) => svg("path", { class: `mo-dot mo-${i}`, d: DOTS[kinds[step] ?? "inside"], transform: `translate(${x(step)} ${y(value)})` })));
  });
  return [...parts, ...names];
}

function drawCursor(view, { quantity, curves, x, y }) {
  const step = chosen(view);
  if (step === null) return [];
  const rings = curves.flatMap(([, points]) => points.filter(([a]) => a === step).map(([, value]) => svg("circle", { class: "mo-ring", cx: x(step), cy: y(value), r: 7 })));
  return [svg("line", { class: "mo-cursor", x1: x(step), x2: x(step), y1: TOP, y2: H - BOTTOM }), ...rings];
}

/** The plot, which is also a slider over the recorded steps: by pointer, arrow keys, Home and End. */
function plot(view) {
  const still = svg("g", {}), cursor = svg("g", {});
  const picture = svg("svg", { height: H, "aria-hidden": "true" }, still, cursor);
  const element = h("div", { class: "mo-plot", role: "slider", tabindex: 0, "aria-label": "step whose numbers are shown" }, picture);
  let now = layout(view, 600);
  const pick = i => {
    const steps = recorded(view), index = clamp(i, 0, steps.length - 1);
    const step = index >= steps.length - 1 ? null : steps[index];
    if (step !== view.get("step")) view.set({ step });
  };
  element.addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    pick(recorded(view).indexOf(chosen(view)) + by);
  });
  element.addEventListener("pointermove", event => {
    const box = picture.getBoundingClientRect(), x = event.clientX - box.left;
    const distances = recorded(view).map(step => Math.abs(now.x(step) - x));
    pick(distances.indexOf(Math.min(...distances)));
  });
  element.addEventListener("pointerleave", () => pick(Infinity)); // back to the newest
  view.watch(["curves", "evaluations", "band", "lines", "quantity", "phase", "size"], () => {
    now = layout(view, widthOf(element, 600));
    picture.setAttribute("width", now.W);
    still.replaceChildren(...drawAxes(now), ...drawCurves(view, now));
  });
  view.watch(["curves", "quantity", "phase", "step", "size"], () => {
    cursor.replaceChildren(...drawCursor(view, now));
    const steps = recorded(view), step = chosen(view);
    const values = { valuemin: steps[0] ?? 0, valuemax: steps.at(-1) ?? 0, valuenow: step ?? 0, valuetext: step === null ? "no step yet" : `step ${step}` };
    for (const [name, value] of Object.entries(values)) element.setAttribute(`aria-${name}`, value);
  });
  return element;
}

/** The names of the curves, each with its line and its value at the step that is shown. */
function legend(view) {
  const list = h("ul", { class: "bl-legend mo-legend", "aria-label": "curves" });
  const sample = classes => svg("svg", { viewBox: "0 0 28 10", class: "mo-sample", "aria-hidden": "true" }, svg("path", { class: classes, d: "M0 5H28" }));
  view.watch(["curves", "quantity", "step", "band"], () => {
    const quantity = view.get("quantity"), values = Object.fromEntries(valuesAt(view, quantity, chosen(view)));
    const curves = Object.keys(view.get("curves")[quantity] ?? {}), hues = colors(curves);
    const items = curves.map((name, i) => h("li", {}, sample(`mo-curve mo-${hues[i]} mo-${kind(name)}`), name,
      h("span", { class: "bl-number" }, name in values ? written(quantity, values[name]) : "–")));
    if (quantity === "loss" && Object.keys(view.get("lines")).length) items.push(h("li", {}, sample("mo-line"), "losses to compare with"));
    if (quantity === "loss" && view.get("band").steps) items.push(h("li", {}, sample("mo-curve mo-wide"), `the band: other seeds, mean ± ${REACH} std`));
    list.replaceChildren(...items);
  });
  return list;
}

/** The progress of the run; these numbers change several times a second and are not read aloud. */
function progressLine(view) {
  const bar = h("progress", { "aria-label": "steps done" }), text = h("span", { class: "bl-number" });
  view.watch(["progress", "phase"], () => {
    const { first, step, until, seconds, speed, left } = view.get("progress"), begun = step !== undefined;
    Object.assign(bar, { max: begun ? until - first || 1 : 1, value: begun ? step - first : 0 });
    const tokens = speed ? [`${whole(speed)} tokens a second`] : [];
    const rest = view.get("phase") !== "running" ? [`took ${time(seconds ?? 0)}`] : left === null ? [] : [`${time(left)} left`];
    const state = { stopped: "stopped at ", done: "done: " }[view.get("phase")] ?? "";
    text.textContent = begun ? [`${state}step ${whole(step)} of ${whole(until)}`, ...tokens, ...rest].join(" · ") : "no step yet";
  });
  return h("span", { class: "bl-control" }, bar, text);
}

/** The stop button, while there is something to stop. */
function stopper(view, refuge) {
  const hint = h("span", { class: "bl-quiet", role: "status" });
  let unresponsive = false;
  const press = button("■ Stop", () => {
    view.set({ stop: true });
    setTimeout(() => { unresponsive = !view.get("heard"); write(); }, PATIENCE);
  }, { disabled: view.alone });
  const box = h("div", { class: "bl-bar" }, press, hint);
  const write = () => {
    if (view.get("phase") !== "running" && box.contains(document.activeElement)) refuge.focus();
    box.hidden = view.get("phase") !== "running";
    if (view.alone) hint.textContent = "needs a running notebook";
    else if (!view.get("stop")) hint.textContent = "ends the run after the step in progress, with a checkpoint if it has a folder; the notebook’s own stop button does the same";
    else if (view.get("heard")) hint.textContent = "received: the run ends after the step in progress";
    else hint.textContent = unresponsive ? "no answer: press the notebook’s own stop button ■" : "asking the kernel …";
  };
  view.watch(["phase", "stop", "heard"], write);
  return box;
}

/** All numbers of the chosen step as sentences, and where its loss lies relative to the band. */
function tell(view) {
  const step = chosen(view), phase = view.get("phase"), evaluations = view.get("evaluations");
  if (step === null) return phase === "waiting" ? "No step yet: run the cell that trains." : "The first numbers come after a few steps.";
  const named = (quantity, [name, value]) => written(quantity, value) + (name === quantity ? "" : ` (${name})`);
  const numbers = Object.keys(AXES).map(quantity => [quantity, valuesAt(view, quantity, step)]).filter(([, values]) => values.length);
  const sentences = [`Step ${whole(step)}: ${numbers.map(([quantity, values]) => `${quantity} ${values.map(pair => named(quantity, pair)).join(", ")}`).join("; ")}.`];
  const { where, off } = evaluations.find(evaluation => evaluation.step === step) ?? {};
  if (where) sentences.push(`The held-out loss is ${where} the band, ${fixed(Math.abs(off), 1)} standard deviations ${off < 0 ? "below" : "above"} its mean.`);
  if (evaluations.length) sentences.push(`${evaluations.filter(evaluation => evaluation.where === "inside").length} of ${evaluations.length} evaluations are inside.`);
  return sentences.join(" ");
}

function draw(view) {
  const badge = h("span", { class: "mo-badge" }), chart = plot(view);
  view.watch(["evaluations", "step", "curves"], () => {
    const step = chosen(view), last = view.get("evaluations").findLast(evaluation => evaluation.step <= step);
    badge.textContent = last ? `${WHERE[last.where]}${last.step === step ? "" : ` at step ${whole(last.step)}`}` : "";
  });
  view.root.append(
    cardHead(shown(view.get("title")), "Move along the curve, by pointer or with the arrow keys, to read each step; choose what to show."),
    h("div", { class: "bl-bar" }, progressLine(view), badge), stopper(view, chart),
    h("div", { class: "bl-bar" }, choice(view, "Show", "quantity", Object.fromEntries(Object.keys(AXES).map(name => [name, name])))),
    legend(view), chart);
  view.watch(["curves", "evaluations", "step", "phase"], () => view.say(tell(view)));
}
