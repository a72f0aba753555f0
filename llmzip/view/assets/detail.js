/* What is said of the token under the pointer or the keyboard's. */
const EXPERT_NOTES = {
  matches: "what followed the longest context that came before",
  neighbors: "what followed the most similar positions",
  biases: "tokens that come oftener here than the model thinks",
  calibration: "how far the model's opinion is right",
};

function showDetail(c) {
  const panel = $("detail");
  F.shown = c;
  panel.replaceChildren();
  if (c < 0) {
    panel.append(make("p", {class: "hint"}, D.text.length
      ? "Point at a token, or click into the text and use the arrow keys; ? lists all keys."
      : "The file has no content."));
    return;
  }
  const first = D.cell_parts[c], count = partsEnd(c) - first;
  if (count > 1)
    panel.append(make("p", {class: "hint"}, `${count} parts share one character here.`));
  for (let i = first; i < partsEnd(c); i++) {
    const item = D.items[i], kind = D.part_kinds[i];
    if (kind === MATCH) showMatch(panel, c, item);
    else if (kind === OTHER) showRun(panel, c, item);
    else showToken(panel, item, kind === REST);
  }
}

function blockAt(unit) {
  let b = 0;
  while (b + 1 < D.blocks.length && D.blocks[b + 1].unit <= unit) b++;
  return b;
}

function showToken(panel, t, isRest) {
  const c = D.cellOfToken[t], bits = tokenBits(t), alone = modelBits(t);
  const b = D.blocks.findLastIndex(block => block.streams && block.streams[0] <= t);
  const block = D.blocks[b], stream = lastAtMost(block.streams, t);
  const rank = D.token_ranks[t];
  panel.append(
    make("p", {}, wordBox(D.token_words[t]), isRest ? " (rest of a token cut by a match)" : ""),
    make("p", {class: "where"}, `line ${number(lineOf(D.cell_starts[c]))} · block ${b + 1}`
      + (block.streams.length > 1 ? ` · stream ${stream + 1} of ${block.streams.length}` : "")
      + ` · token ${number(t + 1)}`),
    make("p", {class: "big", "data-bits": bits}, bits.toFixed(2) + " bits",
      make("small", {"data-rank": rank}, rank
        ? `the model's choice no. ${number(rank + 1)}` : "the model's first choice")),
  );
  const saved = [...D.experts.keys()].map(e =>
    D.token_saved[t * D.experts.length + e] / D.units[1]);
  const total = saved.reduce((sum, part) => sum + part, 0);
  const most = Math.max(...saved.map(Math.abs));
  const scale = Math.max(alone, bits, .5);
  const table = make("table", {class: "mixing"});
  table.append(barRow("model alone", alone, 0, alone, scale, "", "model"));
  let at = alone;
  D.experts.forEach((name, e) => {
    const row = barRow(name, -saved[e], Math.min(at, at - saved[e]), Math.abs(saved[e]), scale,
      saved[e] > 0 ? "saved" : "", name);
    row.title = EXPERT_NOTES[name] || "";
    if (most >= .05 && Math.abs(saved[e]) === most) row.classList.add("this");
    table.append(row);
    at -= saved[e];
  });
  const tables = bits - (alone - total);
  if (Math.abs(tables) >= .005)
    table.append(barRow("coder's tables", tables, Math.min(at, bits), Math.abs(tables), scale,
      tables < 0 ? "saved" : "", "tables"));
  const paid = barRow("paid", bits, 0, bits, scale, "", "paid");
  paid.classList.add("total");
  table.append(paid);
  panel.append(table, alternatives(t, bits, alone));
}

function barRow(name, value, from, size, scale, barClass, key) {
  const bar = make("u", {class: barClass});
  bar.style.left = 100 * from / scale + "%";
  bar.style.width = Math.max(size > .005 ? 1 : 0, 100 * size / scale) + "%";
  const text = key === "model" || key === "paid" ? value.toFixed(2) : signed(value);
  return make("tr", {"data-key": key, "data-value": value}, make("td", {}, name),
    make("td", {}, text), make("td", {class: "bar"}, make("div", {}, bar)));
}

