// Encoder walk. The page holds the numbers of every step and token; only a typed text goes to the kernel.

const COSINE = 32767, GROUP = 4, EDGE = 8; // GROUP steps have a heading; EDGE of a chart in pixels
const MARKS = ["●", "■"], TEXTS = ["text", "other"], TOKENS = ["token", "other_token"];
const ALL = ["walks", "between", "step", ...TOKENS];
const FORMULAS = {
  word: "the row of the word table, the same at every position",
  "+ position": "word + position: a second table has a row for each position",
  "+ segment": "word + position + segment: here always the segment of the first text",
  "+ attention": "stream + attention(stream): adds what the token received from all tokens",
  "+ feed-forward": "stream + feed-forward(stream): adds what the token computes by itself",
  LayerNorm: "LayerNorm(sum): mean 0 and variance 1, then the learned scale and shift",
};

// ── the numbers ──

/** A text's numbers: functions of a step t and a token's position i. */
function readWalk(sent, steps) {
  const S = sent.tokens.length;
  const table = (name, Type, unit) => {
    const values = numbers(sent[name], Type);
    return (t, i) => values[t * S + i] / unit;
  };
  const [length, update] = ["length", "update"].map(name => table(name, Float32Array, 1));
  const [start, before, along] = ["start", "before", "along"].map(name => table(name, Int16Array, COSINE));
  const near = numbers(sent.near, Uint16Array), nearness = numbers(sent.nearness, Int16Array), K = near.length / steps.length / S;
  const nearest = (t, i) => range(K).map(k => (t * S + i) * K + k).map(p => [sent.words[near[p]], nearness[p] / COSINE]);
  const share = (t, i) => (steps[t].includes("+") ? update(t, i) / length(t - 1, i) : NaN);
  return { tokens: sent.tokens, length, update, start, before, along, share, nearest };
}

/** What is shown now: the walks with their chosen tokens, and the cosine between the two. */
function readState(view) {
  const steps = view.get("steps");
  let sent, walks, between;
  return () => {
    if (sent !== view.get("walks")) {
      sent = view.get("walks");
      walks = sent.map(each => readWalk(each, steps));
      between = walks.length > 1 ? numbers(view.get("between"), Int16Array) : null;
    }
    const chosen = walks.map((walk, n) => ({ ...walk, i: clamp(view.get(TOKENS[n]), 0, walk.tokens.length - 1) }));
    const [one, other] = chosen;
    const alike = other && (t => between[(t * one.tokens.length + one.i) * other.tokens.length + other.i] / COSINE);
    return { steps, t: view.get("step"), chosen, alike };
  };
}

const named = walk => `“${shown(walk.tokens[walk.i])}” (${walk.i})`;

// ── the texts ──

/** A field for a text, and the text's tokens to choose from. */
function sentence(view, state, n) {
  const input = h("input", { type: "text", spellcheck: "false", dir: "auto", placeholder: n ? "type a second text to compare" : "" });
  const name = TEXTS[n], { note, waits } = question(view, name, [input], text => ({ [name]: text }));
  view.watch([name], () => { if (!waits()) input.value = view.get(name); });
  const box = h("div", { class: "ew-tokens" });
  const label = n ? "token of the second text" : "token to follow";
  let drawn, tokens;
  view.watch(["walks", TOKENS[n]], () => {
    const walk = state().chosen[n];
    if (drawn !== walk?.tokens) {
      drawn = walk?.tokens;
      tokens = walk && tokenList(drawn, label, i => view.set({ [TOKENS[n]]: i }), { horizontal: true, hover: false });
      box.replaceChildren(...(tokens ? [tokens.list] : []));
    }
    tokens?.choose(walk.i);
  });
  return h("div", { class: `ew-sentence ew-series${n}` }, labeled(`${MARKS[n]} ${n ? "Second text" : "Text"}`, input), note, box);
}

// ── the steps ──

