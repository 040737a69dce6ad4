// Time machine. The kernel runs all snapshots on a text once; moving between them needs no kernel.

const SCALE = 65535, PACE = 1200; // ms per snapshot while it plays
const count = n => n.toLocaleString("en-US");

/** The fields for the text and its right words; a late answer does not change a newer text. */
function ask(view) {
  const text = h("input", { type: "text", class: "tm-text", spellcheck: "false", autocomplete: "off", dir: "auto" });
  const right = h("input", { type: "text", class: "tm-right", spellcheck: "false", autocomplete: "off", dir: "auto" });
  const words = typed => typed.split(/\s+/).filter(word => word);
  text.addEventListener("input", () => { right.value = ""; });
  const { note, waits, problem } = question(view, "text", [text, right], (text, right) => ({ text, answers: words(right) }));
  view.watch(["text", "answers"], () => {
    if (waits()) return;
    text.value = view.get("text");
    if (words(right.value).join(" ") !== view.get("answers").join(" ")) right.value = view.get("answers").join(" ");
  });
  const bar = h("div", { class: "bl-bar tm-question" }, labeled("Text with [MASK]", text), labeled("Right word, if known", right), note);
  return { bar, problem };
}

/** The text itself, with the best guess in place of each [MASK]; radio buttons choose one. */
function sentence(view, at) {
  const line = h("div", { class: "tm-sentence bl-mono", role: "radiogroup", "aria-label": "the text; choose a [MASK]" });
  const name = newId();
  let chips = [];
  view.watch(["seen"], () => {
    const { tokens, masks } = view.get("seen");
    chips = masks.map((_, place) => ({ input: h("input", { type: "radio", name, value: place, change: () => view.set({ place }) }), word: h("bdi") }));
    line.replaceChildren(...range(tokens.length).slice(1, -1).map(i => {
      const chip = chips[masks.indexOf(i)];
      return chip ? h("label", { class: "tm-chip", title: "[MASK]" }, chip.input, chip.word) : h("bdi", {}, shown(tokens[i]));
    }));
  });
  view.watch(["seen", "step", "place"], () => chips.forEach(({ input, word }, place) => {
    word.textContent = shown(at.guesses(place)[0][0]);
    input.setAttribute("aria-label", `[MASK] ${place + 1} of ${chips.length}: best guess ${word.textContent}`);
    input.checked = place === view.get("place");
  }));
  return line;
}

/** A button that plays all snapshots; for readers who prefer reduced motion, each press moves to the next one. */
function player(view, at, steps) {
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null, mine = null;
  const forward = () => { mine = steps[(at.snapshot() + 1) % steps.length]; view.set({ step: mine }); };
  const play = () => {
    timer = null;
    if (view.root.isConnected) forward();
    if (view.root.isConnected && at.snapshot() < steps.length - 1) timer = setTimeout(play, PACE);
    name();
  };
  const pause = () => { clearTimeout(timer); timer = null; name(); };
  const control = button("", () => { if (reduced.matches) forward(); else if (timer === null) play(); else pause(); }, { class: "bl-button tm-play" });
  const name = () => { control.textContent = timer !== null ? "❚❚ Pause" : reduced.matches ? "Next step" : "▶ Play"; };
  view.watch(["step"], () => { if (timer !== null && view.get("step") !== mine) pause(); });
  name();
  return control;
}

/** The slider, and below each of its stops the step and the best guess. */
function timeline(view, at, steps) {
  const slide = h("input", { type: "range", min: 0, max: steps.length - 1, step: 1, input: () => view.set({ step: steps[Number(slide.value)] }) });
  const snapshots = steps.map(step => ({ step, word: h("bdi", { class: "bl-mono" }), sure: h("span", { class: "bl-quiet" }), right: h("span") }));
  const stops = snapshots.map(({ step, ...parts }) => h("li", { click: () => view.set({ step }) }, h("span", { class: "tm-step" }, count(step)), Object.values(parts)));
  view.watch(["step"], () => {
    slide.value = at.snapshot();
    slide.setAttribute("aria-valuetext", `step ${count(view.get("step"))}`);
    stops.forEach((stop, i) => { stop.className = i === at.snapshot() ? "tm-now" : ""; });
  });
  view.watch(["seen", "ranks", "place"], () => snapshots.forEach(({ word, sure, right }, i) => {
    const [guess, p] = at.guesses(view.get("place"), i)[0], answer = at.answer(i);
    word.textContent = shown(guess);
    word.title = shown(guess);
    sure.textContent = fixed(p, 2);
    right.textContent = answer ? `${answer[0] === 1 ? "✓ " : ""}#${count(answer[0])}` : "";
    right.hidden = !answer;
  }));
  const label = labeled("Step", slide);
  const below = h("span", { class: "bl-quiet" });
  view.watch(["ranks", "place"], () => {
    const right = at.answer(0) && view.get("answers")[view.get("place")];
    below.textContent = `Below each step: the best guess${right ? `, its probability, and the rank of “${shown(right)}”.` : " and its probability."}`;
  });
  return [h("div", { class: "bl-bar" }, player(view, at, steps), below), h("div", { class: "tm-track", style: `--snapshots: ${steps.length}` }, label, h("ol", {}, stops))];
}

