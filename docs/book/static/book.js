// The page's theme can differ from the system's: the widgets, each in a frame of its own, are told which it is.
const root = document.documentElement;
// A browser lets no page read another one from a file: the search then lists pages without a sentence of each.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

function tellTheme() {
  document.body.dataset.jpThemeLight = root.dataset.theme !== "dark"; // what the frames' own script asks for
  for (const frame of document.querySelectorAll(".bl-view > iframe")) {
    frame.contentWindow?.postMessage({ blLight: document.body.dataset.jpThemeLight }, "*");
  }
}

new MutationObserver(tellTheme).observe(root, { attributeFilter: ["data-theme"] });
addEventListener("DOMContentLoaded", () => {
  tellTheme();
  // Boxes that scroll sideways can be reached with the keyboard.
  for (const box of document.querySelectorAll(".bd-article pre, .pst-scrollable-table-container, .bd-article .math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  for (const link of document.querySelectorAll(".btn-download")) link.download = "";
  // A link into a fold opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
});
