// Inside a head. The page holds queries, keys and values, two bytes per number; it computes the rest by the formulas.

/** The numbers of one head: query(i), key(i), value(i) and the largest of each kind. */
function readHead(view, page, head) {
  const vectors = numbers(page.vectors, Int16Array), [, heads, D] = view.get("shape"), S = view.get("tokens").length;
  const read = kind => i => {
    const start = ((kind * heads + head) * S + i) * D;
    return Float64Array.from(vectors.subarray(start, start + D), whole => whole * page.steps[kind][head]);
  };
  return { query: read(0), key: read(1), value: read(2), largest: page.steps.map(steps => steps[head] * 32767) };
}

const multiply = (a, b) => a.map((x, i) => x * b[i]);
const norm = xs => Math.hypot(...xs);
const total = xs => xs.reduce((a, b) => a + b, 0);

/** One query against all keys, step by step. */
function attend(read, query, S, D) {
  const q = read.query(query), keys = range(S).map(read.key), values = range(S).map(read.value);
  const products = keys.map(k => multiply(q, k));
  const scores = products.map(product => total(product) / Math.sqrt(D));
  const max = Math.max(...scores), powers = scores.map(score => Math.exp(score - max)), sum = total(powers);
  const weights = powers.map(power => power / sum), context = new Float64Array(D);
  values.forEach((value, j) => value.forEach((x, i) => { context[i] += weights[j] * x; }));
  return { q, keys, values, products, scores, max, powers, sum, weights, context,
    largestProduct: Math.max(...products.map(product => Math.max(...product.map(Math.abs)))) };
}

/** A vector as a strip of cells: color for size and sign, a dash below 0; next to it the chosen feature's number. */
function strip(view, sign) {
  const [, , D] = view.get("shape");
  const cells = range(D).map(i => h("i", { "data-i": i }));
  const name = h("bdi", {}), number = h("span", { class: "bl-number ih-number" });
  const row = h("div", { class: "ih-strip" }, h("span", { class: "ih-name" }, name), number, h("div", { class: "ih-cells", "aria-hidden": "true", pointerover: event => {
      const i = event.target.dataset.i;
      if (i !== undefined) view.set({ feature: Number(i) });
    } }, cells));
  let values = [], marked = null;
  const mark = () => {
    const i = view.get("feature");
    marked?.classList.remove("ih-here");
    marked = cells[i];
    marked.classList.add("ih-here");
    number.textContent = `${sign.replaceAll("_", subscript(i))} = ${fixed(values[i])}`;
  };
  const draw = (text, vector, largest) => {
    values = vector;
    name.textContent = text;
    cells.forEach((cell, i) => {
      const share = values[i] / (largest || 1);
      cell.classList.toggle("ih-minus", share < -0.02);
      cell.style.setProperty("--share", `${(100 * Math.abs(share)).toFixed(0)}%`);
    });
    mark();
  };
  return { row, draw, mark };
}

const subscript = n => String(n).replace(/\d/g, digit => "₀₁₂₃₄₅₆₇₈₉"[digit]);

/** All keys with score, exp(score − largest score) and weight: choose one by pointer or arrow keys. */
function keyList(view) {
  const tokens = view.get("tokens");
  const rows = tokenList(tokens, "key that is looked at", key => view.set({ key }));
  const columns = rows.items.map(item => {
    const spans = range(3).map(() => h("span", { class: "bl-number" }));
    item.append(...spans, h("span", { class: "ih-bar", "aria-hidden": "true" }));
    return spans;
  });
  const sums = range(3).map(() => h("span", { class: "bl-number" }));
  const heading = ["key", "score", "exp(s − max)", "weight"].map(name => h("span", {}, name));
  const part = h("div", { class: "ih-keys" }, h("div", { class: "ih-line bl-quiet", "aria-hidden": "true" }, heading), rows.list,
    h("div", { class: "ih-line ih-sum" }, h("span", {}, "sum"), sums));
  const draw = ({ scores, powers, sum, weights }) => {
    columns.forEach((spans, j) => {
      [fixed(scores[j]), fixed(powers[j], 4), fixed(weights[j], 4)].forEach((text, c) => { spans[c].textContent = text; });
      rows.items[j].style.setProperty("--w", (100 * weights[j]).toFixed(1) + "%");
    });
    sums[1].textContent = fixed(sum, 4);
    sums[2].textContent = fixed(total(weights), 4);
  };
  return { part, draw, choose: rows.choose };
}