/** The likeliest tokens as bars, and the right word with its rank. */
function guesses(view, at, steps) {
  const rows = range(view.get("seen").guesses[0][0].length + 1).map(() => ({ rank: h("span"), token: h("bdi"), p: h("span") }));
  const items = rows.map(({ rank, token, p }) => h("li", {}, rank, token, p, h("span", { class: "tm-bar", "aria-hidden": "true" })));
  const scale = h("p", { class: "bl-quiet" });
  view.watch(["seen", "ranks", "step", "place"], () => {
    const place = view.get("place"), best = at.guesses(place), answer = at.answer(at.snapshot());
    const max = Math.max(...range(steps.length).map(i => at.guesses(place, i)[0][1]));
    const fill = (i, rank, token, p, right) => {
      items[i].style.setProperty("--w", (100 * p / max).toFixed(1) + "%");
      items[i].classList.toggle("tm-answer", right);
      rows[i].rank.textContent = `${count(rank)}.`;
      rows[i].token.textContent = shown(token) + (right ? " ✓" : "");
      rows[i].p.textContent = fixed(p);
    };
    best.forEach(([token, p], i) => fill(i, i + 1, token, p, answer?.[0] === i + 1));
    const beyond = answer && answer[0] > best.length;
    items.at(-1).hidden = !beyond;
    if (beyond) fill(best.length, answer[0], view.get("answers")[place], answer[1], true);
    scale.textContent = `A full bar is ${fixed(max)}, the largest of all steps.`;
  });
  return h("section", { class: "tm-part", "aria-label": "guesses" }, h("p", { class: "bl-title" }, "Guesses for [MASK]"), h("ol", { class: "bl-mono tm-guesses" }, items), scale);
}

/** One head as a heat map, with a frame around the row of the chosen [MASK]. */
function attention(view, at) {
  const [layers, heads] = view.get("shape");
  const canvas = h("canvas", { class: "tm-map", role: "img" });
  const rows = h("ul", { class: "bl-tokens", "aria-label": "rows look" }), columns = h("ul", { class: "bl-tokens bl-top", "aria-label": "columns are looked at" });
  const cursor = h("div", { class: "tm-cursor", "aria-hidden": "true" });
  const means = h("p", { class: "tm-means" });
  const grid = h("div", { class: "tm-grid" }, h("span", { class: "bl-quiet" }, "looks ↓ at →"), columns, rows, h("div", { class: "tm-plot" }, canvas, cursor));
  view.watch(["seen"], () => {
    const { tokens, masks } = view.get("seen");
    const item = (token, i) => h("li", { class: masks.includes(i) ? "tm-masked" : "", title: `${i}: ${shown(token)}` }, h("bdi", {}, shown(token)));
    rows.replaceChildren(...tokens.map(item));
    columns.replaceChildren(...tokens.map(item));
    grid.style.setProperty("--n", tokens.length);
  });
  view.watch(["seen", "step", "layer", "head", "theme"], () => {
    const S = at.size();
    paint(canvas, S, S, (r, c) => Math.sqrt(at.weight(r, c)), shades(view.root));
    canvas.setAttribute("aria-label", `heat map of layer ${view.get("layer")}, head ${view.get("head")} at step ${count(view.get("step"))}`);
    means.textContent = `Mean weight on the token before: ${fixed(at.mean(-1), 2)}, on itself: ${fixed(at.mean(0), 2)}, on the one after: ${fixed(at.mean(1), 2)}`;
  });
  view.watch(["seen", "place"], () => cursor.style.setProperty("--place", at.masked()));
  return h("section", { class: "tm-part", "aria-label": "attention" },
    h("div", { class: "tm-heading" }, h("p", { class: "bl-title" }, "Attention"), select(view, "Layer", "layer", range(layers)), select(view, "Head", "head", range(heads))),
    grid, means);
}

