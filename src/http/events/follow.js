// Follows the pool's events in a browser: follow("events", { Allocated: (event) => … , "stream.reset": … }).
//
// EventSource reconnects by itself after a broken connection, with the id of the last frame. After any answer
// but 200, such as a proxy's 502 while the service restarts, it gives up for good, and a connection that broke
// without a word it takes for a quiet one. This opens it again then, behind the last frame that it saw, after a
// pause that grows and differs from client to client.

const OWN = ["stream.opened", "stream.reset", "stream.bookmark", "stream.closing"];
// The service says something each 15 seconds.
const LONGEST_SILENCE_MS = 40_000;

// A handler named "lost" is called whenever the connection is.

export function follow(url, { lost, ...handlers }) {
  let source, timer, silence, lastId, failures = 0;
  const names = new Set([...OWN, ...Object.keys(handlers)]);
  const again = () => {
    source.close();
    clearTimeout(silence);
    const longest = Math.min(30_000, 1_000 * 2 ** failures++);
    timer = setTimeout(open, longest * (0.5 + Math.random() / 2));
  };
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => { lost?.(); again(); }, LONGEST_SILENCE_MS);
  };
  const open = () => {
    const address = new URL(url, globalThis.location?.href);
    if (lastId) address.searchParams.set("after", lastId);
    source = new EventSource(address);
    listen();
    for (const name of names) {
      source.addEventListener(name, (message) => {
        lastId = message.lastEventId || lastId;
        failures = 0;
        listen();
        handlers[name]?.(JSON.parse(message.data), message);
      });
    }
    source.addEventListener("error", (event) => {
      lost?.();
      if (event.target.readyState === EventSource.CLOSED && event.target === source) again();
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    clearTimeout(silence);
    source.close();
  };
}
