"use strict";
// Everything from a trace arrives as text nodes or as JSON, and is shown through textContent alone.

const number = (text) => Number.parseFloat(text.replaceAll(",", ""));

function sort(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const numeric = head.classList.contains("number");
  const ascending = head.getAttribute("aria-sort") === (numeric ? "descending" : "none");
  for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const sign = ascending ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent, row]);
  rows.sort(([a], [b]) => {
    if (!numeric) return sign * a.localeCompare(b);
    const [x, y] = [number(a), number(b)];
    // What has no number comes last, whichever way the rest goes.
    return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function search(table, text, counter) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
    shown += !row.hidden;
  }
  counter.textContent = words.length ? `${shown} rows match` : "";
}

for (const box of document.querySelectorAll("details.table")) {
  const table = box.querySelector("table");
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.addEventListener("click", () => sort(table, column));
  });
  const input = box.querySelector("input");
  input.addEventListener("input", () => search(table, input.value, box.querySelector(".matches")));
}

const HEIGHT = 22;
const NARROWEST = 0.0008;
const NO_ROLE = "#dfe3e8";

function readable(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}

function icicle(place) {
  const { names, depths, totals, selves, instances, roles, colours, unit } = JSON.parse(
    document.getElementById(place.dataset.tree).textContent,
  );
  const parents = [];
  const children = names.map(() => []);
  const top = [];
  const above = [];
  depths.forEach((depth, row) => {
    parents[row] = depth ? above[depth - 1] : -1;
    (depth ? children[above[depth - 1]] : top).push(row);
    above[depth] = row;
  });
  const whole = top.reduce((sum, row) => sum + totals[row], 0);
  const field = place.querySelector(".icicle");
  const said = place.querySelector(".said");
  const trail = (row) => (row < 0 ? [] : [...trail(parents[row]), row]);

  function tell(row) {
    const [total, self] = [totals[row], selves[row]].map((ns) => (ns / unit.ns).toFixed(3));
    const share = ((100 * totals[row]) / whole).toFixed(2);
    const calls = instances[row] === null ? "" : `, ${instances[row]} calls`;
    const role = roles[row] ? ` · ${roles[row]}` : "";
    const path = trail(row).map((each) => names[each]);
    said.textContent = `${path.join(" / ")}${role}: ${total} ${unit.name} in total (${share}%), ${self} itself${calls}`;
  }

  function box(row, left, width, root) {
    const colour = colours[roles[row]] ?? NO_ROLE;
    const made = document.createElement("button");
    Object.assign(made.style, {
      left: `${100 * left}%`,
      width: `${100 * width}%`,
      top: `${HEIGHT * depths[row]}px`,
      background: colour,
      color: readable(colour),
    });
    made.textContent = width > 0.03 ? names[row] : "";
    made.setAttribute("aria-label", names[row]);
    made.addEventListener("mouseenter", () => tell(row));
    made.addEventListener("focus", () => tell(row));
    made.addEventListener("click", () => show(row === root ? parents[row] : row));
    field.append(made);
  }

  // Returns how deep it got: what is too narrow to see is not drawn.
  function lay(rows, left, width, of, root) {
    let deepest = 0;
    for (const row of rows) {
      const share = of ? (width * totals[row]) / of : 0;
      if (share >= NARROWEST) {
        box(row, left, share, root);
        deepest = Math.max(deepest, depths[row], lay(children[row], left, share, totals[row], root));
      }
      left += share;
    }
    return deepest;
  }

  function show(root) {
    field.replaceChildren();
    for (const row of trail(parents[root] ?? -1)) box(row, 0, 1, root);
    const deepest = root < 0 ? lay(top, 0, 1, whole, root) : lay([root], 0, 1, totals[root], root);
    field.style.height = `${HEIGHT * (deepest + 1)}px`;
    if (root >= 0) tell(root);
  }
  show(-1);
}
document.querySelectorAll(".tree").forEach(icicle);

const tip = document.getElementById("tip");
document.addEventListener("mousemove", (event) => {
  const mark = event.target.closest?.("svg [aria-label][role=graphics-symbol]");
  tip.style.display = mark ? "block" : "none";
  if (!mark) return;
  tip.textContent = mark.getAttribute("aria-label").replaceAll("; ", "\n");
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
});
