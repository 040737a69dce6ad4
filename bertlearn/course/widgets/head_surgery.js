// Head surgery. The kernel runs the model: a text, `off` and `cut` are questions to it, `reading` and `outcome` its
// answers. The effect of each single head comes with the reading, so that all heads can be explored without asking.

const STEPS = 65535;

const signed = (x, digits = 2) => (Number(x.toFixed(digits)) < 0 ? "−" : "+") + fixed(Math.abs(x), digits);
const minus = x => fixed(x, 2).replace("-", "−");
const headName = (layer, head) => `layer ${layer}, head ${head}`;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const toggled = (list, item) => (list.some(each => same(each, item)) ? list.filter(each => !same(each, item)) : [...list, item]);

function softmax(logits) {
  const max = Math.max(...logits), parts = logits.map(x => Math.exp(x - max)), sum = parts.reduce((a, b) => a + b);
  return parts.map(x => x / sum);
}
function logOdds(logits, label) {
  const max = Math.max(...logits), others = logits.filter((_, i) => i !== label);
  return logits[label] - max - Math.log(others.reduce((sum, x) => sum + Math.exp(x - max), 0));
}

const LONG = 1500; // ms: the model itself answers sooner, so another cell must be running

/** Questions to the kernel, and whether an answer takes so long that the kernel must be busy with a cell. */
function kernel(view) {
  let timer = null, busy = false;
  const field = h("input", { type: "text", dir: "auto", class: "hs-text", spellcheck: "false", keydown: event => { if (event.key === "Enter") read(); } });
  const text = question(view, "text", [field], text => ({ text }), false);
  const waits = () => {
    const { off, cut } = view.get("outcome");
    return text.waits() || !same([view.get("off"), view.get("cut")], [off, cut]);
  };
  const listeners = [];
  const check = () => {
    view.root.setAttribute("aria-busy", waits());
    if (waits() && timer === null) timer = setTimeout(() => { busy = true; listeners.forEach(f => f()); }, LONG);
    if (!waits()) { clearTimeout(timer); [timer, busy] = [null, false]; }
  };
  const read = () => { text.ask(); check(); };
  view.watch(["text"], () => { if (document.activeElement !== field) field.value = view.get("text"); });
  view.watch(["asked", "answered", "off", "cut", "outcome"], check);
  return {
    field, read, note: text.note, problem: text.problem,
    /** What the page waits for, or "". */
    waitsFor: () => (!waits() ? "" : busy ? "Waiting for the cell that is running; the answer comes when it has finished." : "The model is computing …"),
    onBusy: f => listeners.push(f),
    ask(values) {
      if (view.alone) return;
      view.set(values);
      check();
    },
  };
}

function effect(view) {
  return view.get("reading").effects[view.get("layer")][view.get("head")];
}

/** The sentence, and the button that undoes everything. */
function controls(view, { ask, field, read, note }) {
  const reset = button("Heal all", () => {
    view.set({ layer: 0, head: 0 }); // else a click that means to choose the head would switch it off again
    ask({ off: [], cut: [] });
  });
  view.watch(["off", "cut"], () => { reset.disabled = view.alone || view.get("off").length + view.get("cut").length === 0; });
  return h("div", { class: "bl-bar" }, labeled("Sentence", field), button("Read", read, { disabled: view.alone }), reset, note);
}

