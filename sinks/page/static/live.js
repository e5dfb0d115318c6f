// The stream of figures: opened for a question, opened again when it breaks, closed while nobody looks at the page.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;
const HIDDEN_MS = 30000; // so long a page may be in the background before its stream is closed
const GRACE_MS = 8000; // how late figures may be
const SILENT_MS = 25000; // the server gives a sign of life every 15 s, or more often

/**
 * `on.figures(data)`, `on.health(data)`, `on.tick(data)` for what comes, and `on.state(state, problem)`:
 * "connecting", "live", "stale" (what is shown is no longer the latest; `problem` says why) or "refused" (the
 * question itself is wrong). Returns `open(parameters)`.
 */
export function live(on) {
  let source = null;
  let address = "";
  let pause = FIRST_PAUSE;
  let retry = 0;
  let late = 0;
  let silent = 0;
  let hidden = 0;
  let everLive = false;

  const state = (name, problem = "") => on.state(name, problem);

  function close() {
    clearTimeout(retry);
    clearTimeout(late);
    clearTimeout(silent);
    source?.close();
    source = null;
  }

  function expect(seconds) {
    clearTimeout(late);
    late = setTimeout(() => state("stale", "The figures are late: ClickHouse takes long to answer."), seconds * 1000 + GRACE_MS);
  }

  function listenOn() {
    clearTimeout(silent);
    silent = setTimeout(() => {
      state("stale", "The server of this page has gone silent.");
      again();
    }, SILENT_MS);
  }

  function again() {
    close();
    retry = setTimeout(connect, pause * (0.7 + 0.6 * Math.random())); // not all browsers at the same moment
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }

  async function why() {
    // An event source does not tell what the server said, so ask once more where it said no.
    try {
      const answer = await fetch(address.replace("/live?", "/figures?"), { signal: AbortSignal.timeout(5000) });
      if (answer.status === 400) return { refused: (await answer.json()).error };
      if (!answer.ok) return { problem: (await answer.json()).error };
    } catch {
      return { problem: "" };
    }
    return { problem: "" };
  }

  function connect() {
    close();
    if (!everLive) state("connecting");
    const mine = (source = new EventSource(address));
    expect(2);
    listenOn();
    const listen = (name, handle) =>
      mine.addEventListener(name, ({ data }) => {
        if (source !== mine) return;
        pause = FIRST_PAUSE;
        listenOn();
        handle(JSON.parse(data));
      });
    listen("figures", on.figures);
    listen("health", on.health);
    listen("tick", (tick) => {
      expect(tick.next);
      if (!tick.problem) everLive = true;
      on.tick(tick);
      state(tick.problem ? "stale" : "live", tick.problem);
    });
    mine.addEventListener("error", async () => {
      if (source !== mine) return;
      const closed = mine.readyState === EventSource.CLOSED;
      close();
      if (closed) {
        const { refused, problem } = await why();
        if (source !== null) return;
        if (refused) {
          state("refused", refused);
          return;
        }
        state("stale", problem || "The server of this page does not answer.");
      } else {
        state("stale", "The connection to the server of this page broke off.");
      }
      again();
    });
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(close, HIDDEN_MS);
    } else if (source === null && address) {
      pause = FIRST_PAUSE;
      connect();
    }
  });
  addEventListener("online", () => address && source === null && connect());
  addEventListener("pagehide", close);
  addEventListener("pageshow", ({ persisted }) => persisted && address && connect());

  return function open(parameters) {
    address = `/live?${parameters}`;
    pause = FIRST_PAUSE;
    everLive = false;
    connect();
  };
}
