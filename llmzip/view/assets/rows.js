/* The text as rows of equal height: lines, cut where they are too wide, and a row above each block.
   Only what can be seen is in the document. */
const ROW = 24, TAB = 4, OVERSCAN = 10;
const R = {starts: [], lines: [], blocks: [], columns: 0, drawn: new Map()};

const isWide = c =>
  c >= 0x1100 && (c <= 0x115f || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
    (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60));
const isCombining = c =>
  (c >= 0x300 && c <= 0x36f) || (c >= 0x1ab0 && c <= 0x1aff) || (c >= 0x20d0 && c <= 0x20ff) ||
    (c >= 0xfe00 && c <= 0xfe0f);
/* What could hide, or turn the text around, is named instead. */
const isNamed = c =>
  (c >= 0x80 && c < 0xa0) || c === 0xad || c === 0x61c || (c >= 0x200b && c <= 0x200f) ||
    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c === 0xfeff ||
    (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xd800 && c <= 0xdfff) || c === 0xfffe || c === 0xffff;
const isPair = (text, u) =>
  text[u] >= 0xd800 && text[u] < 0xdc00 && text[u + 1] >= 0xdc00 && text[u + 1] < 0xe000;

function nameOf(c) {
  if (c < 32 || c === 127) return "^" + String.fromCharCode(c ^ 64); // as terminals do
  return c >= 0xdc80 && c <= 0xdcff
    ? "\\x" + (c - 0xdc00).toString(16)
    : "U+" + c.toString(16).toUpperCase().padStart(4, "0");
}

function widthOf(c, column) {
  if (c >= 32 && c < 127) return 1;
  if (c === 9) return TAB - column % TAB;
  if (c < 32 || c === 127) return 2;
  if (isNamed(c)) return nameOf(c).length;
  return isCombining(c) ? 0 : isWide(c) ? 2 : 1;
}

function layOut(columns) {
  const text = D.text, end = text.length;
  const starts = [], lines = [], blocks = [];
  let line = 1, shown = 0, block = 0;
  const push = (start, b) => {
    starts.push(start);
    blocks.push(b);
    lines.push(b < 0 && line !== shown ? line : 0);
    if (b < 0) shown = line;
  };
  let u = 0;
  while (u < end || block < D.blocks.length) {
    while (block < D.blocks.length && D.blocks[block].unit <= u) push(u, block++);
    if (u >= end) break;
    const stop = block < D.blocks.length ? Math.min(end, D.blocks[block].unit) : end;
    push(u, -1);
    let column = 0, space = -1;
    const first = u;
    while (u < stop) {
      const c = text[u];
      if (c === 10) { u++; line++; break; }
      const pair = isPair(text, u), width = pair ? 2 : widthOf(c, column);
      if (column + width > columns && u > first) {
        if (space > first) u = space;
        break;
      }
      column += width;
      u += pair ? 2 : 1;
      if (c === 32) space = u;
    }
  }
  Object.assign(R, {starts, lines, blocks, columns});
}

const rowCount = () => R.starts.length;
const rowEnd = r => r + 1 < rowCount() ? R.starts[r + 1] : D.text.length;
const rowOf = unit => Math.max(0, lastAtMost(R.starts, unit));
const lineOf = unit => {
  let r = rowOf(unit);
  while (r > 0 && !R.lines[r]) r--;
  return R.lines[r] || 1;
};

function drawVisible() {
  const scroll = $("scroll");
  const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - OVERSCAN);
  const last = Math.min(rowCount(),
    Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + OVERSCAN);
  for (const [r, element] of R.drawn)
    if (r < first || r >= last) { element.remove(); R.drawn.delete(r); }
  const added = document.createDocumentFragment();
  for (let r = first; r < last; r++)
    if (!R.drawn.has(r)) {
      const element = R.blocks[r] < 0 ? drawRow(r) : drawDivider(r);
      element.style.top = r * ROW + "px";
      R.drawn.set(r, element);
      added.append(element);
    }
  $("rows").append(added);
  placeView();
}

function redraw() {
  for (const element of R.drawn.values()) element.remove();
  R.drawn.clear();
  drawVisible();
}

function drawDivider(r) {
  const b = R.blocks[r], block = D.blocks[b], frame = D.frames[block.frame];
  const parts = [];
  if (D.frames.length > 1 && (b === 0 || D.blocks[b - 1].frame !== block.frame))
    parts.push(`frame ${block.frame + 1}${frame.solid ? ", solid" : ""}`);
  parts.push(`block ${b + 1}`, block.codec,
    `${number(block.size)} → ${number(block.bytes)} bytes`,
    `${(8 * block.bytes / block.size).toFixed(3)} bits/byte`);
  if (block.streams) parts.push(plural(block.streams.length, "stream"));
  return make("div", {class: "divider"}, parts.join(" · "));
}

function drawRow(r) {
  const start = R.starts[r], end = rowEnd(r);
  const bits = bitsBefore(end) - bitsBefore(start);
  const line = make("span", {class: "line", dir: "auto"});
  for (let c = cellAt(start); c < D.cell_starts.length && D.cell_starts[c] < end; c++)
    line.append(drawCell(c, Math.max(start, D.cell_starts[c]), Math.min(end, cellEnd(c))));
  const cost = make("span", {class: "cost", title: "bits of this row"}, bits.toFixed(1));
  cost.style.setProperty("--share", Math.min(100, 25 * bits / (end - start)) + "%");
  return make("div", {class: "row"}, make("span", {class: "num"}, R.lines[r] || ""), cost, line);
}

function drawCell(c, start, end) {
  const kind = D.part_kinds[D.cell_parts[c]];
  const span = make("span", {class: "c " + shade(c)});
  span.dataset.cell = c;
  if (kind === MATCH) span.classList.add("match");
  if (kind === OTHER) span.classList.add("run");
  if (D.edges.has(c) && start === D.cell_starts[c]) {
    span.classList.add("edge");
    span.title = "here begins stream " + (D.edges.get(c) + 1);
  }
  if (c === F.cell) span.classList.add("on");
  if (start < F.sourceEnd && end > F.source) span.classList.add("src");
  appendText(span, D.text, start, end);
  return span;
}

/* Characters as they are; line ends as a sign (<i>), what has no form of its own by name (<b>). */
function appendText(target, text, start, end) {
  let plain = start;
  const flush = u => {
    if (u > plain) target.append(String.fromCharCode(...text.subarray(plain, u)));
  };
  for (let u = start; u < end; u++) {
    const c = text[u];
    if (isPair(text, u)) { u++; continue; }
    const special = (c < 32 && c !== 9) || c === 127 || isNamed(c);
    if (!special) continue;
    flush(u);
    target.append(c === 10 ? make("i", {}, "↵") : make("b", {}, nameOf(c)));
    plain = u + 1;
  }
  flush(end);
}
