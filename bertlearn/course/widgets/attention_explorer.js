// Attention explorer. The page holds the weights, two bytes each: only a new choice goes to the kernel.

const STEPS = 65535;
const ROOTS = Float32Array.from({ length: STEPS + 1 }, (_, weight) => Math.sqrt(weight)); // half a million of them are needed at once

/** The overview: all heads as small maps, and a grid of buttons over them. */
function overview(view, panel) {
  const [layers, heads] = view.get("shape"), S = panel.tokens.length, side = S + 1;
  const canvas = h("canvas", { class: "ax-heads", "aria-hidden": "true" });
  const buttons = range(layers * heads).map(i => {
    const [layer, head] = [Math.floor(i / heads), i % heads];
    return h("button", { type: "button", tabindex: -1, role: "gridcell", "aria-label": `layer ${layer}, head ${head}`, title: `layer ${layer}, head ${head}`,
      click: () => view.set({ layer, head }) });
  });
  const rows = range(layers).map(layer => h("div", { role: "row", class: "ax-row" }, buttons.slice(layer * heads, (layer + 1) * heads)));
  const grid = h("div", { class: "ax-grid", role: "grid", "aria-label": "All heads: layers downward, heads to the right", keydown: chooseHead(view, buttons) }, canvas, rows);
  view.watch(["special", "theme"], () => {
    const open = [...panel.open()], max = panel.maxima(open);
    paintDots(canvas, layers * side, heads * side, shades(view.root), (dots, colors) => {
      for (let head = 0; head < layers * heads; head++) {
        const gain = 255 / ROOTS[max[head]], corner = Math.floor(head / heads) * side * heads * side + (head % heads) * side;
        for (const q of open)
          for (const k of open)
            dots[corner + q * heads * side + k] = colors[Math.round(gain * ROOTS[panel.weights[(head * S + q) * S + k]])];
      }
    });
  });
  view.watch(["layer", "head"], () => {
    const chosen = view.get("layer") * heads + view.get("head");
    buttons.forEach((button, i) => { button.tabIndex = i === chosen ? 0 : -1; button.setAttribute("aria-selected", i === chosen); });
  });
  const columns = h("div", { class: "ax-columns bl-quiet", "aria-hidden": "true" }, range(heads).map(head => h("span", {}, String(head))));
  const names = h("div", { class: "ax-names bl-quiet", "aria-hidden": "true" }, range(layers).map(layer => h("span", {}, String(layer))));
  return h("div", { class: "ax-overview", style: `--heads: ${heads}` }, h("div", { class: "bl-quiet ax-caption" }, "layers ↓ heads →"), columns, names, grid);
}

/** A panel's numbers: the weights, the tokens that are shown, and the largest weights among those. */
function readPanel(view, panel) {
  const weights = numbers(panel.weights, Uint16Array), S = panel.tokens.length;
  const [layers, heads] = view.get("shape");
  const special = new Set(panel.special);
  const at = (q, k) => weights[((view.get("layer") * heads + view.get("head")) * S + q) * S + k] / STEPS;
  return {
    ...panel, weights, at, darkest: h("span", { class: "bl-number" }),
    open: () => new Set(range(S).filter(i => view.get("special") || !special.has(i))),
    maxima(open) {
      return range(layers * heads).map(head => {
        if (view.get("special")) return STEPS;
        let max = 1;
        for (const q of open) for (const k of open) max = Math.max(max, weights[(head * S + q) * S + k]);
        return max;
      });
    },
    max(open) {
      if (view.get("special")) return 1;
      let max = 1 / STEPS;
      for (const q of open) for (const k of open) max = Math.max(max, at(q, k));
      return max;
    },
  };
}