/** A step's part of the diagram: the stream goes down, and updates join it from the right. */
function drawStep(name, row, first, last) {
  const x = 10, y = row / 2;
  const parts = [svg("path", { d: `M${x} ${first ? y : 0}V${last ? y : row}` })];
  if (name === "word") parts.push(svg("circle", { cx: x, cy: y, r: 4, class: "ew-full" }));
  else if (name === "LayerNorm") parts.push(svg("rect", { x: x - 7, y: y - 4.5, width: 14, height: 9, rx: 3 }));
  else {
    if (name === "+ attention" || name === "+ feed-forward") parts.push(svg("path", { d: `M${x} 0C${x + 14} 0 ${x + 8} ${y - 4} 35 ${y - 4}` }));
    parts.push(svg("circle", { cx: x, cy: y, r: 5 }), svg("path", { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10M35 ${y + 1}H${x + 7}m4 -3l-4 3l4 3` }));
  }
  return svg("svg", { width: 36, height: row, class: "ew-part", "aria-hidden": "true" }, ...parts);
}

/** The list of steps. */
function track(view, steps, row) {
  const names = steps.map(step => step.split(": "));
  const list = tokenList(names.map(([, name]) => name), "steps", t => view.set({ step: t }));
  list.items.forEach((item, t) => {
    const [group, name] = names[t];
    item.setAttribute("aria-label", steps[t]);
    item.classList.toggle("ew-first", t % GROUP === 0);
    item.prepend(h("span", { class: "ew-group bl-quiet" }, t % GROUP ? "" : group), drawStep(name, row, t === 0, t === steps.length - 1));
  });
  view.watch(["step"], () => list.choose(view.get("step")));
  return list.list;
}

/** Return the smallest of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15 … that is not below x. */
function roundUp(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map(step => step * power).find(end => end >= 0.9999 * x);
}

const short = x => (Number.isFinite(x) ? fixed(x, x < 9.995 ? 2 : 1) : "–");

/** A chart next to the steps, as wide as its head: `read(state)` returns the series, functions of a step; `stems` draws a line from 0 to each value. */
function chart(view, state, title, { read, row, cosine = false, stems = false, both = false }) {
  const { steps } = state(), bottom = row * steps.length;
  const [lines, marks] = ["line", "mark"].map(kind => MARKS.map((_, n) => svg("path", { class: `ew-${kind} ew-series${n}` })));
  if (both) [lines[0], marks[0]].forEach(path => path.classList.replace("ew-series0", "ew-both"));
  const one = svg("path", { class: "ew-one" }), axes = svg("path", { class: "ew-axis" });
  const picture = svg("svg", { height: bottom, role: "img", "aria-label": `${title} at each step` }, axes, one, ...lines, ...marks);
  const values = h("div", { class: "bl-number ew-values" }), low = h("span"), high = h("span");
  const head = h("div", { class: "ew-head" }, h("div", { class: "ew-name" }, title), values, h("div", { class: "ew-scale bl-quiet", "aria-hidden": "true" }, low, high));
  view.watch([...ALL, "size"], () => {
    const now = state(), series = read(now), width = widthOf(head, 120);
    const all = series.map(f => steps.map((_, t) => f(t)));
    const finite = all.flat().filter(Number.isFinite);
    const min = cosine ? Math.min(0, Math.floor(10 * Math.min(...finite)) / 10) : 0, max = cosine ? 1 : roundUp(Math.max(...finite));
    const x = value => EDGE + (width - 2 * EDGE) * (value - min) / (max - min);
    const y = (t, n) => row * (t + 0.5) + (stems && series.length > 1 ? [-3, 3][n] : 0);
    picture.setAttribute("width", width);
    axes.setAttribute("d", `${range(steps.length / GROUP).map(g => `M0 ${g * GROUP * row + 0.5}H${width}`).join("")}M${EDGE} 0V${bottom}M${width - EDGE} 0V${bottom}`);
    one.setAttribute("d", stems && max > 1 ? `M${x(1)} 0V${bottom}` : "");
    MARKS.forEach((_, n) => {
      const points = (all[n] ?? []).map((value, t) => [x(value), y(t, n)]).filter(point => Number.isFinite(point[0]));
      lines[n].setAttribute("d", stems ? points.map(([px, py]) => `M${x(0)} ${py}H${px}`).join("") : points.map(([px, py], k) => `${k ? "L" : "M"}${px} ${py}`).join(""));
      marks[n].setAttribute("d", points.map(([px, py]) => (n ? `M${px - 3} ${py - 3}h6v6h-6z` : `M${px - 3.2} ${py}a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z`)).join(""));
    });
    values.replaceChildren(...all.map((each, n) => h("span", { class: both ? "ew-both" : `ew-series${n}` }, `${series.length > 1 ? MARKS[n] : ""} ${short(each[now.t])}`)));
    [low.textContent, high.textContent] = [String(min), String(max)];
  });
  return [head, picture];
}

const each = measure => now => now.chosen.map(walk => t => walk[measure](t, walk.i));
const CHARTS = {
  "cosine to start": { cosine: true, read: each("start") },
  "cosine of both": { cosine: true, read: now => (now.alike ? [now.alike] : []), both: true },
  length: { read: each("length") },
  "update / stream": { stems: true, read: each("share") },
};

/** Buttons that open and close charts; two are open at first, "cosine of both" only if there are two texts. */
function chartButtons(view, state, columns, band) {
  let picked = null; // until a button is pressed
  const open = () => {
    const pair = Boolean(state().alike);
    return (picked ?? ["cosine to start", pair ? "cosine of both" : "length"]).filter(name => pair || name !== "cosine of both");
  };
  const buttons = Object.keys(CHARTS).map(name => button(name, () => {
    picked = open().includes(name) ? open().filter(other => other !== name) : [...open(), name];
    show();
    view.root.dispatchEvent(new CustomEvent("bl-size"));
  }));
  const show = () => {
    const names = Object.keys(CHARTS).filter(name => open().includes(name));
    Object.keys(CHARTS).forEach((name, k) => {
      buttons[k].setAttribute("aria-pressed", names.includes(name));
      buttons[k].hidden = name === "cosine of both" && !state().alike;
      for (const element of columns[k]) Object.assign(element.style, { display: names.includes(name) ? "" : "none", gridColumn: 2 + names.indexOf(name) });
    });
    band.style.gridColumn = `1 / ${2 + names.length}`;
  };
  view.watch(["walks"], show);
  return h("div", { class: "bl-bar", role: "group", "aria-label": "charts" }, h("span", { class: "bl-label" }, "Charts"), buttons);
}

/** Steps and charts side by side, and a band that marks the chosen step. */
function stepsAndCharts(view, state) {
  const { steps } = state(), row = steps.length > 32 ? 17 : 19;
  const band = h("div", { class: "ew-band", "aria-hidden": "true" });
  const columns = Object.entries(CHARTS).map(([title, options]) => chart(view, state, title, { ...options, row }));
  const grid = h("div", { class: "ew-steps", style: `--bl-row: ${row}px; --steps: ${steps.length}` }, band,
    h("div", { class: "ew-head ew-name ew-step" }, "step"), columns.map(([head]) => head), track(view, steps, row), columns.map(([, picture]) => picture));
  for (const [, picture] of columns)
    picture.addEventListener("pointermove", event => {
      const t = clamp(Math.floor((event.clientY - picture.getBoundingClientRect().top) / row), 0, steps.length - 1);
      if (t !== view.get("step")) view.set({ step: t });
    });
  view.watch(["step"], () => band.style.setProperty("--step", view.get("step")));
  return h("div", { class: "ew-charts" }, chartButtons(view, state, columns, band), grid);
}

// ── one step in detail ──

/** The rows of the table: a name, and the number as text, or "–" where there is none. */
function numbersOf({ length, start, before, update, share, along, i }, t, step) {
  const first = t === 0, sum = step.includes("+");
  const row = (name, read, known = true) => [name, known ? fixed(read(t, i), 2) : "–"];
  return [row("length", length), row("cosine to its start", start), row("cosine to the step before", before, !first),
    row("length of the update", update, sum), row("update / stream", share, sum), row("cosine of update to stream", along, sum)];
}

function nearestWords(walk, t) {
  const percent = x => `${(100 * Math.max(x, 0)).toFixed(1)}%`;
  const items = walk.nearest(t, walk.i).map(([word, cosine]) => h("li", {}, h("bdi", {}, shown(word)),
    h("span", {}, fixed(cosine, 2)), h("span", { class: "ew-bar", style: `--w: ${percent(cosine)}` })));
  return h("ul", { class: "bl-tokens ew-words", "aria-label": `nearest words of ${named(walk)}` }, items);
}

/** The chosen step: what it does, and, on demand, its numbers and the nearest words. */
function details(view, state) {
  const title = h("p", { class: "bl-title" }), formula = h("p", { class: "ew-formula" }), table = h("table", { class: "bl-number" });
  const chance = view.get("chance"), lists = h("div", { class: "ew-lists", style: `--chance: ${100 * chance}%` });
  const mark = h("p", { class: "bl-quiet" }, h("span", { class: "ew-chance", "aria-hidden": "true" }), `${fixed(chance, 2)}: mean cosine of a random direction and its nearest row. A word that does not pass it means nothing.`);
  const part = h("section", { class: "ew-details", "aria-label": "the chosen step" }, title, formula,
    onDemand(view, "Numbers of this step", table), onDemand(view, "Nearest rows of the word table", lists, mark));
  view.watch(ALL, () => {
    const { steps, t, chosen, alike } = state();
    const columns = chosen.map(walk => numbersOf(walk, t, steps[t]));
    const rows = columns[0].map(([name], r) => h("tr", {}, h("th", { scope: "row" }, name), columns.map(column => h("td", {}, column[r][1]))));
    if (alike) rows.push(h("tr", {}, h("th", { scope: "row" }, "cosine between the two"), h("td", { colspan: 2 }, fixed(alike(t), 2))));
    const heads = chosen.map((walk, n) => h("th", { scope: "col", class: `ew-series${n}` }, `${MARKS[n]} `, h("bdi", {}, named(walk))));
    title.textContent = steps[t];
    formula.textContent = FORMULAS[steps[t].split(": ")[1]];
    table.replaceChildren(h("thead", {}, h("tr", {}, h("td"), heads)), h("tbody", {}, rows));
    lists.replaceChildren(...chosen.map((walk, n) => h("div", { class: `ew-series${n}` }, nearestWords(walk, t))));
    view.say(`${steps[t]}. ${chosen.map(walk => tell(walk, t)).join(" ")}${alike ? ` Cosine between the two: ${fixed(alike(t), 2)}.` : ""}`);
  });
  return part;
}

function tell(walk, t) {
  const share = walk.share(t, walk.i), near = walk.nearest(t, walk.i).slice(0, 3).map(([word, cosine]) => `${shown(word)} ${fixed(cosine, 2)}`);
  const update = Number.isFinite(share) ? `, update ${fixed(share, 2)} of the stream` : "";
  return `${named(walk)}: length ${fixed(walk.length(t, walk.i), 2)}, cosine to its start ${fixed(walk.start(t, walk.i), 2)}${update}; nearest ${near.join(", ")}.`;
}

function draw(view) {
  const state = readState(view), mark = n => h("span", { class: `ew-swatch ew-series${n}`, "aria-hidden": "true" }, MARKS[n]);
  view.root.append(cardHead("A walk through the encoder", "Walk down the steps, by pointer or with the arrow keys, and watch the word's vector change; choose other words above."),
    h("div", { class: "ew-texts" }, TEXTS.map((_, n) => sentence(view, state, n))),
    cardLegend([mark(0), "word of the first text"], [mark(1), "word of the second text"], [drawStep("+ position", 18), "something is added to the vector"], [drawStep("LayerNorm", 18), "the vector is rescaled"]),
    h("div", { class: "ew-parts" }, stepsAndCharts(view, state), details(view, state)));
}
