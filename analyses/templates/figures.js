"use strict";
// Draws each figure when it is first seen, in the colours that are chosen; before print all.
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const toggle = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const places = new Map(
    Object.keys(figures).map((key) => [document.getElementById(`figure-${key}`), key]),
  );
  const stale = new Set(places.keys());
  const paper = 680;
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", scale: 1 },
  };
  let chosen = null;

  const theme = () => chosen ?? (system.matches ? "dark" : "light");

  const draw = (place, name, more) => {
    // A copy: plotly writes into what it is given.
    const { data, layout } = structuredClone(figures[places.get(place)][name]);
    stale.delete(place);
    Plotly.react(place, data, { ...layout, ...more }, config);
    // The words stand beside it; of a picture's pieces a screen reader makes nothing.
    for (const picture of place.querySelectorAll(".main-svg")) picture.setAttribute("aria-hidden", "true");
  };

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting && stale.has(target)) draw(target, theme());
      }
    },
    { rootMargin: "300px" },
  );
  const watch = (place) => {
    // An observer tells at once where what it begins to observe stands.
    seen.unobserve(place);
    seen.observe(place);
  };

  // What is in sight is drawn at once; of all on one page, the rest one by one.
  const inSight = (place) => {
    const { width, top, bottom } = place.getBoundingClientRect();
    return width > 0 && bottom > 0 && top < window.innerHeight;
  };

  const rest = () => {
    const [place] = stale;
    if (place === undefined || !Site.all) return;
    draw(place, theme());
    setTimeout(rest);
  };

  const drawSeen = () => {
    for (const place of stale) {
      if (inSight(place)) draw(place, theme());
      else watch(place);
    }
    setTimeout(rest);
  };

  const redraw = () => {
    root.dataset.theme = theme();
    toggle.setAttribute("aria-pressed", String(theme() === "dark"));
    for (const place of places.keys()) stale.add(place);
    drawSeen();
  };

  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    chosen = theme() === "dark" ? "light" : "dark";
    redraw();
  });
  system.addEventListener("change", redraw);
  document.addEventListener("pageshown", drawSeen);
  window.addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    for (const place of places.keys()) draw(place, "light", { width: paper, autosize: false });
  });
  window.addEventListener("afterprint", redraw);
  for (const [place, key] of places) {
    place.style.minHeight = `${figures[key].light.layout.height}px`;
  }
  redraw();
})();