/** One head, large: rows look, columns are looked at; next to each token is its weight for the chosen one. */
function largeHead(view, panel) {
  const S = panel.tokens.length;
  const pick = i => view.set({ token: i });
  const chosen = () => Math.min(view.get("token"), S - 1);
  const rows = tokenList(panel.tokens, "token to follow", pick);
  const bars = panel.tokens.map(token => h("li", {}, h("bdi", {}, shown(token)), h("span", { class: "ax-weight" }), h("span", { class: "ax-bar", "aria-hidden": "true" })));
  const columns = panel.tokens.map(token => h("li", { title: shown(token) }, h("bdi", {}, shown(token))));
  const canvas = h("canvas", { class: "ax-map", role: "img", "aria-label": "heat map: rows look, columns are looked at" });
  const cursor = h("div", { class: "ax-cursor", "aria-hidden": "true" });
  const follow = event => {
    const box = canvas.getBoundingClientRect(), open = [...panel.open()], n = open.length;
    const share = view.get("direction") === "to" ? (event.clientY - box.top) / box.height : (event.clientX - box.left) / box.width;
    const i = open[clamp(Math.floor(share * n), 0, n - 1)];
    rows[event.type === "click" ? "press" : "point"](i);
  };
  for (const event of ["pointermove", "click"]) canvas.addEventListener(event, follow);

  const map = () => {
    const open = [...panel.open()], max = panel.max(open);
    for (const items of [rows.items, bars, columns]) items.forEach((item, i) => { item.hidden = !open.includes(i); });
    paint(canvas, open.length, open.length, (r, c) => Math.sqrt(panel.at(open[r], open[c]) / max), shades(view.root));
    canvas.style.setProperty("--n", open.length);
    panel.darkest.textContent = fixed(max, 2);
  };
  const weigh = () => {
    const i = chosen(), to = view.get("direction") === "to", open = [...panel.open()];
    const weights = panel.tokens.map((_, j) => (to ? panel.at(i, j) : panel.at(j, i)));
    const max = Math.max(...open.map(j => weights[j]), 1e-9);
    rows.choose(i);
    bars.forEach((item, j) => {
      item.style.setProperty("--w", (100 * weights[j] / max).toFixed(1) + "%");
      item.children[1].textContent = fixed(weights[j]);
    });
    const index = open.indexOf(i);
    cursor.hidden = index < 0;
    cursor.className = `ax-cursor ${to ? "ax-across" : "ax-down"}`;
    cursor.style.setProperty("--index", index);
    panel.sentence = tell(panel.tokens, i, to, open.map(j => [weights[j], j]));
  };
  view.watch(["layer", "head", "special", "theme"], map);
  view.watch(["layer", "head", "token", "direction", "special"], weigh);
  const heading = h("div", { class: "bl-quiet ax-heading" });
  view.watch(["direction"], () => { heading.textContent = view.get("direction") === "to" ? "is looked at, with weight" : "looks at it, with weight"; });
  const plot = h("div", { class: "ax-plot" }, canvas, cursor);
  return h("div", { class: "ax-large", style: `--tokens: ${S}` },
    h("div", { class: "bl-quiet ax-heading" }, "looks ↓ at →"), h("ul", { class: "bl-tokens bl-top", "aria-label": "columns of the map" }, columns), heading,
    rows.list, plot, h("ul", { class: "bl-tokens ax-bars", "aria-label": "weights" }, bars));
}

/** Return a sentence on the largest weights of a token; `weighted` lists pairs of a weight and an index. */
function tell(tokens, i, to, weighted) {
  const best = weighted.sort((a, b) => b[0] - a[0]).filter(([weight], rank) => weight >= (rank ? 0.01 : 0.0005)).slice(0, 3);
  const names = best.map(([weight, j]) => `“${shown(tokens[j])}” (${j}) ${fixed(weight)}`).join(", ");
  const verb = to ? "looks" : "is looked at";
  const rest = names ? `most ${to ? "at" : "by"} ${names}` : `${to ? "at" : "by"} none of these tokens`;
  return `“${shown(tokens[i])}” (${i}) ${verb} ${rest}.`;
}

/** Controls, and the legend with the weight of the darkest color, which depends on the tokens that are shown. */
function controls(view, panels) {
  const scale = panel => h("span", {}, panel.title ? `weight in ${panel.title}, 0 to ` : "weight, 0 to ", panel.darkest);
  return [h("div", { class: "bl-bar" },
    select(view, "Layer", "layer", range(view.get("shape")[0])), select(view, "Head", "head", range(view.get("shape")[1])),
    choice(view, "Follow what it", "direction", { to: "looks at", from: "is looked at by" }),
    check(view, "show [CLS], [SEP]", "special")),
  cardLegend(...panels.map(panel => ["bl-ramp", scale(panel)]), [null, "(colors follow the square root, so that small weights show)"],
    ["", "weight for the chosen token"], ["bl-chosen", "chosen head and token"])];
}

function draw(view) {
  const panels = view.get("panels").map(panel => readPanel(view, panel));
  view.root.append(cardHead("Attention explorer", "Choose a head in the small maps, then move over the tokens to see where each one looks; click a token to pin it."),
    ...controls(view, panels), h("div", { class: "ax-panels" }, panels.map(panel => h("section", { class: "ax-panel", "aria-label": panel.title || "attention" },
      panel.title ? h("p", { class: "bl-title" }, panel.title) : null,
      h("div", { class: "ax-parts" }, overview(view, panel), largeHead(view, panel))))));
  view.watch(["layer", "head", "token", "direction", "special"], () => {
    const sentences = panels.map(panel => (panel.title ? `${panel.title}: ` : "") + panel.sentence);
    view.say(`Layer ${view.get("layer")}, head ${view.get("head")}. ${sentences.join(" ")}`);
  });
}
