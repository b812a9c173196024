"use strict";
// Fetch this page anew every few seconds and bring what is shown in line with it, node by node, so
// that what is open, focused, selected or scrolled stays so. Without this script the page reloads.
const EVERY_MS = Number("{{ refresh_seconds }}") * 1000, PATIENCE_MS = 10000;
const lost = document.getElementById("lost");
let answeredAt = new Date(), timer = 0;

function follow(shown, wanted) {
  if (shown.nodeType !== wanted.nodeType || shown.nodeName !== wanted.nodeName) return shown.replaceWith(wanted);
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  if (shown.nodeType !== Node.ELEMENT_NODE) return;
  for (const { name } of [...shown.attributes]) if (name !== "open" && !wanted.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  const others = [...wanted.childNodes];
  [...shown.childNodes].forEach((node, i) => i < others.length ? follow(node, others[i]) : node.remove());
  shown.append(...others.slice(shown.childNodes.length));
}

function tell(text) {
  lost.hidden = !text;
  if (lost.textContent !== text) lost.textContent = text;
  document.body.classList.toggle("lost", Boolean(text));
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (!found) throw new Error(`it answers with HTTP ${answer.status}`);
    document.title = `${found.querySelector(".word").textContent} · scm-consumer`;
    follow(document.getElementById("live"), document.adoptNode(found));
    answeredAt = new Date();
    tell("");
  } catch (error) {
    const why = error instanceof TypeError || error.name === "TimeoutError" ? "the consumer cannot be reached" : error.message;
    document.title = "no answer · scm-consumer";
    tell(`No answer since ${answeredAt.toLocaleTimeString()}: ${why}. What stands below is old.`);
  }
  again();
}

// What was on its way when the page was hidden, or seen anew, must not begin a second round.
function again() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : refresh());
again();