/** The held-out loss over the steps, step 0 set apart, as it has no logarithm; a line marks the step. */
function lossCurve(view, at, steps) {
  const curve = view.get("curve"), known = new Map(curve), nothing = Math.log(view.get("shape")[2]);
  if (!curve.length) return null;
  const [W, H, left, bottom, top] = [306, 270, 26, 42, 12];
  const positive = [...steps, ...known.keys()].filter(step => step > 0), first = Math.min(...positive), last = Math.max(...positive, first + 1);
  const low = Math.floor(Math.min(...known.values())), high = Math.max(nothing, ...known.values()) + 0.3;
  const x = step => (step <= 0 ? left + 8 : left + 32 + (W - left - 76) * Math.log(step / first) / Math.log(last / first));
  const y = loss => top + (H - top - bottom) * (high - loss) / (high - low);
  const label = (text, x, y, anchor) => svg("text", { x, y, "text-anchor": anchor }, text);
  const line = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: name });
  const dots = steps.map(step => svg("circle", { cx: x(step), cy: y(known.get(step) ?? nothing), r: 4, class: known.has(step) ? "" : "tm-open" }));
  const targets = steps.map(step => svg("rect", { x: x(step) - 10, y: top, width: 20, height: H - top - bottom, class: "tm-target", click: () => view.set({ step }) }));
  const marker = line(0, top, 0, H - bottom, "tm-marker"), value = label("", 0, 0, "start");
  value.setAttribute("class", "tm-value");
  const roomy = steps.reduce((kept, step) => (kept.length && x(step) - x(kept.at(-1)) < 30 ? kept : [...kept, step]), []);
  const drawing = svg("svg", { width: W, height: H, role: "img" },
    line(left, H - bottom, W, H - bottom, "tm-axis"), line(left, top, left, H - bottom, "tm-axis"),
    ...range(Math.ceil(high) - low).map(i => label(low + i, left - 6, y(low + i) + 4, "end")),
    ...roomy.map(step => label(step >= 1000 ? `${step / 1000}k` : step, x(step), H - bottom + 17, "middle")),
    line(left, y(nothing), W, y(nothing), "tm-nothing"), label(`knows nothing: ln ${count(view.get("shape")[2])} = ${fixed(nothing, 2)}`, W, y(nothing) + 15, "end"),
    svg("polyline", { points: curve.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" "), class: "tm-curve" }),
    marker, ...dots, value, ...targets, label("step (log scale)", W, H - 4, "end"));
  view.watch(["step"], () => {
    const step = view.get("step"), loss = known.get(step);
    for (const name of ["x1", "x2"]) marker.setAttribute(name, x(step));
    dots.forEach((dot, i) => dot.setAttribute("r", steps[i] === step ? 6 : 4));
    value.textContent = loss === undefined ? "not measured" : fixed(loss, 2);
    value.setAttribute("x", x(step) + 10);
    value.setAttribute("y", y(loss ?? nothing) - 8);
    drawing.setAttribute("aria-label", `held-out loss by step: ${at.loss()}`);
  });
  return h("section", { class: "tm-part", "aria-label": "loss" }, h("p", { class: "bl-title" }, "Held-out loss (nats)"), drawing);
}

/** Functions that read the numbers of the text at a snapshot. */
function reader(view, steps) {
  let weights;
  const decode = () => { weights = numbers(view.get("seen").weights, Uint16Array); };
  decode();
  view.watch(["seen"], decode);
  const [layers, heads] = view.get("shape"), known = new Map(view.get("curve"));
  const at = {
    snapshot: () => steps.indexOf(view.get("step")),
    size: () => view.get("seen").tokens.length,
    masked: () => view.get("seen").masks[view.get("place")],
    guesses: (place, snapshot = at.snapshot()) => view.get("seen").guesses[snapshot][place],
    answer: snapshot => view.get("ranks")[snapshot]?.[view.get("place")],
    weight: (r, c) => weights[(((at.snapshot() * layers + view.get("layer")) * heads + view.get("head")) * at.size() + r) * at.size() + c] / SCALE,
    mean(offset) {
      const diagonal = range(at.size()).filter(i => i + offset >= 0 && i + offset < at.size()).map(i => at.weight(i, i + offset));
      return diagonal.reduce((sum, weight) => sum + weight, 0) / diagonal.length;
    },
    loss: () => (known.has(view.get("step")) ? `${fixed(known.get(view.get("step")), 2)} at step ${count(view.get("step"))}` : `not measured at step ${count(view.get("step"))}`),
  };
  return at;
}

function tell(view, at) {
  const place = view.get("place"), masks = view.get("seen").masks.length, answer = at.answer(at.snapshot());
  const best = at.guesses(place).slice(0, 3).map(([token, p]) => `“${shown(token)}” ${fixed(p)}`).join(", ");
  const right = answer ? ` The right word “${shown(view.get("answers")[place])}” is guess ${count(answer[0])}, ${fixed(answer[1])}.` : "";
  const row = range(at.size()).map(c => at.weight(at.masked(), c)), most = row.indexOf(Math.max(...row));
  return `Step ${count(view.get("step"))}${view.get("curve").length ? `: held-out loss ${at.loss().split(" at ")[0]}` : ""}. [MASK]${masks > 1 ? ` ${place + 1} of ${masks}` : ""}: ${best}.${right}`
    + ` In layer ${view.get("layer")}, head ${view.get("head")}, it looks most at “${shown(view.get("seen").tokens[most])}” (${most}), ${fixed(row[most], 2)}.`;
}

function draw(view) {
  const steps = view.get("steps"), at = reader(view, steps);
  const { bar, problem } = ask(view);
  view.root.append(cardHead("Time machine", "Press ▶ Play, or move the slider, and watch one model learn: its guesses for [MASK], its loss, and where a head looks."), bar,
    cardLegend(["", "probability of a guess"], [null, "✓ the right word"], ["bl-ramp", "attention weight, 0 to 1 (square root)"], ["bl-chosen", "the chosen step and [MASK]"]),
    ...timeline(view, at, steps), sentence(view, at),
    h("div", { class: "tm-parts" }, guesses(view, at, steps), lossCurve(view, at, steps), attention(view, at)));
  view.watch(["seen", "ranks", "step", "place", "layer", "head", "answered"], () => view.say(problem() || tell(view, at)));
}
