// The report of a profile: a timeline on a canvas, and tables. Data are in the element "data" (see page.py);
// times are nanoseconds since the profile began.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// Okabe and Ito's colours, which people who confuse colours can tell apart, for the ops that took longest.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a900", "#7d6bc9",
  "#3aa6a0", "#c2554d"];
const colours = new Map();
data.tables.op.forEach((row, i) => { if (i < PALETTE.length) colours.set(row[0], PALETTE[i]); });
const colourOf = (op) => colours.get(op) ?? css("--grey");

let style = getComputedStyle(document.documentElement);
const css = (name) => style.getPropertyValue(name).trim();
const ROW = 20, KERNELS = 34, MEMORY = 44, LABEL = 130, AXIS = 24, SPACE = 10;

// --- Text ---

function digits(value) {
  if (!isFinite(value)) return "";
  if (value >= 99.95) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 9.995 ? 1 : 2);
}
function duration(ns) {
  if (ns >= 1e9) return digits(ns / 1e9) + " s";
  return ns >= 1e6 ? digits(ns / 1e6) + " ms" : digits(ns / 1e3) + " us";
}
function bytes(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return digits(n / size) + " " + unit;
  }
  return n + " bytes";
}
function escaped(text) {
  return String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}
function described(title, pairs) {
  const items = pairs.filter(([, value]) => value !== "" && value !== undefined)
    .map(([name, value]) => `<dt>${name}</dt><dd>${escaped(value)}</dd>`);
  return `<b>${escaped(title)}</b><dl>${items.join("")}</dl>`;
}

// --- What is drawn: slices in lanes, each lane sorted by time ---
// A slice is {start, end, title, fill, match, html}; a lane {label, height, slices} or one with its own draw.

function launchSlices(queue, host) {
  const { kind, begun, enqueued, queued, started, ended } = queue.columns;
  return kind.map((number, i) => {
    const k = data.kinds[number];
    const [from, to] = host ? [begun[i], enqueued[i]] : [started[i], ended[i]];
    const seconds = (ended[i] - started[i]) / 1e9;
    return {
      start: from, end: to, title: host ? k.op : k.op, fill: host ? css("--call") : colourOf(k.op),
      match: `${k.op} ${k.kernel} ${k.scope}`.toLowerCase(), launch: [queue, i],
      html: () => described(host ? `enqueue ${k.op}` : k.op, [
        ["kernel", k.kernel], ["arrays", k.shapes], ["on the device", duration(ended[i] - started[i])],
        ["the call", duration(enqueued[i] - begun[i])],
        ["from call to start", duration(started[i] - begun[i])],
        ["queued until start", duration(Math.max(0, started[i] - queued[i]))],
        ["moved", `${bytes(k.nbytes)}, ${digits(k.nbytes / seconds / 1e9)} GB/s`],
        ["products", k.flops ? `${digits(k.flops / seconds / 1e9)} GFLOP/s` : ""],
        ["of the limit", k.bound === null ? "" : digits(100 * k.bound / (seconds * 1e9)) + " %"],
        ["ranges", k.ranges], ["scope", k.scope], ["begins at", duration(from)],
      ]),
    };
  });
}

function rangeLanes(thread) {
  const lanes = [];
  for (const [name, category, depth, start, end] of thread.ranges) {
    const fill = css({ scope: "--scope", block: "--scope", phase: "--phase" }[category] ?? "--own");
    (lanes[depth] ??= { label: "", height: ROW, slices: [] }).slices.push({
      start, end, title: name, fill, match: name.toLowerCase(),
      html: () => described(name, [["range", category], ["on the host", duration(end - start)],
        ["begins at", duration(start)]]),
    });
  }
  return lanes.filter(Boolean);
}

// Tasks may overlap: each goes to the first lane that is free.
function taskLanes() {
  const found = [];
  for (const [name, category, start, end] of data.tasks) {
    let lane = found.find((l) => l.slices[l.slices.length - 1].end <= start);
    if (!lane) found.push(lane = { label: "", height: ROW, slices: [] });
    lane.slices.push({ start, end, title: name, fill: css("--phase"), match: name.toLowerCase(),
      html: () => described(name, [["task of", category], ["on the host", duration(end - start)],
        ["begins at", duration(start)]]) });
  }
  return found;
}

