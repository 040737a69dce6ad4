// Search comparison. The kernel answers a query; the answers of the examples are in the page. Pointing at a document
// marks it in every column.

const SC_LONG = 80; // characters of a query that are shown in a sentence

const scBrief = text => shown([...text].length > SC_LONG ? `${[...text].slice(0, SC_LONG - 1).join("")}…` : text);
/** Text for a sentence; the numbers around letters that are written from right to left stay where they are. */
const scInline = text => (/[\u0590-\u08ff\ufb1d-\ufefc]/.test(text) ? `\u2068${scBrief(text)}\u2069` : scBrief(text));
const scPercent = share => (share < 0.005 ? "under 1 %" : `${Math.round(100 * share)} %`);

/** The answer to the query: one of the examples' or the kernel's last one; null while it is on its way. */
function scAnswer(view) {
  const query = view.get("query");
  return [...view.get("examples"), view.get("answer")].find(answer => answer.query === query) ?? null;
}

// ── the query ──

/** The text box with its button and note, and the examples. */
function scQuery(view) {
  const box = h("input", { type: "text", class: "sc-box", dir: "auto", spellcheck: "false", enterkeyhint: "search",
    keydown: event => { if (event.key === "Enter" && !event.isComposing) ask(); } });
  const { note, ask, waits, problem } = question(view, "query", [box], query => ({ query }), false);
  const choose = query => {
    box.value = query;
    view.set({ query });
    if (!view.alone) ask(); // also clears what was wrong with the text before
  };
  const examples = view.get("queries").map(query => button(h("bdi", {}, scBrief(query)), () => choose(query), { class: "bl-button sc-example" }));
  view.watch(["query"], () => {
    box.value = view.get("query");
    examples.forEach((example, i) => example.setAttribute("aria-pressed", view.get("queries")[i] === view.get("query")));
  });
  const field = h("div", { class: "sc-ask" }, labeled("Query", box), button("Search", ask, { disabled: view.alone }));
  const list = h("div", { class: "sc-examples", role: "group", "aria-label": "example queries" }, h("span", { class: "bl-label", "aria-hidden": "true" }, "Try"), examples);
  return { parts: [field, note, list], waits, problem };
}

// ── the rankings ──

/** The excerpt of a document; what matched is marked by strength. */
const scExcerpt = ({ excerpt }) => h("p", { class: "sc-excerpt", dir: "auto" }, excerpt.map(([text, level, share]) =>
  (level ? h("mark", { class: `sc-mark sc-${level}`, title: `${scPercent(share)} of the score` }, shown(text)) : shown(text))));

/** The words that are only in the index. */
const scAdded = ({ added }) => added.length === 0 ? null : h("p", { class: "sc-added" }, h("span", { "aria-hidden": "true" }, "+ "),
  h("span", { class: "sc-unseen" }, "added: "), added.flatMap(([word, share], i) => [i ? ", " : null,
    h("bdi", { class: "sc-word", title: `${scPercent(share)} of the score; not in the text that the model read` }, shown(word))]));

/** The other rankings that have a document, with its rank there. */
function scOthers({ columns }, column, row) {
  const others = columns.map(({ system, found }, i) => [shown(system), i === column ? -1 : found.findIndex(each => each.row === row)]).filter(([, at]) => at >= 0);
  return others.length === 0 ? null : h("p", { class: "sc-others" }, "also ", others.map(([system, at], i) => [i ? ", " : null, h("b", {}, h("bdi", {}, system)), ` rank ${at + 1}`]).flat());
}

function scDocument(answer, column, found, rank) {
  return h("li", { role: "option", tabindex: -1, "aria-selected": "false", class: "sc-document", "data-row": found.row },
    h("div", { class: "sc-head" }, h("span", { class: "sc-rank" }, String(rank)), h("bdi", { class: "sc-title" }, shown(found.title)), h("span", { class: "bl-number sc-score" }, fixed(found.score, 2))),
    scExcerpt(found), scAdded(found), scOthers(answer, column, found.row));
}