/** Probabilities of the labels: for the whole model, and with what is off and cut. */
function probabilities(view) {
  const rows = view.get("labels").map(name => [h("th", { scope: "row" }, h("bdi", {}, shown(name))), h("td", { class: "hs-share" }, h("span")), h("td", { class: "hs-share" }, h("span"))]);
  view.watch(["reading", "outcome"], () => [view.get("reading"), view.get("outcome")].forEach(({ logits }, column) =>
    softmax(logits).forEach((p, i) => {
      rows[i][column + 1].firstChild.textContent = fixed(p, 2);
      rows[i][column + 1].style.setProperty("--w", (100 * p).toFixed(1) + "%");
    })));
  return h("table", { class: "hs-labels" },
    h("thead", {}, h("tr", {}, h("td", {}), ["whole model", "now"].map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(row => h("tr", {}, row))));
}

/** The log-odds on a line with 0 in the middle: of the whole model, now, and with only the chosen head off. */
function gauge(view) {
  const name = shown(view.get("labels")[view.get("label")]), label = view.get("label");
  const marks = ["whole", "now", "alone"].map(kind => h("span", { class: `hs-mark hs-${kind}` }));
  const texts = marks.map(() => h("span"));
  const ends = [h("span"), h("span", {}, "0"), h("span")];
  view.watch(["reading", "outcome", "layer", "head"], () => {
    const base = logOdds(view.get("reading").logits, label), now = logOdds(view.get("outcome").logits, label), alone = base + effect(view);
    const reach = Math.max(...view.get("reading").effects.flat().map(Math.abs));
    const limit = Math.ceil(Math.max(Math.abs(base) + reach, Math.abs(now), 1));
    [base, now, alone].forEach((x, i) => marks[i].style.setProperty("--at", (50 + 48 * x / limit).toFixed(2) + "%"));
    texts[0].textContent = `whole model ${minus(base)}`;
    texts[1].textContent = `now ${minus(now)} (${signed(now - base)})`;
    texts[2].textContent = `only ${headName(view.get("layer"), view.get("head"))} off ${minus(alone)} (${signed(alone - base)})`;
    [ends[0].textContent, ends[2].textContent] = [`−${limit} against ${name}`, `for ${name} +${limit}`];
  });
  return h("div", { class: "hs-gauge" }, h("p", { class: "bl-title" }, `Log-odds of ${name}`),
    h("div", { class: "hs-line", "aria-hidden": "true" }, h("span", { class: "hs-zero" }), marks), h("div", { class: "hs-ends bl-quiet", "aria-hidden": "true" }, ends),
    h("ul", { class: "hs-key" }, texts.map((text, i) => h("li", {}, marks[i].cloneNode(), text))));
}

/** What is off and cut, as buttons that heal it. */
function cuts(view, { ask }) {
  const list = h("span", { class: "hs-cuts" });
  view.watch(["off", "cut", "reading"], () => {
    const { tokens } = view.get("reading"), name = i => `“${shown(tokens[i] ?? "")}” (${i})`;
    const heal = (trait, item, text) => button(`× ${text}`, () => ask({ [trait]: toggled(view.get(trait), item) }), { disabled: view.alone, "aria-label": `heal ${text}` });
    list.replaceChildren(...view.get("off").map(item => heal("off", item, `${headName(...item)} off`)),
      ...view.get("cut").map(item => heal("cut", item, `${headName(item[0], item[1])}: ${name(item[2])} → ${name(item[3])}`)));
    if (!list.childElementCount) list.append("nothing");
  });
  return h("div", { class: "bl-bar" }, h("span", { class: "bl-quiet" }, "Off or cut:"), list);
}

/** All heads, colored by the effect of each one alone; press a head to choose it, again to switch it off or on. */
function headGrid(view, { ask }) {
  const [layers, heads] = view.get("shape");
  const press = i => {
    const item = [Math.floor(i / heads), i % heads];
    if (same(item, [view.get("layer"), view.get("head")])) ask({ off: toggled(view.get("off"), item) });
    else view.set({ layer: item[0], head: item[1] });
  };
  const cells = range(layers * heads).map(i => h("button", { type: "button", role: "gridcell", class: "hs-head", click: () => press(i) }));
  view.watch(["reading", "off", "layer", "head"], () => {
    const effects = view.get("reading").effects.flat(), max = Math.max(...effects.map(Math.abs), 1e-6);
    const off = new Set(view.get("off").map(([layer, head]) => layer * heads + head)), chosen = view.get("layer") * heads + view.get("head");
    cells.forEach((cell, i) => {
      const text = signed(effects[i]), name = headName(Math.floor(i / heads), i % heads);
      cell.textContent = off.has(i) ? "off" : signed(effects[i], Math.abs(effects[i]) < 0.995 ? 2 : 1).replace(/^(.)0/, "$1");
      cell.title = `only ${name} off: ${signed(effects[i], 3)}`;
      cell.setAttribute("aria-label", `${name}${off.has(i) ? ", off" : ""}: ${text} if it alone is off`);
      cell.setAttribute("aria-selected", i === chosen);
      cell.tabIndex = i === chosen ? 0 : -1;
      cell.classList.toggle("hs-off", off.has(i));
      tint(cell, effects[i] / max);
    });
  });
  const rows = range(layers).map(layer => h("div", { role: "row", class: "hs-row" },
    h("span", { class: "bl-quiet", role: "rowheader" }, String(layer)), cells.slice(layer * heads, (layer + 1) * heads)));
  const names = h("div", { role: "row", class: "hs-row bl-quiet" }, h("span", { role: "columnheader" }, "layer"), range(heads).map(head => h("span", { role: "columnheader" }, String(head))));
  return h("section", { class: "hs-part hs-all" }, h("p", { class: "bl-title" }, "Change of the log-odds if this head alone is off"),
    h("div", { role: "grid", "aria-label": "all heads: layers downward, heads to the right", style: `--heads: ${heads}`, keydown: chooseHead(view, cells) }, names, rows));
}

/** Color by a value from −1 to 1: orange speaks for the label, purple against it. */
function tint(element, value) {
  element.style.setProperty("--tone", (100 * clamp(Math.abs(value), 0, 1)).toFixed(0) + "%");
  element.classList.toggle("hs-against", value < 0);
  element.classList.add("hs-tint");
}

/** For each word: what it adds to the log-odds, and how much attention it receives in the chosen layer. */
function words(view) {
  const body = h("tbody"), layer = h("span");
  view.watch(["reading", "layer"], () => {
    const { tokens, added, received } = view.get("reading"), inner = range(tokens.length).slice(1, -1), attention = received[view.get("layer")];
    const [most, top] = [added, attention].map(row => Math.max(...inner.map(i => Math.abs(row[i])), 1e-9));
    layer.textContent = `what is looked at: attention, layer ${view.get("layer")}`;
    body.replaceChildren(...inner.map(i => {
      const sum = h("td", { class: "hs-sum" }, h("span", {}, signed(added[i]))), share = h("td", { class: "hs-share" }, h("span", {}, fixed(attention[i], 3)));
      sum.style.setProperty("--size", (50 * Math.abs(added[i]) / most).toFixed(1) + "%");
      sum.classList.toggle("hs-against", added[i] < 0);
      share.style.setProperty("--w", (100 * attention[i] / top).toFixed(1) + "%");
      return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, shown(tokens[i]))), sum, share);
    }));
  });
  return h("section", { class: "hs-part" }, h("p", { class: "bl-title" }, "Words, in the whole model"),
    h("table", { class: "hs-words" }, h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "what counts: integrated gradients"), h("th", { scope: "col" }, layer))), body));
}

