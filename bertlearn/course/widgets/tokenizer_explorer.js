// Tokenizer explorer. The kernel tokenizes the text; choosing words, pointing and stepping happen in the page.
// A piece is a wordpiece or a special token. Positions count characters as Python does. JavaScript counts 🎬 as two
// characters, so texts are lists of characters here.

const BEAT = 500; // milliseconds between two steps while playing
const ROUNDS = 8; // the candidates of at most this many pieces are listed
const KINDS = { case: "lower case", accent: "accent dropped", "taken apart": "decomposed", apart: "spaces around it", blank: "plain space", dropped: "gone" };

// ── the kernel's answer, and what follows from it ──

/** One tokenizer's answer, and which pieces belong to which word. */
function readPanel(panel, characters) {
  const end = panel.pieces.length - 1;
  const pieces = panel.pieces.map(([token, id, start, stop], i) => ({ token, id, start, stop, frame: i === 0 || i === end }));
  let next = 1;
  const words = panel.words.map((word, number) => {
    const letters = [...word.text], first = next, special = word.rule === "special";
    next += word.found.at(-1)?.[0] === letters.length ? word.found.length : 1;
    pieces.slice(first, next).forEach(piece => { piece.word = number; });
    return { ...word, letters, first, next, special, unknown: !special && pieces[first].token === "[UNK]" };
  });
  return { ...panel, characters, pieces, words };
}

/** Every candidate of the longest match, in order: all candidates before one that is found are not in the vocabulary. */
function lookups({ letters, found, rule }) {
  const tried = [];
  let start = 0;
  for (const [stop, id] of rule === "search" ? [...found, [0, null]] : []) {
    if (start === letters.length) break;
    for (let end = letters.length; end > start && end >= stop; end--)
      tried.push({ start, end, id: end === stop ? id : null, piece: (start ? "##" : "") + letters.slice(start, end).join("") });
    start = stop;
  }
  return tried;
}

/** The text in parts: each character that changes, with its accents, and between them unchanged text of one piece. */
function textParts({ characters, changes, pieces, words }) {
  const owner = [], kept = new Set(), parts = [];
  pieces.forEach(({ start, stop }, i) => range(stop - start).forEach(c => { owner[start + c] ??= i; }));
  words.filter(word => word.special).forEach(({ start, end }) => range(end - start).forEach(c => kept.add(start + c)));
  const joined = c => c < characters.length && (/^[\p{M}\u200d]/u.test(characters[c]) || characters[c - 1] === "\u200d");
  for (let start = 0, stop; start < characters.length; start = stop) {
    for (stop = start + 1; joined(stop); ) stop++;
    const all = characters.slice(start, stop), typed = all.join("");
    const changed = all.map((character, i) => (kept.has(start + i) ? null : changes[character]));
    const becomes = all.map((character, i) => changed[i]?.becomes ?? character).join("");
    const last = parts.at(-1), part = { start, stop, typed, becomes, changed: changed.filter(Boolean) };
    if (last && !last.changed.length && !part.changed.length && owner[last.start] === owner[start]) Object.assign(last, { stop, typed: last.typed + typed });
    else parts.push(part);
  }
  return parts;
}

// ── elements ──

/** Text as one short line. */
const brief = text => shown([...text].length > 40 ? `${[...text].slice(0, 39).join("")}…` : text);

/** A token as text, with ## in front, whatever the writing direction of the letters. */
function tokenText(token) {
  const inside = token.startsWith("##") && token.length > 2;
  return [inside ? "##" : null, h("bdi", {}, brief(inside ? token.slice(2) : token))];
}

/** Scroll a box, and nothing around it, until an element in it is visible. */
function reveal(box, element) {
  if (!element) return;
  const outer = box.getBoundingClientRect(), inner = element.getBoundingClientRect();
  if (inner.top < outer.top || inner.bottom > outer.bottom) box.scrollTop += inner.top - outer.top - box.clientHeight / 2;
}

/** The elements of each span of the text: all elements that overlap the span pointed at are marked. */
function spans(root) {
  let all = [];
  const mark = element => {
    const { start, stop } = all[element?.closest("[data-span]")?.dataset.span] ?? { start: 0, stop: 0 };
    for (const each of all) each.element.classList.toggle("tx-marked", each.start < stop && start < each.stop);
    for (const box of root.querySelectorAll(".tx-chips, .tx-typed")) if (!box.contains(element)) reveal(box, box.querySelector(".tx-marked"));
  };
  for (const event of ["pointerover", "focusin"]) root.addEventListener(event, ({ target }) => mark(target));
  for (const event of ["pointerleave", "focusout"]) root.addEventListener(event, () => mark(null));
  return {
    clear() { all = []; },
    add(start, stop, element) {
      element.dataset.span = all.push({ element, start, stop }) - 1;
      return element;
    },
  };
}

