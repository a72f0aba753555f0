"use strict";
/* The data: unpacked from the page's own scripts, as arrays; `D` has them and what follows from
   them. A cell is the smallest run of parts (tokens, matches, runs of other codecs) that begins and
   ends between characters; a unit is one of UTF-16. */
const TOKEN = 0, REST = 1, MATCH = 2, OTHER = 3;
const D = {};
const pause = () => new Promise(done => setTimeout(done));

async function packedBytes() {
  const parts = [];
  for (const element of document.querySelectorAll("script.data")) {
    const text = atob(element.textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    parts.push(bytes);
    element.remove();
    await pause();
  }
  return parts;
}

async function load() {
  const stream = new Blob(await packedBytes()).stream();
  const inflated = stream.pipeThrough(new DecompressionStream("deflate-raw"));
  const buffer = await new Response(inflated).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  Object.assign(D, JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size))));
  const kinds = {
    uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int16: Int16Array,
    int32: Int32Array, float64: Float64Array,
  };
  const data = buffer.slice(4 + size);
  for (const [name, [kind, offset, count]] of Object.entries(D.arrays))
    D[name] = new kinds[kind](data, offset, count);
  await pause();
  derive();
}

function derive() {
  const parts = D.part_kinds.length, cells = D.cell_starts.length;
  const next = {[TOKEN]: 0, [MATCH]: 0, [OTHER]: 0};
  D.items = new Uint32Array(parts); // which token, match or run a part is
  for (let i = 0; i < parts; i++) {
    const kind = D.part_kinds[i];
    D.items[i] = kind === REST ? next[TOKEN] - 1 : next[kind]++;
  }
  D.cellOfToken = new Uint32Array(next[TOKEN]);
  D.sums = new Float64Array(cells + 1); // bits before each cell
  for (let c = 0; c < cells; c++) {
    let bits = 0;
    for (let i = D.cell_parts[c]; i < partsEnd(c); i++) {
      if (D.part_kinds[i] === TOKEN) D.cellOfToken[D.items[i]] = c;
      bits += partBits(i);
    }
    D.sums[c + 1] = D.sums[c] + bits;
  }
  D.matchCells = [];
  for (let c = 0; c < cells; c++)
    if (D.part_kinds[D.cell_parts[c]] === MATCH) D.matchCells.push(c);
  D.edges = new Map(); // cell -> the stream that begins in it
  for (const block of D.blocks)
    (block.streams || []).forEach((token, number) => {
      if (number) D.edges.set(D.cellOfToken[token], number);
    });
  D.streamCells = [...D.edges.keys()].sort((a, b) => a - b);
  D.wordStarts = new Uint32Array(D.word_sizes.length + 1);
  D.word_sizes.forEach((size, i) => { D.wordStarts[i + 1] = D.wordStarts[i] + size; });
}

const partsEnd = c =>
  c + 1 < D.cell_parts.length ? D.cell_parts[c + 1] : D.part_kinds.length;
const cellEnd = c => c + 1 < D.cell_starts.length ? D.cell_starts[c + 1] : D.text.length;
const tokenBits = t => D.token_bits[t] / D.units[0];
const modelBits = t => D.token_model_bits[t] / D.units[0];

function partBits(i) {
  const item = D.items[i];
  switch (D.part_kinds[i]) {
    case TOKEN: return tokenBits(item);
    case MATCH: return D.match_bits[item];
    case OTHER: return D.run_bits[item];
    default: return 0;
  }
}

/* The last index whose value is at most this; -1 where there is none. */
function lastAtMost(array, value, end = array.length) {
  let low = 0, high = end;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}

const cellAt = unit => Math.max(0, lastAtMost(D.cell_starts, unit));

/* The bits of all text before a unit; those of a cell are spread evenly over it. */
function bitsBefore(unit) {
  if (!D.cell_starts.length) return 0;
  const c = cellAt(unit), start = D.cell_starts[c];
  const share = Math.min(1, (unit - start) / (cellEnd(c) - start));
  return D.sums[c] + share * (D.sums[c + 1] - D.sums[c]);
}

const wordBytes = w => D.word_bytes.subarray(D.wordStarts[w], D.wordStarts[w + 1]);
