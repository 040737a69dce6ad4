// Soft lookup. The page holds all scores, so that every number follows a slider without the kernel.

const SCALES = { none: "q · k", root: "q · k / √d", d: "q · k / d" };
const divisorOf = { none: () => 1, root: Math.sqrt, d: d => d };
const TEMPERATURES = range(97).map(i => 2 ** ((i - 48) / 8)); // 1/64 to 64; every √d is one of them
const short = x => String(Number(x.toPrecision(3)));
const fraction = x => (x < 1 ? `1/${Math.round(1 / x)}` : String(x));

// ── numbers ──

function softmax(scores, divisor) {
  let max = -Infinity, sum = 0;
  for (const score of scores) max = Math.max(max, score);
  const weights = new Float64Array(scores.length);
  for (let i = 0; i < weights.length; i++) sum += weights[i] = Math.exp((scores[i] - max) / divisor);
  for (let i = 0; i < weights.length; i++) weights[i] /= sum;
  return weights;
}

/** The largest weight, the entropy in nats, and the size of diag(p) − p pᵀ. */
function saturation(weights) {
  let largest = 0, entropy = 0, squares = 0, size = 0;
  for (const p of weights) squares += p * p;
  for (const p of weights) {
    largest = Math.max(largest, p);
    if (p > 0) entropy -= p * Math.log(p);
    size += p * p * ((1 - p) ** 2 + squares - p * p);
  }
  return [largest, entropy, Math.sqrt(Math.max(size, 0))];
}

const mean = xs => xs.reduce((a, b) => a + b) / xs.length;
function median(xs) {
  const sorted = [...xs].sort((a, b) => a - b), half = xs.length >> 1;
  return xs.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The widget's scores: those of one query, and the measures over all queries. */
function readScores(view) {
  const table = numbers(view.get("table"), Float32Array), dimensions = view.get("dimensions");
  const n = view.get("queries"), keys = view.get("names").length;
  const scores = (d, query) => table.subarray((dimensions.indexOf(d) * n + query) * keys).subarray(0, keys);
  const known = new Map();
  const over = (d, divisor) => {
    const setting = `${d}/${divisor}`;
    if (!known.has(setting)) {
      const measured = range(n).map(query => saturation(softmax(scores(d, query), divisor)));
      known.set(setting, [mean(measured.map(x => x[0])), mean(measured.map(x => x[1])), median(measured.map(x => x[2]))]);
    }
    return known.get(setting);
  };
  return { scores, over };
}

// ── controls ──

/** A slider over a list of values; with `exact`, also a field to type a value. */
function steps(view, text, trait, values, exact) {
  const nearest = x => values.reduce((best, value, i) => (Math.abs(Math.log(value / x)) < Math.abs(Math.log(values[best] / x)) ? i : best), 0);
  const control = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, input: () => view.set({ [trait]: values[control.value] }) });
  const typed = () => {
    const x = Number(field.value);
    if (x > 0) view.set({ [trait]: clamp(x, values[0], values.at(-1)) });
    field.value = short(view.get(trait));
  };
  const field = exact ? h("input", { type: "number", class: "sl-field bl-number", step: "any", "aria-label": `${text}, exactly`, title: `from ${short(values[0])} to ${values.at(-1)}`,
    change: typed, keydown: event => { if (event.key === "Enter") typed(); } })
    : h("span", { class: "sl-read bl-number" });
  view.watch([trait], () => {
    control.value = nearest(view.get(trait));
    control.setAttribute("aria-valuetext", short(view.get(trait)));
    field[exact ? "value" : "textContent"] = short(view.get(trait));
  });
  return labeled(text, control, field);
}

// ── the keys ──

