"use strict";
// Picks a conversation: its request from a list, who asks from a table. What was open is kept.
(() => {
  const stage = document.getElementById("explorer-stage");
  if (stage === null) return;
  const explorer = stage.closest(".explorer");
  const pick = explorer.querySelector(".pick");
  const request = pick.querySelector("select");
  const tables = [...explorer.querySelectorAll(".asked")];
  const said = document.getElementById("said");
  const kept = new Map();
  const buttonOf = (look) => explorer.querySelector(`button[data-look="${look}"]`);
  let open = explorer.querySelector("button[data-look]").dataset.look;

  const press = () => {
    for (const each of explorer.querySelectorAll("button[data-look]")) {
      each.setAttribute("aria-pressed", String(each.dataset.look === open));
    }
  };

  // Of a wide lens the last columns count: where the answer begins.
  const toEnd = () => {
    for (const each of stage.querySelectorAll(".lens-grid .scroll")) each.scrollLeft = each.scrollWidth;
  };

  const contentOf = (look) => {
    if (!kept.has(look)) {
      kept.set(look, explorer.querySelector(`template[data-look="${look}"]`).content);
    }
    return kept.get(look);
  };

  const show = (look) => {
    if (look !== open) {
      const away = document.createDocumentFragment();
      away.append(...stage.childNodes);
      kept.set(open, away);
      stage.append(contentOf(look));
      open = look;
      LensViews.watch(stage);
      toEnd();
    }
    press();
    said.textContent = `Shown: ${buttonOf(look).getAttribute("aria-label")}`;
  };

  const turn = () => {
    tables.forEach((table, at) => (table.hidden = String(at) !== request.value));
    show(tables[Number(request.value)].querySelector("button").dataset.look);
  };

  explorer.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-look]");
    if (button !== null) show(button.dataset.look);
  });
  request.addEventListener("change", turn);
  window.addEventListener("beforeprint", () => tables.forEach((table) => (table.hidden = false)));
  window.addEventListener("afterprint", turn);
  pick.hidden = false;
  tables.forEach((table, at) => (table.hidden = at > 0));
  press();
  document.addEventListener("pageshown", toEnd);
  toEnd();
})();