let lanes = [];
function layOut() {
  lanes = [];
  for (const thread of data.threads) {
    const own = rangeLanes(thread);
    for (const queue of thread.queues) {
      own.push({ label: "", height: ROW, slices: launchSlices(data.queues[queue], true) });
    }
    if (own.length) own[0].label = `host, ${thread.name}`;
    lanes.push(...own, { height: SPACE });
  }
  const tasks = taskLanes();
  if (tasks.length) { tasks[0].label = "tasks"; lanes.push(...tasks, { height: SPACE }); }
  for (const queue of data.queues) {
    const slices = launchSlices(queue, false), { enqueued, memory } = queue.columns;
    lanes.push({ label: queue.name, height: KERNELS, slices, queue, idle: !queue.beside }, { height: 4 });
    if (queue.beside) { lanes.push({ height: SPACE }); continue; } // what it copies is memory of its own
    lanes.push({ label: `memory, up to ${bytes(greatest(memory))}`, height: MEMORY,
      course: enqueued.map((t, i) => [t, memory[i]]) }, { height: SPACE });
  }
  for (const { name, course } of data.counters) {
    lanes.push({ label: `${name}, up to ${greatest(course.map((c) => c[1]))}`, height: MEMORY, course },
      { height: SPACE });
  }
  let y = AXIS;
  for (const lane of lanes) { lane.y = y; y += lane.height; }
  return y;
}

// --- The view ---

const chart = byId("chart"), map = byId("map"), whole = Math.max(data.duration, 1);
let view = [0, whole], hovered = null, selected = null, wanted = "", height = layOut(), asked = false;

const width = () => chart.clientWidth;
const toX = (t) => LABEL + (t - view[0]) / (view[1] - view[0]) * (width() - LABEL);
const toTime = (x) => view[0] + (x - LABEL) / (width() - LABEL) * (view[1] - view[0]);

function show(start, end) {
  let span = Math.min(Math.max(end - start, 200), whole * 1.02);
  start = Math.min(Math.max(start, -whole * 0.01), whole * 1.01 - span);
  view = [start, start + span];
  redraw();
}
function zoom(factor, at = (view[0] + view[1]) / 2) {
  show(at - (at - view[0]) * factor, at + (view[1] - at) * factor);
}
function redraw() {
  if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); drawMap(); }); }
}
function sized(canvas, h) {
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth;
  canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); canvas.style.height = h + "px";
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif"; context.textBaseline = "middle";
  return [context, w];
}

// The first slice that ends after t: ends grow within a lane.
function firstAfter(slices, t) {
  let low = 0, high = slices.length;
  while (low < high) { const mid = (low + high) >> 1; if (slices[mid].end > t) high = mid; else low = mid + 1; }
  return low;
}

function draw() {
  const [context, w] = sized(chart, height);
  drawAxis(context, w);
  for (const lane of lanes) {
    context.save();
    context.beginPath(); context.rect(LABEL, 0, w - LABEL, height); context.clip();
    if (lane.idle) drawIdle(context, lane);
    if (lane.course) drawCourse(context, lane);
    if (lane.slices) drawSlices(context, lane);
    context.restore();
    if (lane.label) {
      context.fillStyle = css("--faint"); context.textAlign = "left";
      wrapped(lane.label, lane.height >= KERNELS ? 2 : 1, context).forEach((line, i, all) =>
        context.fillText(line, 0, lane.y + lane.height / 2 + (i - (all.length - 1) / 2) * 14));
    }
  }
  drawMarkers(context);
  drawArrow(context);
}

// Math.max of an array with more elements than a call may have arguments.
function greatest(values) { return values.reduce((a, b) => Math.max(a, b), 0); }

function drawMarkers(context) {
  for (const [name, t] of data.markers) {
    const x = toX(t);
    if (x < LABEL || x > width()) continue;
    context.fillStyle = css("--accent"); context.fillRect(x, AXIS - 6, 1, height);
    context.textAlign = "left"; context.fillText(name, x + 3, AXIS - 2);
  }
}

function wrapped(text, lines, context) {
  const result = [];
  for (const word of text.split(" ")) {
    const last = result[result.length - 1];
    if (last !== undefined && context.measureText(`${last} ${word}`).width < LABEL - 8) {
      result[result.length - 1] = `${last} ${word}`;
    } else result.push(word);
  }
  if (result.length <= lines) return result;
  const kept = result.slice(0, lines);
  kept[lines - 1] += " …";
  return kept;
}

