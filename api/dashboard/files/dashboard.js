// What htmx leaves to a page. The templates say which part of a page is live and which form is previewed while it is
// typed; here stands what keeps out of people's way, and what charts and reviews do by touch and keys.
const AGAIN_MS = 1000; // while someone uses what would be replaced
const BUSY_MS = 3000; // as the pages say it
const TOLD_MS = 3000; // from a page's opening on, in which what was done stays in sight
const CHARTS = "svg.over-time, svg.traffic";

let stream = null; // of the live part; closed while the tab is hidden: a browser keeps six connections to a server
let tag = null; // of the live part as it is shown
let timer = null;
let isOver = false; // what is shown has ended, and asking for it again may cost a process of its own

htmx.createEventSource = (address) => {
  if (stream) stream.close();
  stream = new EventSource(address);
  if (document.hidden) stream.close();
  return stream;
};

document.addEventListener("visibilitychange", () => {
  if (!stream) return;
  if (document.hidden) stream.close();
  else stream.onerror(); // htmx opens it again, as after a fault, and then asks for what changed meanwhile
});

function tellOf(text) {
  const place = document.getElementById("changed");
  if (place.textContent !== text) place.textContent = text;
}

function isChanged(field) {
  if (field.matches("select")) return field.selectedIndex !== Math.max(0, [...field.options].findIndex((one) => one.defaultSelected));
  return field.checked !== field.defaultChecked || field.value !== field.defaultValue;
}

function isUsed(main) {
  if (main.contains(document.activeElement) || String(getSelection()).length > 0) return true;
  return [...main.querySelectorAll("input, select, textarea")].some(isChanged);
}

function isLeft(main) {
  if (isOver) return true;
  clearTimeout(timer);
  if (isUsed(main)) timer = setTimeout(() => htmx.trigger(main, "again"), AGAIN_MS);
  return isUsed(main) || document.hidden;
}

htmx.on("htmx:confirm", (event) => {
  if (event.detail.elt.id === "main" && isLeft(event.detail.elt)) event.preventDefault();
});

// A page in use stays as it is, and says so; what stands still is in sight all the same.
for (const topic of ["begin", "acts", "freezes", "work", "figures"]) {
  htmx.on(`sse:${topic}`, ({ target: main }) => {
    if (main.id !== "main" || isOver || document.hidden || !isUsed(main)) return;
    if (topic !== "begin") tellOf("This page has changed. It follows as soon as nothing on it is marked or in use.");
    if (topic === "begin" || topic === "freezes")
      htmx.ajax("GET", location.href, { source: "#freezes", target: "#freezes", select: "#freezes > *", swap: "innerHTML" });
  });
}

htmx.on("htmx:configRequest", ({ detail }) => {
  if (detail.elt.id === "main" && tag) detail.headers["If-None-Match"] = tag;
});

htmx.on("htmx:beforeSwap", (event) => {
  const { elt: main, pathInfo, shouldSwap, xhr } = event.detail;
  const isElsewhere = pathInfo.responsePath !== location.pathname + location.search; // signed out
  if (main.id === "freezes" && isElsewhere) event.preventDefault(); // someone may be filling in a form
  if (main.id !== "main" || !shouldSwap) return;
  if (isLeft(main)) return event.preventDefault();
  if (isElsewhere) return location.reload();
  tellOf("");
  tag = xhr.getResponseHeader("ETag");
  const address = new URL(location);
  if (address.searchParams.has("done")) {
    address.searchParams.delete("done"); // what was done is told once: the next swap is of what has happened since
    history.replaceState(null, "", address);
  }
  const told = main.querySelector(".notice");
  if (told && performance.now() < TOLD_MS && !event.detail.serverResponse.includes('class="notice"'))
    event.detail.serverResponse = event.detail.serverResponse.replace(/<main [^]*?>\n/, (start) => start + told.outerHTML);
  isOver = !event.detail.serverResponse.includes('<main id="main" hx-get=');
  if (isOver) stream.close(); // what stands still opens one of its own
  for (const { id } of main.querySelectorAll("details[open][id]"))
    event.detail.serverResponse = event.detail.serverResponse.replace(`<details id="${id}">`, `<details id="${id}" open>`);
});

// What was refused since the server was busy is asked again: the change that it tells of is told once. Where nothing
// new came, what is shown still waits for what it waited for.
htmx.on("htmx:afterRequest", ({ detail: { elt: main, xhr } }) => {
  if (xhr.status === 401) tellOf("Your session has ended: copy what you typed, and sign in again.");
  if (main.id !== "main") return;
  if (xhr.status === 304) return waitAgain();
  if (xhr.status !== 503) return;
  clearTimeout(timer);
  timer = setTimeout(() => htmx.trigger(main, "again"), BUSY_MS);
});

// One review at a time, by the keys that its buttons name: a key that is held, or pressed while an answer is under way,
// was meant for the question before.
let isSending = false;
document.addEventListener("submit", () => { isSending = true; });
addEventListener("pageshow", () => { isSending = false; }); // also where the browser goes back

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  const button = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
  if (!button) return;
  event.preventDefault();
  if (!event.repeat && !isSending) button.click();
});

// An answer that cannot be taken back is given by a second press.
let asked = null;
addEventListener("pageshow", () => { asked = null; });

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-final]");
  if (!button || button === asked) return;
  event.preventDefault();
  asked = button;
  button.form.querySelector(".asks-again").textContent = `“${button.firstChild.textContent.trim()}” is final. Press it again to answer so.`;
});

// The values of a chart, for the finger and the keyboard: a mouse that hovers has titles of single dots only.
function marksOf(svg) {
  return [...svg.querySelectorAll("[data-x]")];
}

function tell(svg, place) {
  const mark = marksOf(svg)[place];
  if (!mark) return;
  svg.dataset.place = place;
  svg.querySelector(".cursor").setAttribute("d", `M${mark.dataset.x} 0V${svg.viewBox.baseVal.height}`);
  svg.closest(".told-of").querySelector(".told").textContent = mark.textContent.trim();
}

function point(event) {
  const svg = event.target.closest(CHARTS);
  if (!svg) return;
  const frame = svg.getBoundingClientRect();
  const box = svg.viewBox.baseVal;
  const x = box.x + ((event.clientX - frame.left) / frame.width) * box.width;
  const distances = marksOf(svg).map((mark) => Math.abs(mark.dataset.x - x));
  tell(svg, distances.indexOf(Math.min(...distances)));
}

for (const name of ["pointerdown", "pointermove"]) document.addEventListener(name, point);

document.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || !event.target.matches(CHARTS)) return;
  event.preventDefault();
  const n = marksOf(event.target).length;
  const place = "place" in event.target.dataset ? Number(event.target.dataset.place) : event.key === "ArrowLeft" ? n : -1;
  tell(event.target, Math.min(n - 1, Math.max(0, place + steps[event.key])));
});

function loadAgain() {
  if (document.hidden || isUsed(document.getElementById("main"))) timer = setTimeout(loadAgain, AGAIN_MS);
  else location.reload();
}

function waitAgain() {
  const again = htmx.find("#again");
  if (!again) return;
  clearTimeout(timer);
  timer = setTimeout(loadAgain, 1000 * again.dataset.seconds);
}

htmx.onLoad((part) => {
  waitAgain();
  for (const svg of htmx.findAll(part, CHARTS)) svg.tabIndex = 0;
});