/** A row for each key: its score, the divided score that enters the softmax, and the weight as a bar. */
function keyTable(view) {
  const names = view.get("names"), values = view.get("values"), random = view.get("queries") > 1;
  const heads = ["key", ...(random ? ["q · k", "score"] : ["score", "score / T"]), "weight", ...(values.length ? ["value"] : [])];
  const rows = names.map((name, i) => h("tr", {}, h("th", { scope: "row", title: shown(name) }, h("bdi", {}, shown(name))), h("td"), h("td"),
    h("td", { class: "sl-weight" }, h("span", { class: "sl-bar" }), h("span")), values.length ? h("td", {}, fixed(values[i], 2)) : null));
  const table = h("table", { class: `sl-keys bl-number ${names.length > 12 ? "sl-dense" : ""}` },
    h("thead", {}, h("tr", {}, heads.map(head => h("th", { scope: "col", class: head === "weight" && "sl-weight" }, head)))), h("tbody", {}, rows));
  const draw = (scores, divisor, weights) => rows.forEach((row, i) => {
    row.cells[1].textContent = fixed(scores[i], 2);
    row.cells[2].textContent = fixed(scores[i] / divisor, 2);
    row.cells[3].firstChild.style.setProperty("--w", (100 * weights[i]).toFixed(1) + "%");
    row.cells[3].lastChild.textContent = fixed(weights[i], 4);
  });
  return { table, draw };
}

/** The three measures, for the shown query and over all queries. */
function measures(view) {
  const random = view.get("queries") > 1, n = view.get("names").length;
  const titles = ["largest weight", `entropy (ln ${n} = ${fixed(Math.log(n), 2)})`, "size of derivative"];
  const kinds = ["mean", "mean", "median"];
  if (view.get("values").length) titles.push("mixed value");
  const rows = titles.map(title => h("tr", {}, h("th", { scope: "row" }, title), h("td"), random ? h("td") : null));
  const columns = random ? ["this query", `all ${view.get("queries")}`] : ["now"];
  const table = h("table", { class: "sl-measures" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "measure"), columns.map(name => h("th", { scope: "col" }, name)))), h("tbody", { class: "bl-number" }, rows));
  const draw = (own, all) => rows.forEach((row, i) => {
    row.cells[1].textContent = fixed(own[i], 4);
    if (random) row.cells[2].textContent = `${kinds[i]} ${fixed(all[i], 4)}`;
  });
  return { table, draw };
}

// ── curves ──

const BOX = { left: 54, right: 334, top: 10, bottom: 128, width: 400, height: 164 };

/** A small plot with the ticks of both axes; draw(curves, x) draws curves {name, chosen, points, here}. */
function smallPlot(title, xlabel, xticks, { low, high, log, yticks }) {
  const across = x => BOX.left + (BOX.right - BOX.left) * Math.log(x / xticks[0]) / Math.log(xticks.at(-1) / xticks[0]);
  const up = y => (log ? Math.log(clamp(y, low, high) / low) / Math.log(high / low) : (y - low) / (high - low));
  const down = y => BOX.bottom - (BOX.bottom - BOX.top) * up(y);
  const axes = [...xticks.map(x => svg("text", { x: across(x), y: BOX.bottom + 16, "text-anchor": "middle" }, fraction(x))),
    ...yticks.map(y => svg("text", { x: BOX.left - 5, y: down(y) + 4, "text-anchor": "end" }, log && y === low ? `≤ ${y}` : String(y))),
    ...yticks.map(y => svg("path", { class: "sl-grid", d: `M${BOX.left},${down(y)}H${BOX.right}` })),
    svg("text", { x: (BOX.left + BOX.right) / 2, y: BOX.height - 6, "text-anchor": "middle" }, xlabel)];
  const layer = svg("g", {});
  const picture = svg("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": title, class: "sl-plot" }, axes, layer);
  const draw = (curves, x) => {
    const ends = apart(curves.map(curve => down(curve.points.at(-1)[1])));
    layer.replaceChildren(svg("path", { class: "sl-now", d: `M${across(x)},${BOX.top}V${BOX.bottom}` }), ...curves.flatMap(({ name, chosen, points, here }, i) => {
      const kind = chosen ? "sl-chosen" : "sl-other";
      return [svg("path", { class: `sl-curve ${kind}`, d: "M" + points.map(([a, b]) => `${across(a).toFixed(1)},${down(b).toFixed(1)}`).join("L") }),
        svg("text", { class: kind, x: BOX.right + 6, y: ends[i] + 4 }, name),
        ...(chosen ? [svg("circle", { class: "sl-dot", cx: across(x), cy: down(here), r: 4.5 })] : [])];
    }));
  };
  return { part: h("figure", { class: "sl-figure" }, h("figcaption", { class: "bl-title" }, title), picture), draw };
}