/** The five steps; each has a title, a line of numbers, and strips. */
function stepList(view) {
  const D = view.get("shape")[2];
  const strips = ["q_", "k_", "q_k_", "v_", "p v_", "c_"].map(sign => strip(view, sign));
  const [q, k, product, value, part, context] = strips;
  const says = range(5).map(() => h("p", { class: "bl-number ih-says" }));
  const step = (i, title, ...shown) => h("li", {}, h("p", { class: "bl-title" }, title), shown.map(strip => strip.row), says[i]);
  const list = h("ol", { class: "ih-steps", style: `--columns: ${Math.min(D, 32)}` },
    step(0, "A query meets a key", q, k), step(1, "Multiply feature by feature, and add up", product),
    step(2, `Divide by √D, D = ${D} features`), step(3, "Softmax over all keys"), step(4, "Mix the values by the weights", value, part, context));
  const mark = result => {
    const i = view.get("feature"), j = view.get("key"), { weights, values, context } = result;
    strips.forEach(strip => strip.mark());
    says[4].textContent = `context = sum of weight × value over all ${weights.length} tokens. Feature ${i}: ${fixed(context[i])}, of which ${fixed(weights[j] * values[j][i])} from this key. `
      + `Length of weight × value: ${fixed(weights[j] * norm(values[j]), 2)}, of the context: ${fixed(norm(context), 2)}.`;
  };
  const draw = (result, largest) => {
    const j = view.get("key"), [from, to] = [view.get("query"), j].map(i => shown(view.get("tokens")[i]));
    const { weights, powers, scores } = result, dot = fixed(total(result.products[j]));
    q.draw(`query of ${from}`, result.q, largest[0]);
    k.draw(`key of ${to}`, result.keys[j], largest[1]);
    product.draw("query × key", result.products[j], result.largestProduct);
    value.draw(`value of ${to}`, result.values[j], largest[2]);
    part.draw("weight × value", result.values[j].map(x => weights[j] * x), largest[2]);
    context.draw(`context of ${from}`, result.context, largest[2]);
    says[1].textContent = `q · k = Σ qᵢkᵢ = ${dot}`;
    says[2].textContent = `score = ${dot} / ${fixed(Math.sqrt(D))} = ${fixed(scores[j])}`;
    says[3].textContent = `exp(${fixed(scores[j])} − ${fixed(result.max)}) = ${fixed(powers[j], 4)}, divided by the sum ${fixed(result.sum, 4)}: weight p = ${fixed(weights[j], 4)}`;
    mark(result);
  };
  return { list, draw, mark };
}

/** Cells of growing strength, for the legend. */
const sampleCells = (kind, n) => h("span", { class: "ih-sample", "aria-hidden": "true" }, range(n).map(i => h("i", { class: kind, style: `--share: ${100 * (i + 1) / n}%` })));

function layerChoice(view) {
  const missing = i => view.alone && !(i in view.get("pages"));
  const part = select(view, "Layer", "layer", range(view.get("shape")[0]).map(i => (missing(i) ? `${i} (needs a running notebook)` : i)));
  [...part.querySelectorAll("option")].forEach((option, i) => { option.disabled = missing(i); });
  return part;
}

function draw(view) {
  const tokens = view.get("tokens"), [, heads, D] = view.get("shape");
  const keys = keyList(view), steps = stepList(view);
  view.root.append(cardHead("Inside an attention head", "Move over the keys, and follow one from its query and key to its weight, in five steps; click a key to pin it."),
    h("div", { class: "bl-bar" }, layerChoice(view), select(view, "Head", "head", range(heads)),
      select(view, "Query (who looks)", "query", tokens.map((token, i) => `${i}: ${shown(token)}`)),
      slider(view, "Feature", "feature", { min: 0, max: D - 1, step: 1 })),
    cardLegend(["", "weight of a key"], [sampleCells("ih-above", 3), "a number above 0"], [sampleCells("ih-minus", 3), "a number below 0"], ["ih-frame", "the chosen feature"],
      [null, "The stronger the color, the farther from 0."]),
    h("div", { class: "ih-parts" }, keys.part, steps.list));
  let read = null, result = null;
  view.watch(["pages", "layer", "head", "query"], () => {
    const page = view.get("pages")[view.get("layer")];
    read = page && readHead(view, page, view.get("head"));
    result = page && attend(read, view.get("query"), tokens.length, D);
    view.root.setAttribute("aria-busy", !page);
    if (page) keys.draw(result);
    else view.say(`Asking the kernel for layer ${view.get("layer")} …`);
  });
  view.watch(["pages", "layer", "head", "query", "key"], () => {
    if (!result) return;
    const [layer, head, query, key] = ["layer", "head", "query", "key"].map(view.get);
    keys.choose(key);
    steps.draw(result, read.largest);
    const [from, to] = [query, key].map(i => `“${shown(tokens[i])}” (${i})`);
    view.say(`Layer ${layer}, head ${head}: ${from} looks at ${to} with score ${fixed(result.scores[key])} and weight ${fixed(result.weights[key])}.`);
  });
  view.watch(["feature"], () => { if (result) steps.mark(result); });
}
