// Follows the pool's events in a browser: follow("events", { Allocated: (event) => … , "stream.reset": … }).
//
// EventSource reconnects by itself after a broken connection, with the id of the last frame. After any answer
// but 200, such as a proxy's 502 while the service restarts, it gives up for good. This opens it again then,
// behind the last frame that it saw, after a pause that grows and differs from client to client.

const OWN = ["stream.opened", "stream.reset", "stream.bookmark", "stream.closing"];

// A handler named "lost" is called whenever the connection is.

export function follow(url, { lost, ...handlers }) {
  let source, timer, lastId, failures = 0;
  const names = new Set([...OWN, ...Object.keys(handlers)]);
  const open = () => {
    const address = new URL(url, globalThis.location?.href);
    if (lastId) address.searchParams.set("after", lastId);
    source = new EventSource(address);
    for (const name of names) {
      source.addEventListener(name, (message) => {
        lastId = message.lastEventId || lastId;
        failures = 0;
        handlers[name]?.(JSON.parse(message.data), message);
      });
    }
    source.addEventListener("error", () => {
      lost?.();
      if (source.readyState !== EventSource.CLOSED) return;
      const longest = Math.min(30_000, 1_000 * 2 ** failures++);
      timer = setTimeout(open, longest * (0.5 + Math.random() / 2));
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
