"use strict";
// What every view shares: it is drawn when it is first shown, its parts are reached by the arrow
// keys, and what is said about a part shows on hover and on focus. Text goes in as text, never as
// HTML.
const LensViews = (() => {
  const drawers = new Map();
  const drawn = new Map();
  const sayers = new WeakMap();

  const make = (name, text = "", className = "") => {
    const element = document.createElement(name);
    element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // Drawing, once, when first shown.

  const dataOf = (element) => {
    const held = document.getElementById(`${element.closest(".view").id}-data`);
    return held === null ? {} : JSON.parse(held.textContent);
  };

  const draw = (element) => {
    if (!drawn.has(element)) {
      shown.unobserve(element);
      const drawing = Promise.resolve(drawers.get(element.dataset.draw)(element, dataOf(element)));
      drawn.set(element, drawing.then(() => element.setAttribute("data-drawn", "")));
    }
    return drawn.get(element);
  };

  const shown = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => draw(target)),
    { rootMargin: "200px" },
  );

  const waiting = (name) => document.querySelectorAll(`.view [data-draw="${CSS.escape(name)}"]`);

  const register = (name, drawer) => {
    drawers.set(name, drawer);
    waiting(name).forEach((element) => shown.observe(element));
  };

  // For a page that brings views in later: what stands under this element is drawn when shown.
  const watch = (root) =>
    root.querySelectorAll(".view [data-draw]").forEach((element) => {
      if (drawers.has(element.dataset.draw) && !drawn.has(element)) shown.observe(element);
    });

  window.addEventListener("beforeprint", () => [...drawers.keys()].forEach((name) => waiting(name).forEach(draw)));

  // Moving by keys: one part of each group is in the order of the page, the arrows lead on.

  const PARTS = "[role=option], [role=radio], td, th[tabindex]";
  const partOf = (target) => {
    const part = target instanceof Element ? target.closest(PARTS) : null;
    return part !== null && part.closest("[data-keys]") !== null ? part : null;
  };

  const focus = (part) => {
    part.closest("[data-keys]").querySelectorAll('[tabindex="0"]').forEach((other) => (other.tabIndex = -1));
    part.tabIndex = 0;
    part.focus();
  };

  const inLine = (part, key, all) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    if (key === "Home") return all[0];
    if (key === "End") return all[all.length - 1];
    return step === undefined ? undefined : all[all.indexOf(part) + step];
  };

  const inGrid = (part, key) => {
    const row = part.parentElement;
    const rows = row.closest("table").tBodies[0].rows;
    const beside = (cells, at) => (cells[at] instanceof HTMLTableCellElement && cells[at].matches("td") ? cells[at] : undefined);
    const above = rows[row.sectionRowIndex + { ArrowUp: -1, ArrowDown: 1 }[key]];
    if (key === "Home") return row.querySelector("td");
    if (key === "End") return row.cells[row.cells.length - 1];
    if (above !== undefined) return beside(above.cells, part.cellIndex);
    return beside(row.cells, part.cellIndex + ({ ArrowRight: 1, ArrowLeft: -1 }[key] ?? NaN));
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hush();
    const part = partOf(event.target);
    if (part === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const group = part.closest("[data-keys]");
    const next = group.dataset.keys === "grid" ? inGrid(part, event.key) : inLine(part, event.key, [...group.querySelectorAll(PARTS)]);
    if (next === undefined) return;
    event.preventDefault();
    focus(next);
  });

  // Saying more about a part.

  const tip = make("div", "", "tip");
  tip.id = "lens-tip";
  tip.setAttribute("role", "tooltip");
  let told = null;

  const hush = () => {
    told?.removeAttribute("aria-describedby");
    told = null;
    tip.remove();
  };

  const sayingOf = (part) => {
    if (part.title) {
      part.dataset.tip = part.title;
      part.removeAttribute("title");
    }
    return part.dataset.tip ?? sayers.get(part.closest("[data-keys]"))?.(part) ?? null;
  };

  const tell = (part) => {
    if (part === told) return;
    hush();
    const saying = sayingOf(part);
    if (saying === null) return;
    told = part;
    tip.replaceChildren(saying);
    part.closest(".view").append(tip);
    part.setAttribute("aria-describedby", tip.id);
    const [at, size] = [part.getBoundingClientRect(), tip.getBoundingClientRect()];
    const below = at.bottom + 6 + size.height <= window.innerHeight || at.top - 6 - size.height < 0;
    const left = Math.max(8, Math.min(at.left, window.innerWidth - size.width - 8));
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? at.bottom + 6 : at.top - 6 - size.height}px`;
  };

  const back = () => {
    const focused = partOf(document.activeElement);
    return focused === null || !focused.matches(":focus-visible") ? hush() : tell(focused);
  };

  document.addEventListener("pointerover", ({ target }) => {
    const part = partOf(target);
    if (part !== null) tell(part);
    else if (told !== null) back();
  });
  document.addEventListener("pointerleave", back);
  document.addEventListener("focusin", ({ target }) => {
    const part = partOf(target);
    if (part !== null && part.matches(":focus-visible")) tell(part);
    else hush();
  });
  document.addEventListener("focusout", hush);
  document.addEventListener("scroll", hush, { capture: true, passive: true });

  const say = (group, sayer) => sayers.set(group, sayer);

  // Colours of the theme in force, and word of its change.

  const rgb = (css) => css.match(/[\d.]+/g).slice(0, 3).map(Number);

  const ramp = (element, steps, size = 256) => {
    const probe = element.appendChild(make("span"));
    const stops = Array.from({ length: steps }, (_, k) => {
      probe.className = `s${k}`;
      return rgb(getComputedStyle(probe).backgroundColor);
    });
    probe.remove();
    return Array.from({ length: size }, (_, at) => {
      const place = (at / (size - 1)) * (steps - 1);
      const low = Math.min(Math.floor(place), steps - 2);
      return stops[low].map((from, c) => Math.round(from + (stops[low + 1][c] - from) * (place - low)));
    });
  };

  const onTheme = (redraw) => {
    // Paper is light, whatever the screen is.
    for (const media of ["(prefers-color-scheme: dark)", "print"]) window.matchMedia(media).addEventListener("change", redraw);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  };

  // Numbers that were packed to be small.

  const unpacked = async (base64) => {
    const packed = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  return { focus, make, onTheme, ramp, register, say, unpacked, watch };
})();