/** A wrapping list of chips, one of them in the tab order. A click or Enter picks; with `follow`, so does an arrow key. */
function chipList(chips, label, pick, follow) {
  let here = 0, chosen = [];
  const enter = i => [here, i].forEach((each, now) => { here = each; if (chips[each]) chips[each].tabIndex = now - 1; });
  const go = (i, picks) => {
    enter(i);
    chips[i].focus();
    if (picks) pick(i);
  };
  const keys = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9, Enter: 0, " ": 0 };
  const list = h("ul", { class: "tx-chips", role: "listbox", "aria-label": label, "aria-orientation": "horizontal", "aria-multiselectable": !follow && "true",
    click: event => { const i = chips.indexOf(event.target.closest("li")); if (i >= 0) go(i, true); },
    keydown: event => {
      if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      go(clamp(here + keys[event.key], 0, chips.length - 1), follow || keys[event.key] === 0);
    } }, chips);
  enter(0);
  return {
    list,
    choose(first, next) {
      for (const each of chosen) each.setAttribute("aria-selected", "false");
      chosen = chips.slice(first, next);
      for (const each of chosen) each.setAttribute("aria-selected", "true");
      reveal(list, chosen[0]);
      if (here < first || here >= next) enter(first);
    },
  };
}

const chip = (kind, ...children) => h("li", { role: "option", tabindex: -1, "aria-selected": "false", class: kind }, ...children);
const kindOf = word => (word.unknown ? "tx-unknown" : word.special ? "tx-frame" : "");

// ── from the text to the pieces ──

/** The text box, and the state of the question. */
function textBox(view) {
  const box = h("textarea", { rows: 2, spellcheck: "false", dir: "auto" });
  const { note, waits } = question(view, "text", [box], text => ({ text }));
  view.watch(["text"], () => { if (!waits()) box.value = view.get("text"); });
  return h("div", { class: "tx-ask" }, labeled("Text", box), note);
}

function countTable(panels) {
  const named = panels.some(panel => panel.title);
  const head = [named && "tokenizer", "vocabulary size", "characters", "words", "wordpieces", "unknown", "wordpieces per word", "with [CLS], [SEP]"];
  const lines = panels.map(({ title, size, characters, words, pieces }) => {
    const count = pieces.length - 2, unknown = pieces.filter(piece => piece.token === "[UNK]").length;
    const all = pieces.length > 512 ? `${pieces.length}: BERT reads 512` : pieces.length;
    const cells = [size.toLocaleString("en"), characters.length, words.length, count, unknown, words.length ? fixed(count / words.length, 2) : "–", all];
    return h("tr", {}, named ? h("th", { scope: "row" }, title) : null, cells.map(cell => h("td", {}, String(cell))));
  });
  return h("table", { class: "tx-counts" }, h("thead", {}, h("tr", {}, head.filter(Boolean).map(name => h("th", { scope: "col" }, name)))), h("tbody", {}, lines));
}

/** The text as typed, with the result below each character that changes. Then how many characters change, and why. */
function typedText(panel, marks) {
  const counts = {}, names = {};
  const text = textParts(panel).map(({ start, stop, typed, becomes, changed }) => {
    const seen = shown((/^\p{M}/u.test(typed) ? "◌" : "") + typed);
    if (!changed.length) return marks.add(start, stop, h("span", {}, seen));
    for (const { kinds, name } of changed)
      for (const kind of kinds) {
        counts[kind] = (counts[kind] ?? 0) + 1;
        (names[kind] ??= new Set()).add(name);
      }
    const kinds = [...new Set(changed.flatMap(change => change.kinds))], blank = kinds.includes("blank");
    const title = `${changed.map(change => change.name).join(", ")}: ${kinds.map(kind => KINDS[kind]).join(", ")}`;
    return marks.add(start, stop, h("ruby", { "data-kinds": kinds.join(" "), title },
      blank ? seen.replace(/\s/g, "␣") : seen, h("rt", {}, blank ? "space" : becomes.replaceAll(" ", "␣") || "gone")));
  });
  const items = Object.keys(KINDS).filter(kind => counts[kind]).map(kind => {
    const which = kind === "blank" || kind === "dropped" ? ` (${[...names[kind]].slice(0, 4).join(", ")})` : "";
    return h("li", {}, h("span", { "data-kinds": kind, "aria-hidden": "true" }, "ab"), ` ${KINDS[kind]}: ${counts[kind]}${which}`);
  });
  return [h("ul", { class: "tx-kinds bl-quiet", "aria-label": "changes" }, items.length ? items : h("li", {}, "nothing changes")),
    h("div", { class: "tx-typed", dir: "auto", role: "group", tabindex: 0, "aria-label": "the text as typed" }, text.length ? text : "no text")];
}

