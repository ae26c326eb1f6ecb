// Keeps the page fresh: fetches it again now and then, and puts its main part in place of ours. Without it the page is reloaded by hand.
const SECONDS = 10;

async function refresh() {
  if (document.hidden) return;
  const main = document.querySelector("main[data-refresh]");
  if (!main || main.contains(document.activeElement)) return;
  const note = document.querySelector("#fresh");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("main[data-refresh]");
    if (!next) return location.reload();
    main.replaceWith(document.adoptNode(next));
    note.textContent = page.querySelector("#fresh").textContent;
  } catch {
    note.textContent = "no answer from the service; shown is an earlier state";
  }
}

setInterval(refresh, SECONDS * 1000);
