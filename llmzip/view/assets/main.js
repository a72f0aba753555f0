/* The page's life: focus, keys, and what follows the window's size. */
const F = {cell: -1, shown: -1, source: 0, sourceEnd: 0, back: []};

function $(id) { return document.getElementById(id); }

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== "") element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const number = value => value.toLocaleString("en");
const plural = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;
const minus = text => text.replace("-", "−");
const signed = value =>
  (value > 0 ? "+" : "") + minus(value.toFixed(2)).replace(/^−0\.00$/, "0.00");
const bytesOf = bits => number(+(bits / 8).toFixed(bits < 800 ? 1 : 0));
const signedBytes = bits => (bits > 0 ? "+" : "") + minus(bytesOf(bits));
const percent = (share, sign = false) => !sign && share > 0 && share < .0005 ? "<0.1 %"
  : minus((100 * share).toFixed(1)).replace(/^−0\.0$/, "0.0") + " %";

function focusCell(c, remember = false) {
  if (c < 0 || c >= D.cell_starts.length) return;
  if (remember && F.cell >= 0) F.back.push(F.cell);
  F.cell = c;
  markSource(c);
  reveal(D.cell_starts[c]);
  redraw();
  showDetail(c);
}

/* Where the bytes of a match stand. */
function markSource(c) {
  const i = D.cell_parts[c], isMatch = D.part_kinds[i] === MATCH && D.match_units[D.items[i]] >= 0;
  F.source = isMatch ? D.match_units[D.items[i]] : 0;
  F.sourceEnd = isMatch ? D.match_ends[D.items[i]] : 0;
}

function goToSource(c) {
  const i = D.cell_parts[c];
  if (D.part_kinds[i] !== MATCH || D.match_units[D.items[i]] < 0) return;
  focusCell(cellAt(D.match_units[D.items[i]]), true);
  F.source = D.match_units[D.items[i]];
  F.sourceEnd = D.match_ends[D.items[i]];
  redraw();
}

function reveal(unit) {
  const scroll = $("scroll"), top = rowOf(unit) * ROW;
  if (top < scroll.scrollTop + ROW || top + 2 * ROW > scroll.scrollTop + scroll.clientHeight)
    scroll.scrollTop = Math.max(0, top - scroll.clientHeight / 3);
}

const topUnit = () => R.starts[Math.floor($("scroll").scrollTop / ROW)] || 0;

/* The token at the keyboard's place: the last one that has begun there. */
function tokenHere() {
  const here = F.cell >= 0 ? F.cell : cellAt(topUnit());
  return lastAtMost(D.cellOfToken, here - (F.cell < 0));
}

function goToToken(wanted, step) {
  for (let t = tokenHere() + (step > 0); t >= 0 && t < D.cellOfToken.length; t += step)
    if (D.cellOfToken[t] !== F.cell && wanted(t)) {
      focusCell(D.cellOfToken[t]);
      return true;
    }
  return false;
}

/* The next or previous of these cells, which are in order. */
function goAmong(cells, step) {
  const i = lastAtMost(cells, F.cell);
  const next = step > 0 ? i + 1 : cells[i] === F.cell ? i - 1 : i;
  if (next >= 0 && next < cells.length) focusCell(cells[next]);
}

function setMode(name) {
  mode = name;
  for (const button of $("modes").children)
    button.setAttribute("aria-checked", button.dataset.mode === name);
  drawLegend();
  redraw();
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawMap();
}
const otherTheme = () => document.documentElement.dataset.theme === "dark" ? "light" : "dark";

let searched = null;

function find(query) {
  if (!query) return;
  if (!searched) {
    const parts = [];
    for (let u = 0; u < D.text.length; u += 8192)
      parts.push(String.fromCharCode(...D.text.subarray(u, u + 8192)));
    searched = {exact: parts.join("")};
    searched.lower = searched.exact.toLowerCase();
  }
  const folds = query === query.toLowerCase() && searched.lower.length === searched.exact.length;
  const text = folds ? searched.lower : searched.exact;
  let at = text.indexOf(query, F.cell >= 0 ? cellEnd(F.cell) : 0);
  if (at < 0) at = text.indexOf(query);
  $("find").setAttribute("aria-invalid", at < 0);
  if (at >= 0) focusCell(cellAt(at));
}

