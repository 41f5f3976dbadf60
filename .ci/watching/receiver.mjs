// A webhook receiver that fails a third of the time: five seconds of fifteen it refuses whatever comes to it
// for the first time, in one way or another.

import { createServer } from "node:http";

const REFUSALS = [503, 500, 404, 401];

export function receiver(port, secret, Webhook) {
  const webhook = new Webhook(secret);
  const got = { accepted: [], refused: 0, forged: 0 };
  const tried = new Set(), began = Date.now();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request.setEncoding("utf8")) body += piece;
    const id = request.headers["webhook-id"];
    try {
      webhook.verify(body, request.headers);
    } catch {
      got.forged += 1;
      response.writeHead(400).end();
      return;
    }
    const fails = (Date.now() - began) % 15_000 < 5_000 && !tried.has(id);
    tried.add(id);
    if (fails) {
      response.writeHead(REFUSALS[got.refused % REFUSALS.length]).end();
      got.refused += 1;
      return;
    }
    got.accepted.push({ id, event: JSON.parse(body) });
    response.writeHead(204).end();
  }).listen(port, "127.0.0.1");
  return { got, stop: () => server.close() };
}
