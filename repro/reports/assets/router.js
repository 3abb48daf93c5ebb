// ---- pages -------------------------------------------------------------------------------------------------

const TITLE = document.title;

function page(path) {
  const match = path.match(/^\/experiment\/(.+)$/);
  if (match) return [experiment(decodeURIComponent(match[1])), decodeURIComponent(match[1])];
  return path === "/compare" ? [compare(), "Compare"] : [overview(), TITLE];
}

function theme() {
  const root = document.documentElement;
  return root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function navigation(path) {
  const jump = (id, title) => el("button", { type: "button", onclick: () => document.getElementById(id).scrollIntoView() }, title);
  const parts = [["results", "Results"], ["cost", "Cost"], ["classes", "Classes"], ["gallery", "Predictions"], ["curves", "Curves"], ["params", "Parameters"]];
  const name = path.startsWith("/experiment/") ? path.slice("/experiment/".length) : "";
  document.getElementById("nav").replaceChildren(
    ...(path === "/" ? [] : [el("a", { href: "#/" }, "all results")]),
    ...parts.filter(([id]) => document.getElementById(id)).map(([id, title]) => jump(id, title)),
    ...(path === "/compare" ? [] : [el("a", { href: "#/compare" + (name ? "?a=" + name : "") }, "compare")]),
    el("button", { type: "button", "aria-label": "light or dark", onclick: () => { document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark"; show(); } }, "◐"));
}

function show() {
  const { path } = place();
  charts.forEach((chart) => chart.destroy());
  charts = [];
  redraw = () => {};
  const [content, title] = page(path);
  main.replaceChildren(...content.filter(Boolean));
  document.title = title;
  navigation(path);
  scrollTo(0, 0);
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return main.focus();
  show();
  main.querySelector("h2[tabindex]")?.focus();
});
["(min-width: 1200px)", "(min-width: 760px)"].forEach((media) => matchMedia(media).addEventListener("change", () => redraw()));
addEventListener("beforeprint", () => { if (theme() === "dark") { document.documentElement.dataset.printed = "dark"; document.documentElement.dataset.theme = "light"; show(); } document.querySelectorAll("main details").forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => { if (document.documentElement.dataset.printed) { document.documentElement.dataset.theme = "dark"; delete document.documentElement.dataset.printed; show(); } });
show();