/** The chosen head's attention; its cells are edges to cut. One button moves over the map as a cursor. */
function edgeMap(view, { ask }, tell) {
  const [, heads] = view.get("shape"), canvas = h("canvas", { class: "hs-map", "aria-hidden": "true" });
  const cell = h("button", { type: "button", role: "gridcell", class: "hs-cell" }), row = h("div", { role: "row" }, cell);
  const marks = h("div", { "aria-hidden": "true" }), left = h("ul", { class: "bl-tokens hs-left", "aria-hidden": "true" }), top = h("ul", { class: "bl-tokens bl-top", "aria-hidden": "true" });
  const plot = h("div", { class: "hs-plot", role: "grid" }, canvas, marks, row);
  const at = { query: 1, key: 1 };
  let S = 0, weights = null;
  const chosen = () => [view.get("layer"), view.get("head")];
  const here = () => view.get("cut").filter(([layer, head]) => same([layer, head], chosen()));
  const weight = (q, k) => weights[((view.get("layer") * heads + view.get("head")) * S + q) * S + k] / STEPS;
  const go = (query, key) => {
    Object.assign(at, { query: clamp(query, 0, S - 1), key: clamp(key, 0, S - 1) });
    const { tokens } = view.get("reading"), isCut = here().some(edge => same(edge.slice(2), [at.query, at.key]));
    const text = `“${shown(tokens[at.query])}” (${at.query}) looks at “${shown(tokens[at.key])}” (${at.key}): ${isCut ? "cut" : fixed(weight(at.query, at.key))}`;
    cell.setAttribute("aria-label", text);
    cell.setAttribute("aria-colindex", at.key + 1);
    row.setAttribute("aria-rowindex", at.query + 1);
    plot.style.setProperty("--q", at.query);
    plot.style.setProperty("--k", at.key);
    [...left.children].forEach((item, i) => item.classList.toggle("hs-here", i === at.query));
    [...top.children].forEach((item, i) => item.classList.toggle("hs-here", i === at.key));
    tell(text);
  };
  const follow = event => {
    const box = canvas.getBoundingClientRect();
    go(...[(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map(part => Math.floor(part * S)));
  };
  for (const event of ["pointermove", "pointerdown"]) plot.addEventListener(event, follow);
  plot.addEventListener("click", () => {
    const edge = [...chosen(), at.query, at.key], next = toggled(view.get("cut"), edge);
    cell.focus({ preventScroll: true });
    if (next.filter(each => same(each.slice(0, 3), edge.slice(0, 3))).length < S) ask({ cut: next });
    else tell(`“${shown(view.get("reading").tokens[at.query])}” (${at.query}) has no other edge left; leave one`);
  });
  plot.addEventListener("keydown", arrows((down, right) => go(at.query + down, at.key + right)));
  const label = tokens => {
    for (const list of [left, top]) list.replaceChildren(...tokens.map(token => h("li", { title: shown(token) }, h("bdi", {}, shown(token)))));
    for (const name of ["aria-rowcount", "aria-colcount"]) plot.setAttribute(name, S);
    plot.style.setProperty("--n", S);
  };
  let tokens = null;
  view.watch(["reading", "outcome", "cut", "layer", "head", "theme"], () => { // one function, as later lines need what earlier ones set
    S = view.get("reading").tokens.length;
    weights = numbers(view.get("outcome").weights, Uint16Array);
    if (tokens !== view.get("reading").tokens) label(tokens = view.get("reading").tokens);
    paint(canvas, S, S, (q, k) => Math.sqrt(weight(q, k)), shades(view.root));
    plot.setAttribute("aria-label", `edges of ${headName(...chosen())}: rows look, columns are looked at`);
    marks.replaceChildren(...here().map(([, , q, k]) => h("span", { class: "hs-cut", style: `--q: ${q}; --k: ${k}` }, "×")));
    go(at.query, at.key);
  });
  const off = h("input", { type: "checkbox", disabled: view.alone, change: () => ask({ off: toggled(view.get("off"), chosen()) }) });
  view.watch(["off", "layer", "head"], () => { off.checked = view.get("off").some(item => same(item, chosen())); });
  const [layers] = view.get("shape");
  return h("section", { class: "hs-part" }, h("p", { class: "bl-title" }, "Edges of one head"),
    h("div", { class: "bl-bar" }, select(view, "Layer", "layer", range(layers)), select(view, "Head", "head", range(heads)), labeled("off", off)),
    h("div", { class: "hs-edges" }, h("span", { class: "bl-quiet" }, "looks ↓ at →"), top, left, plot));
}

/** What to do, and the legend. */
function manual(view) {
  const name = shown(view.get("labels")[view.get("label")]), sample = (kind, text = "") => h("span", { class: `hs-sample ${kind}`, style: "--tone: 100%", "aria-hidden": "true" }, text);
  return [cardHead("Head surgery", "Switch off a head or cut one edge, and see whether the model changes its mind about the sentence."),
    h("ul", { class: "hs-manual" }, ["Click a head to choose it; click it again, or press the space bar, to switch it off or on.",
      "Click a cell of the chosen head’s map to cut this edge: its weight becomes 0, and the rest of the row shares it.",
      "Type another sentence and press Enter, or Heal all to start over."].map(text => h("li", {}, text))),
    cardLegend([sample("hs-tint"), `toward ${name}`], [sample("hs-tint hs-against"), `away from ${name}`], [sample("hs-off"), "switched off"], [sample("hs-x", "×"), "cut"], ["", "probability or attention"], ["bl-ramp", "attention, 0 to 1 (square root)"], ["bl-chosen", "chosen"])];
}

function draw(view) {
  const asking = kernel(view);
  let edge = "";
  const tell = () => {
    if (asking.waitsFor()) return view.say(asking.waitsFor());
    const names = view.get("labels"), p = softmax(view.get("outcome").logits), best = p.indexOf(Math.max(...p));
    const fault = asking.problem() && `Cannot read it: ${asking.problem()}. `;
    const alone = view.alone ? " Switching off and cutting need a running notebook." : "";
    view.say(`${fault}The model says ${shown(names[best])}, ${fixed(p[best], 2)}. If only ${headName(view.get("layer"), view.get("head"))} is off, `
      + `the log-odds change by ${signed(effect(view))}. There ${edge}.${alone}`);
  };
  view.root.append(...manual(view), controls(view, asking), h("div", { class: "hs-answer" }, probabilities(view), gauge(view)), cuts(view, asking),
    h("div", { class: "hs-parts" }, headGrid(view, asking), words(view), edgeMap(view, asking, text => { edge = text; tell(); })));
  asking.onBusy(tell);
  view.watch(["asked", "answered", "off", "cut", "reading", "outcome", "layer", "head"], tell);
}
