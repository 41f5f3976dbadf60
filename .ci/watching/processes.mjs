// What runs: the simulated PVE, the service, Caddy and nginx. Each can be ended and started again.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const TOKEN = "watching";
/** One that may only read. */
export const READ_TOKEN = "looking";

/** Ports that nobody listens on. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}

/** Waits until `wanted` holds; what it waits for must come within a minute. */
export async function until(what, wanted) {
  const end = Date.now() + 60_000;
  for (;;) {
    const got = await Promise.resolve().then(wanted).catch(() => undefined);
    if (got) return got;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(50);
  }
}

/** A process that can be started again. */
export class Process {
  constructor(command, args, { env = {}, up }) {
    Object.assign(this, { command, args, env, up });
  }

  async start() {
    this.child = spawn(this.command, this.args, {
      env: { PATH: process.env.PATH, ...this.env }, stdio: ["ignore", "ignore", "inherit"],
    });
    this.ended = once(this.child, "exit");
    await until(`${this.command} ${this.args[0] ?? ""}`, this.up);
  }

  async end(signal) {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    // A proxy waits for its streams to end: it is killed after five seconds, as its unit says.
    const killed = setTimeout(() => this.child.kill("SIGKILL"), 5_000);
    await this.ended;
    clearTimeout(killed);
  }

  async restart(signal) {
    await this.end(signal);
    await this.start();
  }
}

/** The log as it lies on the disk. */
export function logOf(data) {
  const lines = readdirSync(data).filter((name) => /^log-.*\.jsonl$/.test(name)).sort()
    .flatMap((name) => readFileSync(join(data, name), "utf8").split("\n")).filter(Boolean).map((line) => JSON.parse(line));
  return lines.filter((it) => it.seq !== undefined);
}

/** Chromium that shows nothing, and asks nobody for anything but the pages it is sent to. */
export function launch(playwright, ...more) {
  return playwright.chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...more],
  });
}

const answers = (url) => async () => (await fetch(url, { redirect: "manual" })).status < 500;

export function simulatedPve(program, port, hurry = 5) {
  return new Process(program, ["sim", "--listen", `127.0.0.1:${port}`, "--hurry", `${hurry}`], {
    up: answers(`http://127.0.0.1:${port}/api2/json/version`),
  });
}

export function service(program, port, pvePort, dataDir, webhookUrl, webhookSecret) {
  const env = {
    PVE_API_URL: `http://127.0.0.1:${pvePort}`,
    PVE_API_TOKEN: "sandbox@pve!pool=5a1b0c3d-0000-4000-8000-00000000demo",
    POOL_LISTEN: `127.0.0.1:${port}`,
    POOL_DATA_DIR: dataDir,
    POOL_TEMPLATES: "9009,9010",
    POOL_API_TOKEN: TOKEN,
    POOL_READ_TOKEN: READ_TOKEN,
    POOL_LOG_LEVEL: "error",
    WEBHOOK_URL: webhookUrl,
    WEBHOOK_SECRET: webhookSecret,
    WEBHOOK_ALLOW_CIDRS: "127.0.0.0/8",
  };
  return new Process(program, ["serve"], { env, up: answers(`http://127.0.0.1:${port}/health`) });
}

/** The machines that the repository's own configurations let in, to be replaced. */
const ALLOWED = "192.0.2.0/24";
const ANYBODY_HERE = "127.0.0.0/8";

/** Caddy with the repository's own configuration, on another port and without what needs a PVE host. */
export function caddy(work, port, servicePort, allowed = ANYBODY_HERE) {
  const config = readFileSync("deploy/Caddyfile", "utf8")
    .replace("pve.example.com {", `http://127.0.0.1:${port} {`)
    .replace("reverse_proxy 127.0.0.1:8007", `reverse_proxy 127.0.0.1:${servicePort}`)
    .replace(ALLOWED, allowed)
    .replace(/\n\t# The PVE API, as before\.[^]*$/, "}\n");
  mkdirSync(work, { recursive: true });
  writeFileSync(`${work}/Caddyfile`, `{\n\tadmin off\n\tlog {\n\t\toutput discard\n\t}\n}\n${config}`);
  const args = ["run", "--config", `${work}/Caddyfile`, "--adapter", "caddyfile"];
  return new Process("caddy", args, {
    env: { POOL_API_TOKEN: TOKEN, HOME: work, XDG_DATA_HOME: work },
    up: answers(`http://127.0.0.1:${port}/pool/health`),
  });
}

/** nginx with the repository's own configuration, and gzip for everything. */
export function nginx(work, port, servicePort, allowed = ANYBODY_HERE) {
  const location = readFileSync("deploy/nginx.conf", "utf8")
    .replaceAll("127.0.0.1:8007", `127.0.0.1:${servicePort}`)
    .replace(ALLOWED, allowed)
    .replace("Bearer TOKEN", `Bearer ${TOKEN}`);
  const config = `daemon off; worker_processes 1; pid ${work}/nginx.pid; error_log ${work}/nginx.log crit;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path ${work}/body; proxy_temp_path ${work}/proxy;
  fastcgi_temp_path ${work}/f; uwsgi_temp_path ${work}/u; scgi_temp_path ${work}/s;
  gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;
  server { listen 127.0.0.1:${port};
${location}
  }
}
`;
  mkdirSync(work, { recursive: true });
  writeFileSync(`${work}/nginx.conf`, config);
  return new Process("nginx", ["-e", `${work}/nginx.log`, "-c", `${work}/nginx.conf`], {
    up: answers(`http://127.0.0.1:${port}/pool/health`),
  });
}
