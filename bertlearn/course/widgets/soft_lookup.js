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

/** A slider over a list of values; with `exact`, also a field to type a value: 0 is taken for the smallest one. */
function steps(view, text, trait, values, exact) {
  const nearest = x => values.reduce((best, value, i) => (Math.abs(Math.log(value / x)) < Math.abs(Math.log(values[best] / x)) ? i : best), 0);
  const control = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, input: () => view.set({ [trait]: values[control.value] }) });
  const typed = () => {
    const x = Number(field.value);
    if (field.value !== "" && x >= 0) view.set({ [trait]: clamp(x, values[0], values.at(-1)) });
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

/** A row for each key: its score, the divided score that enters the softmax, the weight, and the weight as a bar. */
function keyTable(view) {
  const names = view.get("names"), values = view.get("values"), random = view.get("queries") > 1;
  const heads = ["key", ...(random ? ["q · k", "score"] : ["score", "score / T"]), "weight", "", ...(values.length ? ["value"] : [])];
  const rows = names.map((name, i) => h("tr", {}, h("th", { scope: "row", title: shown(name) }, h("bdi", {}, shown(name))), h("td"), h("td"), h("td"),
    h("td", { class: "sl-bar" }, h("span")), values.length ? h("td", {}, fixed(values[i], 2)) : null));
  const cells = heads.map(head => (head ? h("th", { scope: "col" }, head) : h("td", { class: "sl-bar" })));
  const table = h("table", { class: "sl-keys bl-number" }, h("thead", {}, h("tr", {}, cells)), h("tbody", {}, rows));
  const draw = (scores, divisor, weights) => rows.forEach((row, i) => {
    row.cells[1].textContent = fixed(scores[i], 2);
    row.cells[2].textContent = fixed(scores[i] / divisor, 2);
    row.cells[3].textContent = fixed(weights[i], 4);
    row.cells[4].firstChild.style.setProperty("--w", (100 * weights[i]).toFixed(1) + "%");
  });
  return { table, draw };
}

/** The weights of many keys as upright bars, where a table would be too long. */
function barChart(view) {
  const n = view.get("names").length, [left, top, bottom, height] = [34, 8, 150, 186];
  const picture = svg("svg", { class: "sl-chart", height, role: "img", "aria-label": "the weight of each key" });
  const part = h("figure", { class: "sl-figure" }, h("figcaption", { class: "bl-title" }, `Weights of the ${n} keys, this query`), picture);
  const draw = weights => {
    const width = widthOf(part), slot = (width - left) / n, down = y => bottom - (bottom - top) * y;
    picture.setAttribute("width", width);
    picture.replaceChildren(...[0, 0.5, 1].flatMap(y => [svg("path", { class: "sl-grid", d: `M${left},${down(y)}H${width}` }), svg("text", { x: left - 6, y: down(y) + 4, "text-anchor": "end" }, y)]),
      ...[...weights].map((p, i) => svg("rect", { x: left + slot * (i + 0.1), width: 0.8 * slot, y: down(p), height: bottom - down(p) })),
      ...range(n).filter(i => i % 4 === 0).map(i => svg("text", { x: left + slot * (i + 0.5), y: bottom + 16, "text-anchor": "middle" }, i)),
      svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle", class: "bl-quiet" }, "key"));
  };
  return { part, draw };
}

/** All measures with their meaning, for the shown query and over all queries. */
function measures(view) {
  const random = view.get("queries") > 1, n = view.get("names").length, equal = fixed(Math.log(n), 2);
  const list = [["largest weight", "mean", "1: one key has everything"],
    ["entropy", "mean", `how far the weights are spread, in nats: 0 if one key has everything, ln ${n} = ${equal} if all have the same`],
    ["size of the derivative", "median", "how much the weights move when the scores move a little; near 0, training cannot move them"]];
  if (view.get("values").length) list.push(["mixed value", "", "the values, each times its weight, added up"]);
  const rows = list.map(([title, , meaning]) => h("tr", {}, h("th", { scope: "row" }, title), h("td", { class: "bl-number" }), random ? h("td", { class: "bl-number" }) : null, h("td", { class: "sl-means" }, meaning)));
  const columns = [...(random ? ["this query", `all ${view.get("queries")}`] : ["now"])];
  const table = h("table", { class: "sl-measures" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "measure"), columns.map(name => h("th", { scope: "col" }, name)),
    h("th", { scope: "col", class: "sl-means" }, "meaning"))), h("tbody", {}, rows));
  const draw = (own, all) => rows.forEach((row, i) => {
    row.cells[1].textContent = fixed(own[i], 4);
    if (random) row.cells[2].textContent = `${list[i][1]} ${fixed(all[i], 4)}`;
  });
  return { table, draw };
}

