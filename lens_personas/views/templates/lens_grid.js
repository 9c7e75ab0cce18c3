"use strict";
// What a lens grid says about a cell: the likeliest tokens there.
LensViews.register("lens-grid", (element, { layers, tokens, texts, top, percent, k }) => {
  const { make, say } = LensViews;
  say(element.querySelector("table"), (cell) => {
    const row = cell.parentElement.sectionRowIndex;
    const column = cell.cellIndex - 1;
    if (column < 0 || !cell.matches("td")) return null;
    const said = document.createDocumentFragment();
    said.append(make("div", `after block ${layers[row]}, at “${tokens[column]}” (token ${column})`, "where"));
    const table = said.appendChild(make("table", "", "tops"));
    const body = table.appendChild(make("tbody"));
    const first = (row * tokens.length + column) * k;
    for (let place = first; place < first + k; place += 1) {
      const line = body.insertRow();
      line.insertCell().append(make("span", texts[top[place]], "piece"));
      line.insertCell().textContent = `${percent[place] < 0.1 ? "<\u20090.1" : percent[place].toFixed(1)}\u2009%`;
      line.insertCell().appendChild(make("i")).style.width = `${percent[place]}%`;
    }
    return said;
  });
});
