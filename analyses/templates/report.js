"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const toggle = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", scale: 1 },
  };
  let chosen = null;

  const theme = () => chosen ?? (system.matches ? "dark" : "light");

  const draw = (name) => {
    root.dataset.theme = name;
    toggle.setAttribute("aria-pressed", String(name === "dark"));
    for (const [key, figure] of Object.entries(figures)) {
      const place = document.getElementById(`figure-${key}`);
      // A copy: plotly writes into what it is given.
      const { data, layout } = structuredClone(figure[name]);
      Plotly.react(place, data, layout, config);
    }
  };

  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    chosen = theme() === "dark" ? "light" : "dark";
    draw(chosen);
  });
  system.addEventListener("change", () => draw(theme()));
  window.addEventListener("beforeprint", () => draw("light"));
  window.addEventListener("afterprint", () => draw(theme()));
  draw(theme());
})();
