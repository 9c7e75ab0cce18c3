"use strict";
// Plots: what is under the pointer, or chosen by keys, is marked and read out; numbers as a table.
LensViews.register("plot", (root, data) => {
  const picture = root.querySelector(".picture");
  const svg = picture.querySelector("svg");
  const readout = root.querySelector(".readout");
  const tabulated = root.querySelector(".tabulated");

  const told = (value, digits) =>
    value === null || value === undefined ? "no value" : value.toFixed(digits).replace("-", "−");
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const place = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const set = (element, attributes) =>
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));

  const table = (head, rows) => {
    const element = document.createElement("table");
    const line = (parent, cells, tag) => {
      const row = parent.insertRow();
      cells.forEach((text, at) => {
        // A heading without words, in the corner, is none.
        const cell = document.createElement((at === 0 || tag === "th") && text !== "" ? "th" : "td");
        if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
        cell.textContent = text;
        row.append(cell);
      });
    };
    line(element.createTHead(), head, "th");
    const body = element.createTBody();
    rows.forEach((cells) => line(body, cells, "td"));
    const around = document.createElement("div");
    around.className = "around";
    around.tabIndex = 0;
    around.setAttribute("role", "region");
    around.setAttribute("aria-label", "Table of numbers");
    around.append(element);
    return around;
  };

  // A heatmap: cells in rows from the top, and columns.
  const grid = () => {
    const cursor = svg.querySelector(".cursor");
    const [across, up] = data.cell;
    const size = [data.order.length, data.columns.length];
    const cell = (row, column) => {
      const value = told(data.values[row][column], data.digits);
      if (!data.extra) return value;
      const second = data.extra.values[row][column];
      return second === null ? value : `${value} (${data.extra.name} ${told(second, data.extra.digits)})`;
    };
    return {
      size,
      near: ({ x, y }) => {
        const at = [Math.floor((y - data.top) / up), Math.floor((x - data.left) / across)];
        return at.every((each, side) => each >= 0 && each < size[side]) ? at : null;
      },
      mark: ([row, column]) =>
        set(cursor, { x: data.left + column * across - 0.5, y: data.top + row * up - 0.5, width: across, height: up, visibility: "visible" }),
      read: ([row, column]) => `${data.rows[data.order[row]]}, ${data.columns[column]}: ${cell(data.order[row], column)}`,
      table: () => table(["", ...data.columns], data.order.map((row) => [data.rows[row], ...data.columns.map((_, column) => cell(row, column))])),
    };
  };

  // A line: one place to the right for each token.
  const line = () => {
    const cursor = svg.querySelector(".cursor");
    const says = (at) => `${data.columns[at]}: ${told(data.values[at], data.digits)}`;
    const band = (at) => (data.band ? `${told(data.band[0][at], data.digits)} to ${told(data.band[1][at], data.digits)}` : "");
    return {
      size: [1, data.columns.length],
      near: ({ x }) => [0, clamp(Math.floor((x - data.left) / data.step), 0, data.columns.length - 1)],
      mark: ([, at]) => {
        const x = data.left + (at + 0.5) * data.step;
        set(cursor, { x1: x, x2: x, visibility: "visible" });
      },
      read: ([, at]) => (data.band ? `${says(at)} (${data.band_name} ${band(at)})` : says(at)),
      table: () =>
        table(
          ["token", data.unit, ...(data.band ? [data.band_name] : [])],
          data.columns.map((name, at) => [name, told(data.values[at], data.digits), ...(data.band ? [band(at)] : [])]),
        ),
    };
  };

  // A circuit: its parts, from the bottom, each with the edges that it has.
  const circuit = () => {
    const parts = [...svg.querySelectorAll("[data-part]")];
    const edges = [...svg.querySelectorAll("[data-edge]")];
    const of = (part) => edges.filter((edge) => edge.dataset.edge.split(" ").includes(part.dataset.part));
    const choose = (part) => {
      const chosen = part ? new Set(of(part)) : null;
      svg.classList.toggle("chosen", part !== null);
      edges.forEach((edge) => edge.classList.toggle("near", chosen !== null && chosen.has(edge)));
      parts.forEach((each) => each.classList.toggle("near", each === part));
      readout.textContent = part ? part.getAttribute("aria-label") : data.hint;
    };
    parts.forEach((part) => {
      part.addEventListener("pointerenter", () => choose(part));
      part.addEventListener("pointerleave", () => choose(parts.find((each) => each === document.activeElement) || null));
      part.addEventListener("focus", () => choose(part));
      part.addEventListener("blur", () => choose(null));
    });
    edges.forEach((edge) => {
      edge.addEventListener("pointerenter", () => { readout.textContent = data.edges[edge.dataset.at].join(": "); });
    });
    return { table: () => table(["edge", data.unit], data.edges) };
  };

  const kind = { grid, line, circuit }[data.kind]();
  if (kind.size) {
    let at = null;
    const choose = (next) => {
      at = next;
      kind.mark(at);
      readout.textContent = kind.read(at);
    };
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    picture.addEventListener("pointermove", (event) => {
      const next = kind.near(place(event));
      if (next !== null && String(next) !== String(at)) choose(next);
    });
    picture.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (move === undefined && event.key !== "Home" && event.key !== "End") return;
      event.preventDefault();
      if (at === null) return choose([0, 0]);
      if (event.key === "Home") return choose([at[0], 0]);
      if (event.key === "End") return choose([at[0], kind.size[1] - 1]);
      choose(at.map((each, side) => clamp(each + move[side], 0, kind.size[side] - 1)));
    });
  }
  readout.textContent = data.hint;
  tabulated.hidden = false;
  tabulated.addEventListener("toggle", () => tabulated.append(kind.table()), { once: true });
});
