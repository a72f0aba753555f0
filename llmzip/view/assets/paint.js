/* Colours, and the map of the whole file. */
const LEVELS = 12, DEEPEST = 16, SAVED_LEVELS = 6, SAVED_DEEPEST = 9;
const AS_TOKEN = 4; // bytes of other codecs are coloured as tokens of so many bytes
const MODES = [
  ["bits", "Bits paid", "What each token takes in the file"],
  ["model", "Model alone", "What it would take without mixing"],
  ["mixing", "Mixing", "What mixing changed: blue saved, brown cost"],
];
let mode = "bits";

const level = bits => Math.min(LEVELS, Math.round(LEVELS * Math.sqrt(bits / DEEPEST)));

function changeClass(change) {
  const size = Math.min(SAVED_LEVELS,
    Math.round(SAVED_LEVELS * Math.sqrt(Math.abs(change) / SAVED_DEEPEST)));
  return size ? (change < 0 ? "s" + size : "h" + 2 * size) : "";
}

/* The class of a cell's colour. */
function shade(c) {
  let bits = 0, change = 0;
  for (let i = D.cell_parts[c]; i < partsEnd(c); i++) {
    const item = D.items[i], kind = D.part_kinds[i];
    if (kind === TOKEN) {
      bits += mode === "model" ? modelBits(item) : tokenBits(item);
      change += tokenBits(item) - modelBits(item);
    } else if (kind !== REST) {
      const bytes = kind === MATCH ? D.match_bytes[item] : D.run_bytes[item];
      bits += partBits(i) * Math.min(1, AS_TOKEN / bytes);
    }
  }
  if (mode === "mixing") return changeClass(change);
  const found = level(bits);
  return found ? "h" + found : "";
}

function drawLegend() {
  const legend = $("legend");
  legend.replaceChildren();
  const steps = mode === "mixing"
    ? [-9, -4, -1, 0, 1, 4, 9].map(v => [changeClass(v), (v > 0 ? "+" : "") + v])
    : [0, .5, 1, 2, 4, 8, 16].map(v => [level(v) ? "h" + level(v) : "", v]);
  for (const [shadeClass, text] of steps)
    legend.append(make("span", {}, make("i", {class: shadeClass}), minus(String(text))));
}

function drawMap() {
  const canvas = $("map"), box = $("mapbox"), ratio = devicePixelRatio || 1;
  const width = canvas.width = Math.max(1, Math.round(box.clientWidth * ratio));
  const height = canvas.height = Math.max(1, Math.round(box.clientHeight * ratio));
  const paint = canvas.getContext("2d"), styles = getComputedStyle(document.documentElement);
  const colours = [styles.getPropertyValue("--panel")];
  for (let k = 1; k <= LEVELS; k++) colours.push(styles.getPropertyValue("--h" + k));
  const rows = rowCount(), used = Math.min(height, Math.round(rows * 3 * ratio));
  R.mapped = used / height;
  for (let y = 0; y < used; y++) {
    const first = Math.floor(y * rows / used);
    const last = Math.max(first + 1, Math.floor((y + 1) * rows / used));
    const start = R.starts[first], end = last < rows ? R.starts[last] : D.text.length;
    if (end <= start) continue;
    const bits = (bitsBefore(end) - bitsBefore(start)) / (end - start);
    paint.fillStyle = colours[Math.max(1, level(AS_TOKEN * bits))];
    const columns = Math.min(1, (end - start) / (last - first) / R.columns);
    paint.fillRect(0, y, Math.max(2, width * columns), 1);
  }
  paint.fillStyle = styles.getPropertyValue("--mark");
  R.blocks.forEach((b, r) => { if (b > 0) paint.fillRect(0, r * used / rows, width, 1); });
  placeView();
}

function placeView() {
  const scroll = $("scroll"), height = $("mapbox").clientHeight * (R.mapped || 1);
  const total = Math.max(1, rowCount() * ROW);
  $("view").style.top = scroll.scrollTop / total * height + "px";
  $("view").style.height = Math.min(1, scroll.clientHeight / total) * height + "px";
}