// ── curves ──

/** A small plot with the ticks of both axes; draw(curves, x, note) draws curves {name, chosen, points, here}, as wide as its box. */
function smallPlot(title, xlabel, xticks, { low, high, log, yticks }) {
  const [left, top, bottom, height] = [log ? 70 : 34, 8, 128, 166];
  const picture = svg("svg", { class: "sl-plot", height, role: "img", "aria-label": title }), caption = h("figcaption", { class: "bl-title" }, title);
  const part = h("figure", { class: "sl-figure" }, caption, picture);
  const up = y => (log ? Math.log(clamp(y, low, high) / low) / Math.log(high / low) : (y - low) / (high - low));
  const down = y => bottom - (bottom - top) * up(y);
  const draw = (curves, x, note) => {
    const width = widthOf(part), right = width - (curves.length > 1 ? 84 : 16);
    const across = x => left + (right - left) * Math.log(x / xticks[0]) / Math.log(xticks.at(-1) / xticks[0]);
    const ends = apart(curves.map(curve => down(curve.points.at(-1)[1])), bottom);
    picture.setAttribute("width", width);
    caption.textContent = `${title}: ${note}`;
    picture.replaceChildren(...xticks.map(x => svg("text", { x: across(x), y: bottom + 17, "text-anchor": "middle" }, fraction(x))),
      ...yticks.flatMap(y => [svg("text", { x: left - 6, y: down(y) + 4, "text-anchor": "end" }, log && y === low ? `≤ ${y}` : String(y)), svg("path", { class: "sl-grid", d: `M${left},${down(y)}H${right}` })]),
      svg("text", { x: (left + right) / 2, y: height - 3, "text-anchor": "middle", class: "bl-quiet" }, xlabel),
      svg("path", { class: "sl-now", d: `M${across(x)},${top}V${bottom}` }), ...curves.flatMap(({ name, chosen, points, here }, i) => {
        const kind = chosen ? "sl-chosen" : "sl-other";
        return [svg("path", { class: `sl-curve ${kind}`, d: "M" + points.map(([a, b]) => `${across(a).toFixed(1)},${down(b).toFixed(1)}`).join("L") }),
          svg("text", { class: kind, x: right + 8, y: ends[i] + 4 }, name),
          ...(chosen ? [svg("circle", { class: "sl-dot", cx: across(x), cy: down(here), r: 5.5 })] : [])];
      }));
  };
  return { part, draw };
}

/** Return the heights of labels, moved apart so that none overlap, in the same order. */
function apart(heights, bottom, gap = 15) {
  const order = range(heights.length).sort((a, b) => heights[a] - heights[b]), moved = [...heights];
  for (const [rank, i] of order.entries()) if (rank > 0) moved[i] = Math.max(moved[i], moved[order[rank - 1]] + gap);
  const over = moved[order.at(-1)] - bottom;
  return over > 0 ? moved.map(y => y - over) : moved;
}

/** The curves of all measures: over d for each scale, or over the temperature. */
function curvesOf(view, over, d, scale, temperature) {
  if (view.get("queries") === 1)
    return [{ name: "", chosen: true, here: over(d, temperature), points: TEMPERATURES.filter((_, i) => i % 4 === 0).map(t => [t, over(d, t)]) }];
  return Object.keys(SCALES).map(name => ({ name: SCALES[name], chosen: name === scale, here: over(d, divisorOf[name](d) * temperature),
    points: view.get("dimensions").map(x => [x, over(x, divisorOf[name](x) * temperature)]) }));
}