/** The columns. `point(row)` is called with the document that is pointed at or has the focus, null for none. */
function scColumns(answer, point) {
  const columns = answer.columns.map(({ system, found }, column) => {
    const items = found.map((each, i) => scDocument(answer, column, each, i + 1)), name = h("p", { class: "bl-title sc-system" }, h("bdi", {}, shown(system)));
    if (items.length) items[0].tabIndex = 0;
    const list = h("ul", { class: "sc-list", role: "listbox", "aria-label": `found by ${shown(system)}` }, items);
    return { items, element: h("section", { class: "sc-column" }, name, items.length ? list : h("p", { class: "bl-quiet sc-none" }, "Nothing found.")) };
  });
  const go = (column, line) => {
    const { items } = columns[column], item = items[clamp(line, 0, items.length - 1)];
    items.forEach(each => { each.tabIndex = each === item ? 0 : -1; });
    item.focus();
  };
  /** Return the nearest column to the left or right in which something was found. */
  const beside = (column, step) => {
    for (let at = column + step; columns[at]; at += step) if (columns[at].items.length) return at;
    return column;
  };
  columns.forEach(({ items }, column) => items.forEach((item, line) => {
    item.addEventListener("keydown", arrows((down, right) => (right ? go(beside(column, right), line) : go(column, line + down))));
    item.addEventListener("click", () => go(column, line));
    for (const event of ["pointerenter", "focus"]) item.addEventListener(event, () => point(Number(item.dataset.row)));
    for (const event of ["pointerleave", "blur"]) item.addEventListener(event, () => point(null));
  }));
  return { elements: columns.map(each => each.element), items: columns.flatMap(each => each.items) };
}

// ── sentences ──

/** Where a document is in each ranking, and what matched most there. */
function scTellDocument({ columns }, row) {
  const places = columns.map(({ system, found }) => {
    const rank = found.findIndex(each => each.row === row), name = scInline(system);
    if (rank < 0) return `${name}: not ${found.length ? `among its first ${found.length}` : "found"}`;
    const { matched } = found[rank];
    return `${name}: rank ${rank + 1}${matched.length ? ` (${matched.map(([text, share]) => `${scInline(text)} ${scPercent(share)}`).join(", ")})` : ""}`;
  });
  const { title } = columns.flatMap(each => each.found).find(each => each.row === row);
  return `“${scInline(title)}”. ${places.join("; ")}.`;
}

/** How much the rankings agree. */
function scTellAll({ query, columns }) {
  const rows = columns.map(({ found }) => found.map(each => each.row)), all = new Set(rows.flat());
  const shared = [...all].filter(row => rows.every(own => own.includes(row))).length;
  const empty = columns.filter(({ found }) => !found.length).map(({ system }) => scInline(system));
  const nothing = empty.length ? ` Nothing was found by ${empty.join(" and ")}.` : "";
  const agree = columns.length > 1 && all.size ? ` ${all.size === 1 ? "1 document is" : `${all.size} documents are`} shown, ${shared || "none"} of them found by all ${columns.length} searches.` : "";
  return `“${scInline(query)}”:${agree}${nothing} Point at a document, or use the arrow keys, to see what matched most.`;
}

function draw(view) {
  const { parts, waits, problem } = scQuery(view), columns = h("div", { class: "sc-columns" });
  const sample = level => h("span", { class: `sc-mark sc-${level}` }, "word");
  view.root.append(cardHead("Search comparison", "Type a query and press Enter, or try an example: what does each search find, and which words made a document match?"), parts[0], parts[1], parts[2],
    cardLegend([h("span", { class: "sc-samples" }, [1, 2, 3].map(sample)), "matched: a small to a large share of the score"], [h("span", { class: "sc-added" }, "+ word"), "added by the model, not in the text that it read"],
      ["sc-here", "the document you point at, in every ranking"]), columns);
  let answer = null, items = [];
  const tell = row => view.say(problem() ? `Cannot search for this: ${problem()}.` : waits() ? "Searching …" : row === null ? scTellAll(answer) : scTellDocument(answer, row));
  const point = row => {
    for (const item of items) {
      const here = Number(item.dataset.row) === row;
      item.classList.toggle("sc-pointed", here);
      item.setAttribute("aria-selected", here);
    }
    tell(row);
  };
  view.watch(["query", "answer", "asked", "answered"], () => {
    const next = scAnswer(view);
    if (next && JSON.stringify(next) !== JSON.stringify(answer)) {
      answer = next;
      const made = scColumns(answer, point);
      items = made.items;
      columns.replaceChildren(...made.elements);
      columns.style.setProperty("--columns", made.elements.length);
    }
    tell(null);
  });
}