/** Return the heights of labels, moved apart so that none overlap, in the same order. */
function apart(heights, gap = 13) {
  const order = range(heights.length).sort((a, b) => heights[a] - heights[b]), moved = [...heights];
  for (const [rank, i] of order.entries()) if (rank > 0) moved[i] = Math.max(moved[i], moved[order[rank - 1]] + gap);
  const over = moved[order.at(-1)] - BOX.bottom;
  return over > 0 ? moved.map(y => y - over) : moved;
}

/** The curves of all measures: over d for each scale, or over the temperature. */
function curvesOf(view, over, d, scale, temperature) {
  if (view.get("queries") === 1)
    return [{ name: "", chosen: true, here: over(d, temperature), points: TEMPERATURES.filter((_, i) => i % 4 === 0).map(t => [t, over(d, t)]) }];
  return Object.keys(SCALES).map(name => ({ name: SCALES[name], chosen: name === scale, here: over(d, divisorOf[name](d) * temperature),
    points: view.get("dimensions").map(x => [x, over(x, divisorOf[name](x) * temperature)]) }));
}

function draw(view) {
  const random = view.get("queries") > 1, { scores, over } = readScores(view);
  const keys = keyTable(view), measured = measures(view);
  const formula = h("p", { class: "sl-formula bl-number" });
  const xlabel = random ? "d, features of query and key" : "temperature T";
  const xticks = random ? [1, 4, 16, 64, 256, 1024] : [1 / 64, 1 / 16, 1 / 4, 1, 4, 16, 64];
  const all = random ? ` (${view.get("queries")} queries)` : "";
  const plots = [smallPlot(`Largest weight${all}`, xlabel, xticks, { low: 0, high: 1, yticks: [0, 0.5, 1] }),
    smallPlot(`Size of the derivative${all}`, xlabel, xticks, { low: 1e-4, high: 1, log: true, yticks: [0.0001, 0.01, 1] })];
  view.root.append(h("div", { class: "bl-bar" }, random ? [choice(view, "Score", "scale", SCALES), steps(view, "d", "dimension", view.get("dimensions"))] : null,
    steps(view, "Temperature T", "temperature", TEMPERATURES, true),
    random ? slider(view, "Query", "query", { min: 0, max: view.get("queries") - 1, step: 1 }) : null), formula,
  h("div", { class: `sl-parts ${random ? "" : "sl-given"}` }, keys.table,
    h("div", { class: "sl-side" }, measured.table, h("div", { class: "sl-plots" }, plots.map(plot => plot.part)))));

  view.watch(["scale", "temperature", "dimension", "query"], () => {
    const [scale, temperature, d, query] = ["scale", "temperature", "dimension", "query"].map(view.get);
    const divisor = divisorOf[scale](d) * temperature, shownScores = scores(d, query), weights = softmax(shownScores, divisor);
    const measuresHere = saturation(weights), curves = curvesOf(view, over, d, scale, temperature);
    keys.draw(shownScores, divisor, weights);
    measured.draw([...measuresHere, mix(weights, view.get("values"))], over(d, divisor));
    plots.forEach((plot, i) => plot.draw(curves.map(curve => ({ ...curve, here: curve.here[2 * i], points: curve.points.map(([x, y]) => [x, y[2 * i]]) })), random ? d : temperature));
    formula.textContent = `weights = ${random ? `softmax(q · k / (${{ none: 1, root: `√${d}`, d }[scale]} × T)) = softmax(q · k / ${short(divisor)})` : `softmax(scores / ${short(divisor)}) = softmax(scores × ${short(1 / divisor)})`}`;
    view.say(tell(view, weights, measuresHere));
  });
}

const mix = (weights, values) => values.reduce((sum, value, i) => sum + value * weights[i], 0);

function tell(view, weights, [largest, entropy, derivative]) {
  const values = view.get("values"), name = shown(view.get("names")[weights.indexOf(largest)]);
  const mixed = values.length ? ` The mixed value is ${fixed(mix(weights, values))}.` : "";
  return `The largest weight is ${fixed(largest)}, of key “${name}”. The entropy is ${fixed(entropy, 2)} of at most ${fixed(Math.log(weights.length), 2)} nats, the size of the derivative ${fixed(derivative, 4)}.${mixed}`;
}
