// Drives a running service in the calls that cmux makes, by a client whose types are generated from its own API
// document. Whatever is not as the document says is a type error or ends this with exit code 1.

import assert from "node:assert/strict";
import process from "node:process";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const url = process.env["PVE_POOL_URL"];
assert.ok(url, "PVE_POOL_URL names the service");
const pool = createClient<paths>({ baseUrl: url });
const template = 9009;

type Allocated = components["schemas"]["Allocated"];
type Code = components["schemas"]["Code"];

// As cmux does: it starts the container and names the instance.
async function allocate(instanceId: string): Promise<Allocated> {
  const { data, error } = await pool.POST("/allocate", {
    params: { query: { start: true } },
    body: { template_vmid: template, instance_id: instanceId, metadata: { teamId: "t", userId: "u" } },
    signal: AbortSignal.timeout(120_000),
  });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  assert.ok("vmid" in data, "a container, not a dry run");
  return data;
}

async function status() {
  const { data } = await pool.GET("/status");
  assert.ok(data, "a status");
  return data;
}

const box = await allocate("pvelxc-typescript");
assert.equal(box.instance_id, "pvelxc-typescript");
assert.equal(box.hostname, "pvelxc-typescript");
assert.equal(box.template_vmid, template);
assert.equal((await allocate("pvelxc-typescript")).vmid, box.vmid, "asked again, it is the same container");

const rows = (await status()).templates[String(template)]?.containers ?? [];
assert.equal(rows.find((row) => row.vmid === box.vmid)?.allocated_to, box.instance_id);

const warmed = await pool.POST("/warm/{template_vmid}", {
  params: { path: { template_vmid: template }, query: { count: 2 } },
});
assert.ok(warmed.data && "status" in warmed.data && warmed.data.status === "warming");

const told = await pool.GET("/explain", { params: { query: { instance: box.instance_id } } });
assert.equal(told.data?.chapters.at(-1)?.outcome, "held");

const held = await pool.POST("/release/{vmid}", {
  params: { path: { vmid: box.vmid }, query: { instance_id: "somebody-else" } },
});
const code: Code | undefined = held.error?.code;
assert.equal(code, "held_by_another");
assert.equal(held.response.status, 409);

const released = await pool.POST("/release/{vmid}", { params: { path: { vmid: box.vmid } } });
assert.ok(released.data && "vmid" in released.data && released.data.status === "released");

const other = await allocate("pvelxc-other");
const removed = await pool.DELETE("/containers/{vmid}", { params: { path: { vmid: other.vmid } } });
assert.ok(removed.data && "vmid" in removed.data && removed.data.status === "removed");
const gone = await pool.GET("/containers/{vmid}", { params: { path: { vmid: other.vmid } } });
assert.equal(gone.error?.code, "container_not_found");

const health = await pool.GET("/health");
assert.equal(health.data?.status, "healthy");
process.stdout.write(`allocated, warmed, explained, released and removed by ${(await status()).service.version}\n`);
