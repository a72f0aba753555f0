/* Where the bits of the file went. */
function showSums() {
  const panel = $("sums"), S = D.summary, all = 8 * D.packed;
  panel.append(make("h2", {}, "Where the bits went"), table(
    ["", "bytes", "share", ""],
    S.parts.map(([name, bits]) => ({
      cells: [name, bytesOf(bits), percent(bits / all)], share: bits / all, key: name,
    })), "parts"));
  if (S.model.tokens) {
    const M = S.model, scale = Math.max(M.alone, M.coded);
    const rows = [{cells: ["model alone", bytesOf(M.alone), ""], share: M.alone / scale}];
    let at = M.alone;
    for (const [name, saved] of Object.entries(M.saved)) {
      rows.push({
        cells: [name, signedBytes(-saved), percent(saved / M.alone, true)],
        from: Math.min(at, at - saved) / scale, share: Math.abs(saved) / scale,
        bar: saved > 0 ? "saved" : "", title: EXPERT_NOTES[name], key: name,
      });
      at -= saved;
    }
    rows.push({cells: ["coder's tables", signedBytes(M.tables), ""], from: at / scale,
      share: Math.abs(M.tables) / scale});
    rows.push({cells: ["tokens, as written", bytesOf(M.coded), ""], share: M.coded / scale,
      row: "total"});
    panel.append(make("h2", {}, "What mixing changed"),
      table(["", "bytes", "saved", ""], rows, "mixing"));
    panel.append(make("h2", {}, "By kind of token"), table(
      ["", "tokens", "bits each", "share", ""],
      S.classes.map(([name, count, bits]) => ({
        cells: [name, number(count), (bits / count).toFixed(2), percent(bits / M.coded)],
        share: bits / M.coded,
      })), "classes"));
    panel.append(make("h2", {}, "The tokens that cost most"), table(
      ["", "times", "bits", "bits each", ""],
      S.costliest.map(([word, count, bits]) => ({
        cells: [wordBox(word), number(count), bits.toFixed(0), (bits / count).toFixed(2)],
        share: bits / S.costliest[0][2], row: "go", title: "go to the next one",
        click: () => goToToken(t => D.token_words[t] === word, 1)
          || focusCell(D.cellOfToken[D.token_words.indexOf(word)]),
      })), "costliest"));
  }
  showBlocks(panel);
}

function table(titles, rows, name) {
  const element = make("table", {"data-name": name}, make("tr", {},
    ...titles.map(title => make("th", {}, title))));
  for (const {cells, share, from = 0, bar = "", row = "", title = "", click, key} of rows) {
    const mark = make("u", {class: bar});
    mark.style.left = 100 * from + "%";
    mark.style.width = 100 * Math.min(1, share) + "%";
    const line = make("tr", {class: row, title}, ...cells.map(cell => make("td", {}, cell)),
      make("td", {class: "bar"}, make("div", {}, mark)));
    if (key) line.dataset.key = key;
    if (click) line.onclick = click;
    element.append(line);
  }
  return element;
}

const MOST_BLOCKS = 200;

function showBlocks(panel) {
  if (!D.blocks.length) return;
  panel.append(make("h2", {}, D.blocks.some(b => (b.streams || []).length > 1)
    ? "Blocks, and bits per token of their streams" : "Blocks"));
  const worst = Math.max(...D.blocks.map(b => b.bytes / b.size));
  D.blocks.slice(0, MOST_BLOCKS).forEach((block, b) => {
    panel.append(table([], [{
      cells: [`${b + 1} · ${block.codec}`, `${number(block.size)} → ${number(block.bytes)}`,
        (8 * block.bytes / block.size).toFixed(3)],
      share: block.bytes / block.size / worst, row: "go", title: "bits/byte; click: go there",
      click: () => focusCell(cellAt(block.unit)),
    }], "blocks"));
    if (block.streams && block.streams.length > 1) panel.append(strip(block));
  });
  if (D.blocks.length > MOST_BLOCKS)
    panel.append(make("p", {class: "hint"}, `… and ${D.blocks.length - MOST_BLOCKS} more`));
}

function strip(block) {
  const ends = [...block.streams.slice(1), block.streams[0] + block.tokens];
  const rates = block.streams.map((start, s) => block.stream_bits[s] / (ends[s] - start));
  const most = Math.max(...rates, .01);
  const element = make("div", {class: "strip"});
  rates.forEach((rate, s) => {
    const bar = make("a", {title: `stream ${s + 1}: ${rate.toFixed(2)} bits/token`});
    bar.style.height = Math.max(2, 26 * rate / most) + "px";
    bar.onclick = () => focusCell(D.cellOfToken[block.streams[s]]);
    element.append(bar);
  });
  return element;
}
