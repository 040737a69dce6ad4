
// ── a stand-alone page: the state is in the page, and no kernel answers ──

/** Decode base64 to bytes; a callback for each of a million characters would take a tenth of a second. */
function decoded(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new DataView(bytes.buffer);
}

function revive(value) {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return decoded(value.$bytes);
  return Object.fromEntries(Object.entries(value).map(([name, x]) => [name, revive(x)]));
}

function start(saved) {
  const state = revive(saved), listeners = {};
  const model = {
    alone: true,
    get: name => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const f of listeners[`change:${name}`] ?? []) f();
    },
    save_changes() {},
    on: (event, f) => (listeners[event] ??= []).push(f),
    off() {},
  };
  render({ model, el: document.getElementById("widget") });
  if (parent !== window) fitInto(parent);
}

/** Tell the notebook how high the page is, which depends on its width and on what is chosen, and follow its theme. */
function fitInto(notebook) {
  const page = document.documentElement;
  new ResizeObserver(() => {
    notebook.postMessage({ blHeight: Math.ceil(page.getBoundingClientRect().height) }, "*");
  }).observe(page);
  addEventListener("message", ({ source, data }) => {
    if (source === notebook && data?.blLight) document.body.dataset.light = data.blLight;
  });
}
