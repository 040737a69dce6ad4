// The field for a guess.

function draw(view) {
  view.root.append(h("p", { class: "bl-title" }, view.get("description")), h("p", {}, view.get("expected")));
}