function drawAxis(context, w) {
  const target = (view[1] - view[0]) / Math.max(2, (w - LABEL) / 110);
  const decade = 10 ** Math.floor(Math.log10(target));
  const step = decade * [1, 2, 5, 10].find((n) => n * decade >= target);
  context.textAlign = "center";
  for (let t = Math.ceil(view[0] / step) * step; t <= view[1]; t += step) {
    const x = toX(t);
    context.fillStyle = css("--line"); context.fillRect(x, AXIS - 6, 1, height);
    context.fillStyle = css("--faint");
    if (x > LABEL + 10 && x < w - 20) context.fillText(t === 0 ? "0" : tick(t, step), x, 9);
  }
}
function tick(t, step) {
  const [unit, size] = view[1] >= 2e9 ? ["s", 1e9] : view[1] >= 2e6 ? ["ms", 1e6] : ["us", 1e3];
  const places = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9)));
  return `${(t / size).toFixed(places)} ${unit}`;
}

function drawSlices(context, lane) {
  let covered = -1;
  context.textAlign = "left";
  for (let i = firstAfter(lane.slices, view[0]); i < lane.slices.length; i++) {
    const slice = lane.slices[i];
    if (slice.start > view[1]) break;
    const left = Math.max(toX(slice.start), LABEL), right = toX(slice.end);
    const found = wanted && slice.match.includes(wanted);
    if (right < covered + 0.5 && slice !== selected && !found) continue; // hidden by the one before
    const wide = Math.max(right - left, 0.7);
    covered = left + wide;
    context.globalAlpha = wanted && !found ? 0.18 : 1;
    context.fillStyle = slice.fill;
    context.fillRect(left, lane.y + 1, wide > 3 ? wide - 0.6 : wide, lane.height - 2);
    if (slice === selected || slice === hovered) {
      context.strokeStyle = css("--text"); context.lineWidth = slice === selected ? 2 : 1;
      context.strokeRect(left + 0.5, lane.y + 1.5, Math.max(wide - 1, 1), lane.height - 3);
    }
    const visible = Math.min(right, chart.clientWidth) - left;
    if (visible > 34) {
      context.fillStyle = lane.idle ? "#ffffff" : css("--on-slice");
      context.fillText(fitting(context, slice.title, visible - 8), left + 4, lane.y + lane.height / 2 + 0.5);
    }
    context.globalAlpha = 1;
  }
}
function fitting(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let kept = Math.floor(text.length * room / context.measureText(text).width);
  return kept > 2 ? text.slice(0, kept - 1) + "…" : "";
}

function drawIdle(context, lane) {
  const { queued, started, ended } = lane.queue.columns;
  for (let i = Math.max(1, firstAfter(lane.slices, view[0])); i < started.length; i++) {
    if (ended[i - 1] > view[1]) break;
    const until = Math.min(queued[i], started[i]);
    const left = Math.max(toX(ended[i - 1]), LABEL), wide = toX(until) - left;
    if (wide < 1) continue;
    context.fillStyle = css("--idle"); context.fillRect(left, lane.y + 1, wide, lane.height - 2);
    context.fillStyle = css("--idle-edge"); context.fillRect(left, lane.y + lane.height - 2, wide, 1);
  }
}

// A number that changes now and then: memory in use, or a counter.
function drawCourse(context, lane) {
  const course = lane.course, most = greatest(course.map((c) => c[1])) || 1;
  const bottom = lane.y + lane.height - 1, right = Math.min(toX(whole), width());
  let last = bottom;
  context.beginPath(); context.moveTo(LABEL, bottom);
  for (let i = 0; i < course.length && course[i][0] <= view[1]; i++) {
    if (i + 1 < course.length && course[i + 1][0] < view[0]) continue;
    const x = Math.max(toX(course[i][0]), LABEL), y = bottom - Math.max(course[i][1], 0) / most * (lane.height - 6);
    context.lineTo(x, last); context.lineTo(x, y);
    last = y;
  }
  context.lineTo(right, last); context.lineTo(right, bottom);
  context.fillStyle = css("--memory"); context.fill();
  context.strokeStyle = css("--memory-edge"); context.lineWidth = 1; context.stroke();
}

// From the call to the launch, of the slice that is selected or under the pointer.
function drawArrow(context) {
  const of = selected?.launch ?? hovered?.launch;
  if (!of) return;
  const [queue, i] = of, { enqueued, started } = queue.columns;
  const ends = lanes.filter((lane) => lane.slices?.some((s) => s.launch && s.launch[0] === queue));
  if (ends.length < 2) return;
  const [from, to] = [ends[0], ends[ends.length - 1]];
  context.strokeStyle = css("--accent"); context.lineWidth = 1.5; context.beginPath();
  const [x0, x1] = [toX(enqueued[i]), toX(started[i])], [y0, y1] = [from.y + from.height - 2, to.y + 1];
  context.moveTo(Math.max(x0, LABEL), y0);
  context.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, Math.max(x1, LABEL), y1);
  context.stroke();
}