/** Both plots: of the largest weight, and of the derivative, which only chapter 1's section 5 needs at once. */
function plotsOf(view) {
  const random = view.get("queries") > 1, all = random ? `of ${view.get("queries")} queries` : "";
  const xlabel = random ? "d, features of query and key" : "temperature T";
  const xticks = random ? [1, 4, 16, 64, 256, 1024] : [1 / 64, 1 / 16, 1 / 4, 1, 4, 16, 64];
  const plots = [smallPlot(random ? `Largest weight, mean ${all}` : "Largest weight", xlabel, xticks, { low: 0, high: 1, yticks: [0, 0.5, 1] }),
    smallPlot(random ? `Size of the derivative, median ${all}` : "Size of the derivative", xlabel, xticks, { low: 1e-4, high: 1, log: true, yticks: [0.0001, 0.01, 1] })];
  const draw = (curves, x) => plots.forEach(({ draw }, i) => draw(curves.map(curve => ({ ...curve, here: curve.here[2 * i], points: curve.points.map(([x, y]) => [x, y[2 * i]]) })),
    x, fixed(curves.find(curve => curve.chosen).here[2 * i], 2 + i)));
  return { parts: plots.map(plot => plot.part), draw };
}

const sample = (...shapes) => svg("svg", { class: "sl-sample", viewBox: "0 0 22 12", "aria-hidden": "true" }, ...shapes);
const LEGEND = [["", "weight of a key; all weights add up to 1"],
  [sample(svg("path", { class: "sl-now", d: "M11 0V12" }), svg("circle", { class: "sl-dot", cx: 11, cy: 6, r: 5.5 })), "your setting, on the curve of all settings"]];

/** The parts below the controls: for a few given keys a table and one plot, for many random ones charts; the rest on demand. */
function layout(view, random, keys, bars, plots, table, answer) {
  const [largest, derivative] = plots.parts, wide = h("div", { class: "sl-wide" }, table);
  if (random) return [bars.part, h("div", { class: "sl-parts" }, largest, derivative), onDemand(view, "All measures in numbers", wide), onDemand(view, "All keys in numbers", keys.table)];
  return [h("div", { class: "sl-parts" }, h("div", {}, keys.table, answer), largest), onDemand(view, "Two more measures: entropy and derivative", wide, derivative)];
}

function draw(view) {
  const random = view.get("queries") > 1, { scores, over } = readScores(view);
  const keys = keyTable(view), bars = barChart(view), measured = measures(view), plots = plotsOf(view);
  const formula = h("p", { class: "sl-formula bl-number" }), answer = h("p", { class: "sl-answer" });
  view.root.append(random ? cardHead("Soft lookup among random keys", "Let d grow: one key takes all the weight. Then divide by √d, or raise the temperature, and it does not.")
    : cardHead("Soft lookup", "Move the temperature: when it is cold, the best key takes all the weight; when it is warm, all keys get the same."),
  h("div", { class: "bl-bar" }, random ? [choice(view, "Score", "scale", SCALES), steps(view, "d", "dimension", view.get("dimensions"))] : null,
    steps(view, "Temperature T", "temperature", TEMPERATURES, true),
    random ? slider(view, "Query", "query", { min: 0, max: view.get("queries") - 1, step: 1 }) : null), formula,
  cardLegend(...LEGEND), ...layout(view, random, keys, bars, plots, measured.table, answer));

  view.watch(["scale", "temperature", "dimension", "query", "size"], () => {
    const [scale, temperature, d, query] = ["scale", "temperature", "dimension", "query"].map(view.get);
    const divisor = divisorOf[scale](d) * temperature, shownScores = scores(d, query), weights = softmax(shownScores, divisor);
    const own = saturation(weights), mixed = mix(weights, view.get("values"));
    keys.draw(shownScores, divisor, weights);
    bars.draw(weights);
    measured.draw([...own, mixed], over(d, divisor));
    plots.draw(curvesOf(view, over, d, scale, temperature), random ? d : temperature);
    formula.textContent = `weights = ${random ? `softmax(q · k / (${{ none: 1, root: `√${d}`, d }[scale]} × T)) = softmax(q · k / ${short(divisor)})` : `softmax(scores / ${short(divisor)}) = softmax(scores × ${short(1 / divisor)})`}`;
    answer.textContent = view.get("values").length ? `Mixed value: each value times its weight, added up = ${fixed(mixed)}` : "";
    view.say(tell(view, weights, own, mixed));
  });
}

const mix = (weights, values) => values.reduce((sum, value, i) => sum + value * weights[i], 0);

function tell(view, weights, [largest, , derivative], mixed) {
  const name = shown(view.get("names")[weights.indexOf(largest)]), random = view.get("queries") > 1;
  const more = random ? ` For this query the size of the derivative is ${fixed(derivative, 4)}.` : view.get("values").length ? ` The mixed value is ${fixed(mixed)}.` : "";
  return `The largest weight is ${fixed(largest)}, of key “${name}”.${more}`;
}
