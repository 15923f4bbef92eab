// Log lines as they come: appended as text, never as markup, and the oldest go when there are too many.
(() => {
  "use strict";
  const MOST_LINES = 5000;
  const list = document.getElementById("log");
  if (!list) return;
  const state = document.getElementById("log-state");
  const follow = document.querySelector("[data-log-follow]");
  const filter = document.querySelector("[data-log-filter]");
  let waiting = [];
  let seen = 0;
  let lastAttempt = null;

  const fits = (item) => !filter.value || item.textContent.toLowerCase().includes(filter.value.toLowerCase());
  const make = (line) => {
    const item = document.createElement("div");
    const rank = document.createElement("b");
    rank.textContent = line.rank;
    rank.title = `Node rank ${line.rank}, attempt ${line.attempt}`;
    const text = document.createElement("span");
    text.textContent = line.text;
    item.append(rank, text);
    item.hidden = !fits(item);
    return item;
  };
  const turn = (attempt) => {
    const item = document.createElement("div");
    item.className = "break";
    item.textContent = `Attempt ${attempt}`;
    return item;
  };
  const show = () => {
    const items = [];
    for (const line of waiting) {
      if (line.attempt !== lastAttempt) items.push(turn((lastAttempt = line.attempt)));
      items.push(make(line));
    }
    waiting = [];
    list.append(...items);
    while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    if (follow.checked) toEnd();
  };
  const toEnd = () => {
    list.scrollTop = list.scrollHeight;
    requestAnimationFrame(() => { list.scrollTop = list.scrollHeight; }); // once the last lines have their heights
  };
  const count = (more) => {
    const lines = `${seen.toLocaleString("en")} line${seen === 1 ? "" : "s"}`;
    state.textContent = `${lines}${seen > MOST_LINES ? `, the last ${MOST_LINES.toLocaleString("en")} are shown` : ""}. ${more}`;
  };

  filter.addEventListener("input", () => { for (const item of list.children) item.hidden = !fits(item); });
  list.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });
  follow.addEventListener("change", () => { if (follow.checked) toEnd(); });

  const source = new EventSource(list.dataset.stream);
  source.addEventListener("lines", (event) => {
    if (!waiting.length) requestAnimationFrame(() => { show(); count("More comes as it is written."); });
    const lines = JSON.parse(event.data);
    seen += lines.length;
    waiting = waiting.concat(lines).slice(-MOST_LINES); // a page that nobody looks at isn't drawn
    window.footplate.say(true);
  });
  source.addEventListener("end", (event) => {
    source.close();
    requestAnimationFrame(() => { if (waiting.length) show(); count(JSON.parse(event.data)); });
  });
  source.onerror = () => { window.footplate.say(false); };
  source.onopen = () => {
    // The browser has connected again: the log is sent from its beginning.
    list.replaceChildren();
    [waiting, seen, lastAttempt] = [[], 0, null];
    window.footplate.say(true);
  };
})();