// How busy the queues are, over the whole time, and which part of it is shown.
function drawMap() {
  const [context, w] = sized(map, 34), room = w - LABEL, columns = Math.max(1, Math.floor(room));
  const busy = new Float64Array(columns), scale = columns / whole;
  const queues = data.queues.filter((queue) => !queue.beside);
  for (const queue of queues) {
    const { started, ended } = queue.columns;
    for (let i = 0; i < started.length; i++) {
      const first = Math.max(0, started[i] * scale), last = Math.min(columns, ended[i] * scale);
      for (let c = Math.floor(first); c < last; c++) {
        busy[c] += Math.max(0, Math.min(c + 1, last) - Math.max(c, first));
      }
    }
  }
  context.fillStyle = css("--soft"); context.fillRect(LABEL, 0, room, 28);
  context.fillStyle = css("--accent"); context.globalAlpha = 0.6;
  busy.forEach((share, c) => {
    const h = 26 * Math.min(1, share / Math.max(1, queues.length));
    context.fillRect(LABEL + c, 28 - h, 1, h);
  });
  context.globalAlpha = 1;
  const left = LABEL + view[0] * scale, right = LABEL + view[1] * scale;
  context.strokeStyle = css("--text"); context.lineWidth = 1.5;
  context.strokeRect(Math.max(left, LABEL) + 0.75, 0.75, Math.max(Math.min(right, w) - Math.max(left, LABEL) - 1.5, 3), 27);
  context.fillStyle = css("--faint"); context.textAlign = "left"; context.fillText("device busy", 0, 14);
}

// --- Pointer and keys ---

function at(event) {
  const box = chart.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const lane = lanes.find((l) => l.slices && y >= l.y && y < l.y + l.height);
  if (!lane || x < LABEL) return null;
  const t = toTime(x), near = 2 * (view[1] - view[0]) / width();
  for (let i = firstAfter(lane.slices, t - near); i < lane.slices.length; i++) {
    const slice = lane.slices[i];
    if (slice.start > t + near) break;
    if (slice.end >= t - near) return slice;
  }
  return null;
}
function tip(event, slice) {
  const box = byId("tip");
  if (!slice) { box.style.display = "none"; return; }
  box.innerHTML = slice.html();
  box.style.display = "block";
  box.style.left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8) + "px";
  const below = event.clientY + 18;
  box.style.top = (below + box.offsetHeight > innerHeight ? event.clientY - box.offsetHeight - 12 : below) + "px";
}
function select(slice) {
  selected = slice;
  byId("detail").innerHTML = slice ? slice.html()
    : '<span class="note">Click a launch or a range for its details. Orange: the queue was empty, the device ' +
      "waited for the program.</span>";
  redraw();
}

let drag = null;
chart.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, view: [...view], moved: false };
  chart.setPointerCapture(event.pointerId);
});
chart.addEventListener("pointermove", (event) => {
  if (drag) {
    const by = (event.clientX - drag.x) / (width() - LABEL) * (drag.view[1] - drag.view[0]);
    drag.moved ||= Math.abs(event.clientX - drag.x) > 3;
    chart.classList.toggle("dragging", drag.moved);
    if (drag.moved) { tip(event, null); show(drag.view[0] - by, drag.view[1] - by); }
    return;
  }
  const slice = at(event);
  if (slice !== hovered) { hovered = slice; redraw(); }
  tip(event, slice);
});
chart.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) select(at(event));
  drag = null; chart.classList.remove("dragging");
});
chart.addEventListener("pointerleave", (event) => { hovered = null; tip(event, null); redraw(); });
chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const span = view[1] - view[0];
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = (event.deltaX || event.deltaY) / width() * span;
    show(view[0] + by, view[1] + by);
  } else {
    zoom(Math.exp(event.deltaY * 0.0015), toTime(event.clientX - chart.getBoundingClientRect().left));
  }
}, { passive: false });

function moveTo(event) {
  if (!event.buttons) return;
  const box = map.getBoundingClientRect(), span = view[1] - view[0];
  const t = (event.clientX - box.left - LABEL) / (box.width - LABEL) * whole;
  show(t - span / 2, t + span / 2);
}
map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); moveTo(event); });
map.addEventListener("pointermove", moveTo);