function wordChips(panel, marks, pick) {
  const chips = panel.words.map(word => marks.add(word.start, word.end, chip(word.special ? "tx-frame" : null, h("bdi", {}, brief(word.text)))));
  const { list, choose } = chipList(chips, "words", i => pick(panel, i), true);
  panel.follow.push(word => choose(panel.words.indexOf(word), panel.words.indexOf(word) + 1));
  return chips.length ? [list] : [h("p", { class: "bl-quiet" }, "no words")];
}

function pieceChips(panel, marks, pick) {
  const chips = panel.pieces.map(({ token, id, start, stop, frame, word }, i) => {
    const first = frame || panel.words[word].first === i;
    return marks.add(start, stop, chip(`tx-piece ${first ? "tx-first" : ""} ${frame ? "tx-frame" : kindOf(panel.words[word])}`,
      h("span", {}, tokenText(token)), h("small", {}, String(id)), h("small", {}, frame ? "added" : `${start}–${stop}`)));
  });
  const { list, choose } = chipList(chips, "wordpieces", i => { if (!panel.pieces[i].frame) pick(panel, panel.pieces[i].word); }, false);
  panel.follow.push(word => choose(word.first, word.next));
  return [list];
}

// ── the longest match, step by step ──

/** Why a word is not searched, or "". */
const unsearched = word => !word ? "no word here."
  : word.special ? "a special token, found before the text is split into words."
  : word.rule === "long" ? `${word.letters.length} characters; a word of more than 100 becomes [UNK] at once.` : "";

/** The word with the pieces found so far, and every candidate looked up; the next one has a question mark. */
function searchView({ word, tried }, step) {
  if (unsearched(word)) return [h("p", {}, unsearched(word))];
  const now = tried[step], end = now?.start ?? tried.findLast(each => each.id !== null)?.end ?? 0;
  const letters = (from, to) => h("bdi", {}, brief(word.letters.slice(from, to).join("")));
  const spelled = h("p", { class: "tx-word" },
    tried.slice(0, step).filter(each => each.id !== null).map(each => h("span", { class: "tx-box" }, tokenText(each.piece))),
    now ? [h("span", { class: "tx-now" }, letters(now.start, now.end)), now.end < word.letters.length ? h("span", { class: "bl-quiet" }, letters(now.end)) : null]
      : word.unknown ? [h("span", { class: "tx-stuck" }, letters(end)), " so the whole word is ", h("span", { class: "tx-box tx-unknown" }, "[UNK]")] : null);
  const byStart = lookedUp => Object.values(Object.groupBy(lookedUp, each => each.start));
  const rounds = byStart(tried.slice(0, step + 1)), longest = Math.max(...byStart(tried).map(round => round.length));
  const row = each => h("li", { class: each === now ? "tx-asked" : each.id === null ? null : "tx-found" },
    h("span", {}, tokenText(each.piece)), h("span", {}, each === now ? "?" : each.id === null ? "✗ no" : `✓ id ${each.id}`));
  return [spelled, h("div", { class: "tx-rounds", role: "group", tabindex: 0, "aria-label": "candidates", style: `--rows: ${longest}` },
    rounds.length > ROUNDS ? h("p", { class: "bl-quiet" }, `${rounds.length - ROUNDS} earlier wordpieces are not listed.`) : null,
    rounds.slice(-ROUNDS).map(round => h("ol", { "aria-label": `the ${round[0].start ? "rest" : "word"} begins with` }, round.map(row))))];
}

/** The result of the last lookup, as a sentence. */
function tellStep({ title, word, tried }, step) {
  const name = title ? `${title}: ` : "", last = tried[Math.min(step, tried.length) - 1];
  if (unsearched(word)) return name + unsearched(word);
  if (!last) return `${name}is “${brief(tried[0].piece)}” in the vocabulary?`;
  const result = last.id === null ? "is not in the vocabulary" : `is in the vocabulary, with id ${last.id}`;
  const end = step < tried.length ? "" : word.unknown ? " Nothing matches here, so the whole word is unknown, even if its beginning was found." : " That is the whole word.";
  return `${name}lookup ${Math.min(step, tried.length)} of ${tried.length}, “${brief(last.piece)}” ${result}.${end}`;
}