const KEYS = {
  n: () => goToToken(t => tokenBits(t) >= +$("threshold").value, 1),
  p: () => goToToken(t => tokenBits(t) >= +$("threshold").value, -1),
  b: () => goAmong(D.blocks.map(block => cellAt(block.unit)), 1),
  B: () => goAmong(D.blocks.map(block => cellAt(block.unit)), -1),
  s: () => goAmong(D.streamCells, 1),
  S: () => goAmong(D.streamCells, -1),
  m: () => goAmong(D.matchCells, 1),
  M: () => goAmong(D.matchCells, -1),
  t: () => setTheme(otherTheme()),
  "?": () => $("keys").showModal(),
  "/": () => $("find").focus(),
  1: () => setMode("bits"), 2: () => setMode("model"), 3: () => setMode("mixing"),
  Backspace: () => { if (F.back.length) focusCell(F.back.pop()); },
  Escape: () => $("scroll").focus(),
};
const TEXT_KEYS = {
  ArrowRight: () => focusCell(F.cell < 0 ? cellAt(topUnit()) : F.cell + 1),
  ArrowLeft: () => focusCell(F.cell - 1),
  Enter: () => { if (F.cell >= 0) goToSource(F.cell); },
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const inField = event.target.tagName === "INPUT";
  if (inField && event.key !== "Escape") {
    if (event.key === "Enter" && event.target.id === "find") find(event.target.value);
    return;
  }
  const inText = event.target === $("scroll") || event.target === document.body;
  const action = KEYS[event.key] || (inText && TEXT_KEYS[event.key]);
  if (!action) return;
  event.preventDefault();
  action();
}

function fit() {
  const probe = make("span", {class: "line"}, "0".repeat(100));
  probe.style.cssText = "position:absolute;visibility:hidden;flex:none";
  $("rows").append(probe);
  const width = probe.getBoundingClientRect().width / 100;
  probe.remove();
  const margin = 156;
  const columns = Math.max(20, Math.floor(($("scroll").clientWidth - margin) / width));
  if (columns !== R.columns) {
    const top = topUnit();
    layOut(columns);
    $("space").style.height = rowCount() * ROW + ROW + "px";
    if (top) $("scroll").scrollTop = rowOf(top) * ROW;
    redraw();
  }
  drawMap();
}

function listen() {
  let waiting = false;
  $("scroll").addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawVisible(); });
  });
  const cellOf = event => event.target.closest && event.target.closest("[data-cell]");
  let place = "";
  $("rows").addEventListener("pointermove", event => {
    const now = `${event.clientX} ${event.clientY}`;
    if (now === place) return; // the text has moved, and not the pointer
    place = now;
    const span = cellOf(event), c = span ? +span.dataset.cell : -1;
    if (c >= 0 && c !== F.shown) showDetail(c);
  });
  $("rows").addEventListener("pointerleave", () => showDetail(F.cell));
  $("rows").addEventListener("click", event => {
    const span = cellOf(event);
    if (!span || !getSelection().isCollapsed) return;
    const c = +span.dataset.cell, again = c === F.cell;
    focusCell(c);
    if (again) goToSource(c);
  });
  const seek = event => {
    const box = $("mapbox").getBoundingClientRect(), scroll = $("scroll");
    const share = (event.clientY - box.top) / (box.height * (R.mapped || 1));
    scroll.scrollTop = share * rowCount() * ROW - scroll.clientHeight / 2;
  };
  $("mapbox").addEventListener("pointerdown", event => {
    $("mapbox").setPointerCapture(event.pointerId);
    seek(event);
  });
  $("mapbox").addEventListener("pointermove", event => { if (event.buttons) seek(event); });
  document.addEventListener("keydown", onKey);
  $("theme").onclick = KEYS.t;
  $("help").onclick = KEYS["?"];
  new ResizeObserver(() => requestAnimationFrame(fit)).observe($("scroll"));
}

async function begin() {
  document.documentElement.dataset.theme =
    matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  if (typeof DecompressionStream === "undefined") {
    $("headline").textContent = "This browser is too old to unpack the page (it lacks "
      + "DecompressionStream): Chrome 103, Firefox 113, Safari 16.4 or newer have it.";
    return;
  }
  await load();
  $("name").textContent = D.name;
  const tokens = D.cellOfToken.length, rate = D.bytes ? 8 * D.packed / D.bytes : 0;
  $("headline").append(make("b", {}, number(D.bytes)), " → ", make("b", {}, number(D.packed)),
    " bytes", ...(D.bytes ? [" · ", make("b", {}, rate.toFixed(3)), " bits/byte"] : []),
    ...(tokens ? [` · ${plural(tokens, "token")}`] : []),
    ...(D.frames.length > 1 ? [` · ${plural(D.frames.length, "frame")}`] : []),
    ` · ${plural(D.blocks.length, "block")}`);
  $("headline").firstChild.remove();
  for (const [name, label, title] of MODES)
    $("modes").append(make("button", {role: "radio", "data-mode": name, title}, label));
  $("modes").onclick = event => {
    if (event.target.dataset.mode) setMode(event.target.dataset.mode);
  };
  listen();
  fit();
  setMode(mode);
  showSums();
  showDetail(-1);
  document.documentElement.dataset.ready = "";
}

begin();
