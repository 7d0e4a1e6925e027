// A live page hears of changes by the server's stream while its tab is in sight, and asks for its main part again where
// what it shows has changed. Without the stream it asks by itself, now and then.
const SLOW_MS = 120000; // while the stream tells of changes: an age that is shown goes on
const EVERY_MS = 10000; // without the stream
const QUIET_MS = 30000; // without the stream and while nothing changes
const AGAIN_MS = 1000; // between a change and the next one, and while someone uses what would be replaced
const STOPS_BELOW = 500; // an answer from here on is a fault of the server, which may pass
const CHANGES = new URL("../changes", document.currentScript.src);

let tag = null;
let isAsking = false;
let isStale = false; // something changed since the page was asked for
let stream = null; // none while the tab is hidden: a browser keeps six connections to a server for all its tabs
let timer = null; // none while the tab is hidden, or once nobody is signed in

function live() {
  return document.querySelector("main[data-live]");
}

function isInUse(main) {
  return main.contains(document.activeElement) || String(getSelection()).length > 0;
}

function isHeard() {
  return stream !== null && stream.readyState === EventSource.OPEN;
}

function watch() {
  if (document.hidden || !live()) {
    if (stream) stream.close();
    stream = null;
    clearTimeout(timer);
    return;
  }
  if (!stream) {
    stream = new EventSource(CHANGES);
    stream.addEventListener("open", stale); // what changed before the stream began
    stream.addEventListener("message", (event) => {
      const topics = event.data.split(" ");
      if (live() && live().dataset.live.split(" ").some((topic) => topics.includes(topic))) stale();
    });
  }
  if (isHeard()) renew();
  else later(EVERY_MS);
}

function stale() {
  isStale = true;
  if (!isAsking) later(0);
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(renew, ms);
}

async function renew() {
  clearTimeout(timer);
  const main = live();
  if (!main || document.hidden || isAsking) return;
  if (isInUse(main)) return later(AGAIN_MS);
  let next = isHeard() ? SLOW_MS : QUIET_MS;
  isAsking = true;
  isStale = false;
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual" });
    if (answer.status === 200) {
      replace(main, await answer.text(), answer.headers.get("ETag"));
      if (!isHeard()) next = EVERY_MS;
    } else if (answer.status !== 304 && answer.status < STOPS_BELOW) next = null; // signed out: the next click says so
  } catch {
    next = EVERY_MS; // away for the moment: asked again
  } finally {
    isAsking = false;
  }
  if (next !== null) later(isStale ? AGAIN_MS : next);
}

function replace(main, text, newTag) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const next = page.querySelector("main");
  if (!next || isInUse(main)) return;
  for (const open of main.querySelectorAll("details[open][id]")) {
    const same = next.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  }
  const notice = page.querySelector(".freezes");
  const before = document.querySelector(".freezes");
  if (notice && before) before.replaceWith(notice);
  main.replaceWith(next);
  offer();
  tag = newTag;
  if (!live() && stream) watch(); // what ran has come to its end
}

// One review at a time, by the keys that its buttons name.
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  for (const place of document.querySelectorAll("[data-key]")) {
    if (place.dataset.key === event.key) {
      event.preventDefault();
      place.click();
      return;
    }
  }
}

// What a form would do is shown while it is typed, as its button Preview shows it.
const TYPED_MS = 400;
let typed = null;
let preview = null;

function type(event) {
  const form = event.target.closest("form[data-preview]");
  if (!form) return;
  clearTimeout(typed);
  typed = setTimeout(() => show(form), TYPED_MS);
}

async function show(form) {
  if (preview) preview.abort();
  preview = new AbortController();
  const body = new URLSearchParams(new FormData(form));
  body.set("do", "typing");
  try {
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual", signal: preview.signal });
    if (!answer.ok) return; // signed out, or the server is at fault: the form's own buttons say so
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = page.getElementById(part.id);
      const focused = part.contains(document.activeElement) ? document.activeElement.value : null;
      if (next) part.replaceChildren(...next.childNodes);
      if (focused !== null) for (const button of part.querySelectorAll("button")) if (button.value === focused) button.focus();
    }
  } catch {
    // away for the moment, or typed on meanwhile
  }
}

// The values of a chart, for the finger and the keyboard: a mouse that hovers has titles of single dots only.
const CHARTS = "svg.over-time, svg.traffic";

function offer() {
  for (const svg of document.querySelectorAll(CHARTS)) svg.tabIndex = 0;
}

// Every time at which something was measured, from the left: its place and what was measured by which line.
function marksOf(svg) {
  const marks = new Map();
  for (const line of [svg, ...svg.querySelectorAll("[data-values]")]) {
    for (const [x, when, value] of (line.dataset.values || "").split("|").slice(0, -1).map((mark) => mark.split(";"))) {
      if (!marks.has(x)) marks.set(x, { x: Number(x), when, values: [] });
      if (value) marks.get(x).values.push([line.dataset.name, value].filter(Boolean).join(" "));
    }
  }
  return [...marks.values()].sort((one, other) => one.x - other.x);
}

function tell(svg, place) {
  const mark = marksOf(svg)[place];
  if (!mark) return;
  svg.dataset.place = place;
  svg.querySelector(".cursor").setAttribute("d", `M${mark.x} 0V${svg.viewBox.baseVal.height}`);
  svg.closest(".told-of").querySelector(".told").textContent = [mark.when, mark.values.join(", ")].filter(Boolean).join(": ");
}

function point(event) {
  const svg = event.target.closest(CHARTS);
  if (!svg) return;
  const frame = svg.getBoundingClientRect();
  const box = svg.viewBox.baseVal;
  const x = box.x + ((event.clientX - frame.left) / frame.width) * box.width;
  const distances = marksOf(svg).map((mark) => Math.abs(mark.x - x));
  tell(svg, distances.indexOf(Math.min(...distances)));
}

function step(event) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || !event.target.matches(CHARTS)) return;
  event.preventDefault();
  const n = marksOf(event.target).length;
  const place = "place" in event.target.dataset ? Number(event.target.dataset.place) : event.key === "ArrowLeft" ? n : -1;
  tell(event.target, Math.min(n - 1, Math.max(0, place + steps[event.key])));
}

watch();
offer();
for (const name of ["pointerdown", "pointermove"]) document.addEventListener(name, point);
document.addEventListener("keydown", step);
document.addEventListener("visibilitychange", watch);
document.addEventListener("keydown", press);
document.addEventListener("input", type);