/** Buttons and a slider for the steps; the arrow keys work on all of them. `set` sets a step, `last` returns the last one. */
function stepper(view, set, last) {
  let timer = 0;
  const by = n => set(view.get("step") + n);
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶ Play";
  };
  const play = button("", () => {
    if (timer) return stop();
    if (view.get("step") >= last()) set(0);
    play.textContent = "❚❚ Pause";
    timer = setInterval(() => (view.root.isConnected && view.get("step") < last() ? by(1) : stop()), BEAT);
  });
  const read = h("span", { class: "bl-number", "aria-hidden": "true" });
  const slide = h("input", { type: "range", min: 0, step: 1, input: () => set(Number(slide.value)) });
  const back = button("Back", () => by(-1)), next = button("Next", () => by(1));
  const keys = { ArrowRight: () => by(1), ArrowLeft: () => by(-1), Home: () => set(0), End: () => set(last()) };
  const bar = h("div", { class: "bl-bar", role: "group", "aria-label": "the search, step by step", keydown: event => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  } }, h("span", { class: "bl-control" }, back, next, play), labeled("Looked up", slide, read));
  const show = step => {
    slide.max = last();
    slide.value = step;
    read.textContent = `${step} of ${last()}`;
    slide.setAttribute("aria-valuetext", read.textContent);
    back.setAttribute("aria-disabled", step === 0);
    next.setAttribute("aria-disabled", step === last());
  };
  stop();
  return { bar, show, stop };
}

/** A numbered section. The returned function fills it: one column per panel, or one for all if they are alike. */
function section(view, title, ...more) {
  const heading = h("p", { class: "bl-title" }, title), columns = h("div", { class: "tx-columns" });
  view.root.append(h("section", {}, heading, ...more, columns));
  return (panels, build, alike = () => null) => {
    const same = panels.every(panel => JSON.stringify(alike(panel)) === JSON.stringify(alike(panels[0])) && alike(panel));
    columns.replaceChildren(...(same ? panels.slice(0, 1) : panels).map(panel => h("div", {},
      panel.title ? h("p", { class: "bl-quiet" }, same ? panels.map(each => each.title).join(" and ") : panel.title) : null, build(panel))));
  };
}

function draw(view) {
  let panels = [], answer = null, word = null;
  const marks = spans(view.root), fresh = () => view.get("answer").text === view.get("text");
  const pick = (panel, number) => { if (fresh() && panel.twins.includes(number)) view.set({ word: panel.twins.indexOf(number), step: 0 }); };
  const last = () => Math.max(...panels.map(panel => panel.tried.length));
  const steps = stepper(view, step => { if (fresh()) view.set({ step: clamp(step, 0, last()) }); }, last);
  const counts = h("div", { class: "tx-scroll" }), chosen = h("p", { class: "tx-chosen" });
  view.root.append(cardHead("From a text to wordpieces", "Type a text of your own, point at a wordpiece to find it in the text, and choose a word to search for its wordpieces step by step."),
    textBox(view), counts, cardLegend([h("span", { class: "tx-sample tx-picked" }, "ab"), "the chosen word"], [h("span", { class: "tx-sample tx-marked" }, "ab"), "what you point at"],
      [h("span", { class: "tx-sample tx-frame" }, "ab"), "a special token"], [h("span", { class: "tx-sample tx-unknown" }, "ab"), "unknown"]));
  const typed = section(view, "1. Normalization: what becomes of each character");
  const words = section(view, "2. Words: split at spaces and around punctuation");
  const pieces = section(view, "3. Wordpieces, each with its id and its position in the text");
  const search = section(view, "4. The longest match: how a word is split into wordpieces", chosen, steps.bar);

  const read = () => {
    answer = view.get("answer");
    panels = answer.panels.map(panel => ({ ...readPanel(panel, [...answer.text]), follow: [] }));
    marks.clear();
    counts.replaceChildren(countTable(panels));
    typed(panels, panel => typedText(panel, marks), panel => panel.changes);
    words(panels, panel => wordChips(panel, marks, pick), panel => panel.words.map(({ text, start, end }) => [text, start, end]));
    pieces(panels, panel => pieceChips(panel, marks, pick));
  };
  const choose = () => {
    word = view.get("word");
    for (const panel of panels) {
      panel.word = panel.words[panel.twins[word]];
      panel.tried = panel.word ? lookups(panel.word) : [];
      if (panel.word) panel.follow.forEach(follow => follow(panel.word));
    }
    const first = panels[0].word;
    chosen.replaceChildren(...(first ? ["Word ", `${word + 1} of ${panels[0].words.length}: `, h("b", {}, h("bdi", {}, brief(first.text)))] : ["Type a word."]));
    steps.stop();
  };
  view.watch(["answer", "word", "step"], () => {
    if (!fresh()) return; // a newer text is on its way
    const renewed = answer !== view.get("answer");
    if (renewed) read();
    if (renewed || word !== view.get("word")) choose();
    const step = Math.min(view.get("step"), last());
    steps.show(step);
    search(panels, panel => searchView(panel, Math.min(step, panel.tried.length)));
    for (const box of view.root.querySelectorAll(".tx-rounds")) reveal(box, box.lastChild.lastChild);
    view.say(panels[0].word ? `“${brief(panels[0].word.text)}”: ${panels.map(panel => tellStep(panel, step)).join(" ")}` : "No words: BERT would read only [CLS] and [SEP].");
  });
}
