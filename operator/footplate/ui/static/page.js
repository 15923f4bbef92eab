// What every page needs: dialogs that ask before something is done, and a word on whether the page is live.
(() => {
  "use strict";
  const live = document.getElementById("live");
  const say = (on) => {
    live.hidden = false;
    live.classList.toggle("off", !on);
    live.textContent = on ? "Live" : "Reconnecting…";
  };
  window.footplate = { say };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens).showModal();
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
  });
  document.addEventListener("htmx:sse:after:connection", () => say(true));
  document.addEventListener("htmx:sse:error", () => say(false));
})();
