// A live page is asked for again while its tab is in sight, and its main part replaced where it changed.
const EVERY_MS = 10000;
const QUIET_MS = 30000; // while nothing changes: fifty open pages cost little
const STOPS_BELOW = 500; // an answer from here on is a fault of the server, which may pass

let tag = null;
let isAsking = false;
let timer = null; // none while the tab is hidden, or once nobody is signed in

function isInUse(main) {
  return main.contains(document.activeElement) || String(getSelection()).length > 0;
}

async function renew() {
  clearTimeout(timer);
  const main = document.querySelector("main[data-live]");
  if (!main || document.hidden || isAsking) return;
  let next = QUIET_MS;
  isAsking = true;
  try {
    if (!isInUse(main)) {
      const headers = tag ? { "If-None-Match": tag } : {};
      const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "manual" });
      if (answer.status === 200) {
        replace(main, await answer.text(), answer.headers.get("ETag"));
        next = EVERY_MS;
      } else if (answer.status !== 304 && answer.status < STOPS_BELOW) next = null; // signed out: the next click says so
    }
  } catch {
    // away for the moment: asked again
  } finally {
    isAsking = false;
  }
  if (next !== null) timer = setTimeout(renew, next);
}

function replace(main, text, newTag) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const next = page.querySelector("main[data-live]");
  if (!next || isInUse(main)) return;
  for (const open of main.querySelectorAll("details[open][id]")) {
    const same = next.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  }
  const notice = page.querySelector(".freezes");
  const before = document.querySelector(".freezes");
  if (notice && before) before.replaceWith(notice);
  main.replaceWith(next);
  tag = newTag;
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

timer = setTimeout(renew, EVERY_MS);
document.addEventListener("visibilitychange", renew);
document.addEventListener("keydown", press);
