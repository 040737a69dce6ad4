
// ── a page of its own: the state is in the page, and no kernel answers ──

function revive(value) {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return new DataView(Uint8Array.from(atob(value.$bytes), c => c.charCodeAt(0)).buffer);
  return Object.fromEntries(Object.entries(value).map(([name, x]) => [name, revive(x)]));
}

function start(found) {
  const state = revive(found), heard = {};
  const model = {
    alone: true,
    get: name => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const f of heard[`change:${name}`] ?? []) f();
    },
    save_changes() {},
    on: (event, f) => (heard[event] ??= []).push(f),
    off() {},
  };
  render({ model, el: document.getElementById("widget") });
}