function alternatives(t, bits, alone) {
  const table = make("table", {class: "alternatives"}, make("tr", {}, make("th", {}, "candidates"),
    make("th", {}, "model"), make("th", {}, "mixed"), make("th", {})));
  const add = (word, model, mixed, isThis, known = "") => {
    const bar = make("u", {});
    bar.style.width = 100 * mixed + "%";
    table.append(make("tr", {class: isThis ? "this" : ""}, make("td", {}, known || wordBox(word)),
      make("td", {}, percent(model)), make("td", {}, percent(mixed)),
      make("td", {class: "bar"}, make("div", {}, bar))));
  };
  let found = false;
  for (let k = 0; k < D.alternatives; k++) {
    const at = t * D.alternatives + k, word = D.other_words[at];
    const model = D.other_models[at] / D.units[2], mixed = D.others[at] / D.units[2];
    if (!word && !D.other_models[at] && !D.others[at]) continue;
    const isThis = word === D.token_words[t] && word > 0;
    found ||= isThis;
    add(word, model, mixed, isThis);
  }
  if (!found) add(D.token_words[t], 2 ** -alone, 2 ** -bits, true);
  return table;
}

function showMatch(panel, c, m) {
  const bits = D.match_bits[m], bytes = D.match_bytes[m];
  panel.append(make("p", {}, make("strong", {}, "Long-distance match")),
    make("p", {class: "where"}, `line ${number(lineOf(D.cell_starts[c]))} · block `
      + (blockAt(D.cell_starts[c]) + 1)),
    make("p", {class: "big", "data-bits": bits}, `${bits} bits`,
      make("small", {}, `for ${number(bytes)} bytes`)));
  if (D.match_units[m] < 0) {
    panel.append(make("p", {}, "Its bytes are in the dictionary."));
    return;
  }
  const link = make("a", {href: "#", class: "source"},
    `the same bytes at line ${number(lineOf(D.match_units[m]))}`);
  link.onclick = event => { event.preventDefault(); goToSource(c); };
  panel.append(make("p", {}, link, " (Enter or click; Backspace comes back)"));
}

function showRun(panel, c, run) {
  const bits = D.run_bits[run], bytes = D.run_bytes[run];
  const b = blockAt(D.cell_starts[c]);
  panel.append(make("p", {}, make("strong", {}, `Coded by ${D.blocks[b].codec.split(", ").pop()}`)),
    make("p", {class: "where"}, `line ${number(lineOf(D.cell_starts[c]))} · block ${b + 1}`),
    make("p", {class: "big", "data-bits": bits}, `${(bits / bytes).toFixed(3)} bits/byte`,
      make("small", {}, `on average of ${number(bytes)} bytes`)),
    make("p", {class: "hint"}, "No model was asked: what each byte took cannot be told."));
}

/* The bytes of a token, as its text where that is UTF-8. */
function wordBox(w) {
  const box = make("span", {class: "word"});
  if (!w) {
    box.append(make("i", {}, "a byte of its own, or no text"));
    return box;
  }
  const bytes = wordBytes(w);
  try {
    const text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(bytes);
    appendSpaces(box, Uint16Array.from({length: text.length}, (_, i) => text.charCodeAt(i)));
  } catch {
    for (const byte of bytes)
      box.append(make("b", {}, "\\x" + byte.toString(16).padStart(2, "0")));
  }
  return box;
}

function appendSpaces(box, units) {
  let plain = 0;
  units.forEach((c, u) => {
    if (c !== 32 && c !== 9) return;
    appendText(box, units, plain, u);
    box.append(make("i", {}, c === 32 ? "␣" : "⇥"));
    plain = u + 1;
  });
  appendText(box, units, plain, units.length);
}
