"use strict";
/* Without this script the page shows all texts, sorted by files. */
const root = document.documentElement, $ = id => document.getElementById(id);

/* Numbers by size, words by the alphabet; cells without anything stand last either way. */
function sortBy(title) {
  const table = title.closest("table"), column = title.cellIndex;
  const rising = title.getAttribute("aria-sort") !== "ascending";
  for (const other of title.parentNode.children) other.removeAttribute("aria-sort");
  title.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0], rows = [...body.rows];
  const key = row => row.cells[column].dataset.key;
  const numeric = rows.every(row => !isNaN(key(row)));
  rows.sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === "" || y === "") return (x === "") - (y === "");
    return (numeric ? x - y : x.localeCompare(y)) * (rising ? 1 : -1);
  });
  body.append(...rows);
  $("said").textContent =
    `${table.caption.textContent} by ${title.textContent}, ${rising ? "rising" : "falling"}`;
}

function show(number) {
  for (const section of document.querySelectorAll("section"))
    section.hidden = section.dataset.text !== number;
}

function toggleTheme() {
  const now = root.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

for (const title of document.querySelectorAll("thead th"))
  title.firstElementChild.onclick = () => sortBy(title);
for (const choice of document.querySelectorAll("#choice input"))
  choice.onchange = () => show(choice.value);
$("theme").onclick = toggleTheme;
document.addEventListener("keydown", event => {
  if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey) toggleTheme();
});
$("theme").hidden = $("choice").hidden = false;
const first = document.querySelector("#choice input");
first.checked = true;
show(first.value);
root.dataset.ready = "";
