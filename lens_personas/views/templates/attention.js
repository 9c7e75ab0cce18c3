"use strict";
// Attention of one block at a time: a small picture of every head, the chosen one in full, and the
// text in the colours of the chosen token's row or column.
LensViews.register("attention", (element, { tokens, heads, packed, circuitsvis, steps }) => {
  const { focus, make, onTheme, ramp, say, unpacked } = LensViews;
  const n = tokens.length;
  const find = (selector) => element.querySelector(selector);
  const [group, strip, said, plane] = [".heads", ".strip", ".said", ".matrix"].map(find);
  const pieces = [...strip.querySelectorAll(".piece")];
  const blocks = new Map();
  const state = { block: null, head: 0, token: n - 1, inward: false };

  // The lower triangle of every head, row by row; a byte is 255 times the square root of a share.
  const inHead = (n * (n + 1)) / 2;
  const at = (head, to, from) => (from > to ? 0 : state.block[head * inHead + (to * (to + 1)) / 2 + from]);
  const share = (byte) => (byte / 255) ** 2;
  const written = (byte) => share(byte).toFixed(byte > 0 && share(byte) < 0.01 ? 4 : 2);

  // A picture of a head, the largest share of each patch where it is smaller than the pattern.
  let colours = null;
  const paint = (canvas, head, most) => {
    const patch = Math.max(1, Math.ceil(n / most));
    const side = Math.ceil(n / patch);
    const large = new Uint8Array(side * side);
    const seen = new Uint8Array(side * side);
    let next = head * inHead;
    for (let to = 0; to < n; to += 1) {
      const row = Math.floor(to / patch) * side;
      for (let from = 0; from <= to; from += 1, next += 1) {
        const cell = row + Math.floor(from / patch);
        seen[cell] = 255;
        if (state.block[next] > large[cell]) large[cell] = state.block[next];
      }
    }
    canvas.width = canvas.height = side;
    const image = new ImageData(side, side);
    large.forEach((byte, cell) => image.data.set([...colours[byte], seen[cell]], 4 * cell));
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  const buttons = Array.from({ length: heads }, (_, head) => {
    const button = group.appendChild(make("button"));
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `Head ${head}`);
    if (!circuitsvis) button.append(make("canvas"));
    button.append(make("span", head));
    return button;
  });

  const full = circuitsvis ? circuits() : canvas();

  function canvas() {
    const space = plane.appendChild(make("div", "", "plane"));
    const labelled = n <= 40;
    const [rows, square, columns] = ["rows", "square", "columns"].map((name) => make("div", "", name));
    if (labelled) {
      for (const axis of [rows, columns]) {
        axis.append(...tokens.map((token) => make("span", token)));
        axis.setAttribute("aria-hidden", "true");
      }
    }
    const picture = square.appendChild(make("canvas"));
    const line = square.appendChild(make("div", "", "line"));
    picture.setAttribute("role", "img");
    space.append(rows, square, columns);
    const place = (event) => {
      const box = square.getBoundingClientRect();
      const index = (from, size) => Math.min(n - 1, Math.max(0, Math.floor((from / size) * n)));
      return [index(event.clientY - box.top, box.height), index(event.clientX - box.left, box.width)];
    };
    square.addEventListener("pointermove", (event) => {
      const [to, from] = place(event);
      tell(from > to ? [] : [[to, from]], to);
    });
    square.addEventListener("pointerleave", () => tell());
    square.addEventListener("click", (event) => choose(place(event)[state.inward ? 1 : 0]));
    return {
      draw: () => {
        paint(picture, state.head, n);
        picture.setAttribute("aria-label", `Pattern of head ${state.head}: what each of ${n} tokens looks at`);
      },
      mark: () => {
        const along = `${(100 * state.token) / n}%`;
        const thick = `${100 / n}%`;
        const [start, end] = state.inward ? [along, "100%"] : [along, `${(100 * (state.token + 1)) / n}%`];
        Object.assign(line.style, state.inward
          ? { left: along, width: thick, top: start, height: `${100 - (100 * state.token) / n}%` }
          : { top: along, height: thick, left: 0, width: end });
        [rows, columns].forEach((axis, way) => [...axis.children].forEach((label, token) => {
          label.classList.toggle("chosen", token === state.token && way === Number(state.inward));
        }));
      },
    };
  }

  // CircuitsVis gets numbers and text as properties of its components, never as HTML.
  function circuits() {
    element.classList.add("by-circuitsvis");
    plane.setAttribute("aria-hidden", "true");
    let count = 0;
    return {
      draw: (fresh) => {
        if (!fresh) return;
        const place = make("div", "", "circuitsvis");
        place.id = `${element.closest(".view").id}-circuitsvis-${(count += 1)}`;
        plane.replaceChildren(place);
        const rounded = (byte) => Math.round(1e4 * share(byte)) / 1e4;
        const attention = buttons.map((_, head) => tokens.map((_, to) => tokens.map((_, from) => rounded(at(head, to, from)))));
        CircuitsVis.render(place.id, CircuitsVis.AttentionHeads, { attention, tokens, attentionHeadNames: buttons.map((_, head) => `Head ${head}`) });
      },
      mark: () => {},
    };
  }

  const related = () => tokens
    .map((_, other) => (state.inward ? [other, state.token] : [state.token, other]))
    .filter(([to, from]) => from <= to);

  // What is said: the strongest of some pairs.
  const tell = (pairs = related(), chosen = state.token) => {
    const strongest = pairs
      .map(([to, from]) => [at(state.head, to, from), to, from])
      .sort(([first], [second]) => second - first)
      .slice(0, pairs.length === 1 ? 1 : 4)
      .filter(([byte]) => byte > 0 || pairs.length === 1);
    const words = strongest.flatMap(([byte, to, from], index) => [
      index === 0 ? "" : ", ",
      make("span", tokens[pairs.length > 1 && state.inward ? to : from], "piece"),
      ` ${written(byte)}`,
    ]);
    const isLooker = pairs.length <= 1 || !state.inward;
    const whose = make("span", tokens[isLooker ? chosen : state.token], "piece");
    const verb = isLooker ? " looks at " : " is looked at by ";
    said.replaceChildren(`Head ${state.head}: `, whose, ` (token ${isLooker ? chosen : state.token})`, verb, ...(words.length > 0 ? words : [isLooker ? "nothing: it comes later" : "nobody"]));
  };

  const colourText = () => {
    pieces.forEach((piece, token) => {
      const [to, from] = state.inward ? [token, state.token] : [state.token, token];
      piece.className = `piece s${Math.round((at(state.head, to, from) / 255) * (steps - 1))}`;
    });
  };

  const show = () => {
    pieces.forEach((piece, token) => {
      piece.setAttribute("aria-selected", String(token === state.token));
      piece.tabIndex = token === state.token ? 0 : -1;
    });
    // The text scrolls by itself; the page stays where it is.
    const { offsetTop: top, offsetHeight: high } = pieces[state.token];
    if (top < strip.scrollTop || top + high > strip.scrollTop + strip.clientHeight) strip.scrollTop = top - strip.clientHeight / 2;
    buttons.forEach((button, head) => {
      button.setAttribute("aria-checked", String(head === state.head));
      button.tabIndex = head === state.head ? 0 : -1;
    });
    colourText();
    full.mark();
    tell();
  };

  const choose = (token) => {
    state.token = token;
    show();
  };

  const chooseHead = (head) => {
    if (head === state.head) return;
    state.head = head;
    full.draw(false);
    list();
    show();
  };

  // As numbers: the three tokens that each token looks at most.
  const details = find("details");
  const list = () => {
    if (!details.open) return;
    const table = make("table", "", "numbers");
    table.createCaption().textContent = `Head ${state.head}: what each token looks at most`;
    const head = table.createTHead().insertRow();
    ["Position", "Token", "Looks at"].forEach((name, column) => {
      const cell = head.appendChild(make("th", name, column > 0 ? "left" : ""));
      cell.scope = "col";
    });
    const body = table.createTBody();
    tokens.forEach((token, to) => {
      const row = body.insertRow();
      row.insertCell().textContent = to;
      const name = row.appendChild(make("th", token, "left piece"));
      name.scope = "row";
      const strongest = tokens.slice(0, to + 1).map((_, from) => from).sort((a, b) => at(state.head, to, b) - at(state.head, to, a)).slice(0, 3);
      const cell = row.appendChild(make("td", "", "left"));
      strongest.forEach((from, index) => cell.append(index === 0 ? "" : ", ", make("span", tokens[from], "piece"), ` ${written(at(state.head, to, from))}`));
    });
    find(".table").replaceChildren(table);
  };
  details.addEventListener("toggle", list);

  const redraw = () => {
    colours = ramp(element, steps);
    if (!circuitsvis) buttons.forEach((button, head) => paint(button.firstChild, head, 64));
    full.draw(true);
    list();
    show();
  };

  const open = async (block) => {
    if (!blocks.has(block)) blocks.set(block, unpacked(packed[block]));
    state.block = await blocks.get(block);
    redraw();
  };

  find(".layers").addEventListener("change", ({ target }) => open(Number(target.value)));
  find(".ways").addEventListener("change", ({ target }) => {
    state.inward = target.value === "in";
    show();
  });
  const indexOf = (all, target) => all.findIndex((each) => each.contains(target));
  group.addEventListener("click", ({ target }) => {
    const head = indexOf(buttons, target);
    if (head >= 0) chooseHead(head);
  });
  group.addEventListener("focusin", ({ target }) => chooseHead(indexOf(buttons, target)));
  strip.addEventListener("click", ({ target }) => {
    const token = indexOf(pieces, target);
    if (token >= 0) focus(pieces[token]);
  });
  strip.addEventListener("focusin", ({ target }) => choose(indexOf(pieces, target)));
  say(strip, (piece) => {
    const token = pieces.indexOf(piece);
    const [to, from] = state.inward ? [token, state.token] : [state.token, token];
    return `token ${token}: ${from > to ? "later" : written(at(state.head, to, from))}`;
  });
  // A block that is still being unpacked is drawn in the new colours when it is there.
  onTheme(() => state.block !== null && redraw());
  return open(0);
});