const KEYS = {
  w: () => zoom(0.7), s: () => zoom(1 / 0.7), f: () => show(0, whole), Escape: () => select(null),
  a: () => show(view[0] - 0.2 * (view[1] - view[0]), view[1] - 0.2 * (view[1] - view[0])),
  d: () => show(view[0] + 0.2 * (view[1] - view[0]), view[1] + 0.2 * (view[1] - view[0])),
};
addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  KEYS[event.key]?.();
});
byId("in").onclick = KEYS.w; byId("out").onclick = KEYS.s; byId("fit").onclick = KEYS.f;
byId("find").oninput = (event) => { wanted = event.target.value.trim().toLowerCase(); redraw(); };
addEventListener("resize", redraw);

// --- Tables ---

const HEADS = ["calls", "total", "share", "mean", "min", "max", "GB/s", "GFLOP/s", "of limit"];
const TITLES = { op: "op", kernel: "kernel", shapes: "kernel and shapes", scope: "scope" };
let group = "op", sort = { column: 2, ascending: false };

// A row of data.tables: name, op, calls, total, least, most, bytes, flops, bound (or null).
function cells([name, , calls, total, least, most, nbytes, flops, bound], all) {
  const limit = bound === null || !total ? NaN : bound / total;
  return [name, calls, total, total / all, total / calls, least, most, nbytes / total, flops / total, limit];
}
function fillTable() {
  const source = data.tables[group], all = source.reduce((sum, row) => sum + row[3], 0);
  const rows = source.map((row) => [cells(row, all), row[1]]);
  const order = sort.ascending ? 1 : -1, c = sort.column;
  rows.sort(([a], [b]) => order * (c === 0 ? a[0].localeCompare(b[0]) : (a[c] || 0) - (b[c] || 0)));
  const most = Math.max(...rows.map(([row]) => row[3]), 1e-9);
  byId("table").tHead.innerHTML = "<tr>" + [TITLES[group], ...HEADS].map((head, i) => {
    const sorted = i === c ? ` aria-sort="${sort.ascending ? "ascending" : "descending"}"` : "";
    return `<th data-column="${i}"${sorted}>${head}</th>`;
  }).join("") + "</tr>";
  byId("table").tBodies[0].innerHTML = rows.map(([row, op]) => {
    const colour = group === "scope" ? css("--accent") : colourOf(op);
    const dot = group === "scope" ? "" : `<span class="dot" style="background:${colour}"></span>`;
    const bar = `<i style="width:calc((100% - 12px) * ${row[3] / most});background:${colour}"></i>`;
    return `<tr><td>${dot}${escaped(row[0])}</td><td>${row[1].toLocaleString("en")}</td>` +
      `<td>${duration(row[2])}</td><td class="share">${bar}<span>${digits(100 * row[3])} %</span></td>` +
      row.slice(4, 7).map((t) => `<td>${duration(t)}</td>`).join("") +
      `<td>${digits(row[7])}</td><td>${row[8] ? digits(row[8]) : ""}</td>` +
      `<td>${isNaN(row[9]) ? "" : digits(100 * row[9]) + " %"}</td></tr>`;
  }).join("");
}
byId("table").addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const column = Number(head.dataset.column);
  sort = { column, ascending: sort.column === column ? !sort.ascending : column === 0 };
  fillTable();
});
for (const name of Object.keys(TITLES)) {
  const button = document.createElement("button");
  button.type = "button"; button.textContent = TITLES[name];
  button.setAttribute("aria-pressed", name === group);
  button.onclick = () => {
    group = name;
    for (const other of byId("groups").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", other === button);
    }
    fillTable();
  };
  byId("groups").append(button);
}
for (const [start, end, text] of data.gaps) {
  const item = document.createElement("li");
  item.innerHTML = escaped(text).replace(/^([^,]*)/, "<b>$1</b>");
  item.onclick = () => {
    show(start - 0.5 * (end - start), end + 0.5 * (end - start));
    chart.scrollIntoView({ behavior: "smooth", block: "center" });
  };
  byId("gaps").append(item);
}
if (!data.gaps.length) byId("gaps").innerHTML = '<li class="note">none</li>';

// --- Light and dark ---

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  style = getComputedStyle(document.documentElement);
  height = layOut();
  select(null);
  fillTable();
}
byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
