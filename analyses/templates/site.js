"use strict";
// Turns pages: of the sections, the one whose heading the address names is shown. Other scripts
// listen to "pageshown" on the document; Site.all says whether every page is.
const Site = (() => {
  const root = document.documentElement;
  const pages = [...document.querySelectorAll(".site-page")];
  const links = [...document.querySelectorAll("nav a")];
  const menu = document.querySelector("nav details");
  const wide = window.matchMedia("(min-width: 64rem)");
  const title = document.title;
  const state = { all: false };

  const named = () => document.getElementById(decodeURIComponent(location.hash.slice(1)));

  const show = (first) => {
    const target = named();
    const found = target?.closest(".site-page") ?? null;
    // The skip link names what is on every page: it turns none.
    if (target !== null && found === null && target.id !== "all") return;
    state.all = target?.id === "all";
    const current = found ?? pages[0];
    root.dataset.page = state.all ? "all" : current.getAttribute("aria-labelledby");
    for (const page of pages) page.hidden = !state.all && page !== current;
    for (const link of links) {
      const here = link.hash === `#${root.dataset.page}`;
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const heading = current.querySelector("h2");
    document.title = current === pages[0] || state.all ? title : `${heading.textContent} · ${title}`;
    if (!wide.matches) menu.open = false;
    const isHeading = target === null || target === heading || state.all;
    if (!first || !isHeading) {
      if (isHeading) window.scrollTo(0, 0);
      else target.scrollIntoView();
      (isHeading ? heading : target).focus({ preventScroll: true });
    }
    document.dispatchEvent(new CustomEvent("pageshown"));
  };

  const fold = () => {
    menu.open = wide.matches;
  };
  wide.addEventListener("change", fold);
  fold();
  // In print all pages stand one after the other, whichever is shown.
  window.addEventListener("beforeprint", () => pages.forEach((page) => (page.hidden = false)));
  window.addEventListener("afterprint", () => show(true));
  window.addEventListener("hashchange", () => show(false));
  show(true);
  return state;
})();
