// MCP over HTTP with the TypeScript SDKs: the old one, which n8n embeds, over SSE and streamable HTTP at the address that n8n
// workflows have, and the new one in both eras. Wants the directory of their packages, and the program.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [packages, program] = process.argv.slice(2);
const require = createRequire(join(resolve(packages), "any.js"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const old = {
    ...(await load("@modelcontextprotocol/sdk/client/index.js")),
    ...(await load("@modelcontextprotocol/sdk/client/sse.js")),
    ...(await load("@modelcontextprotocol/sdk/client/streamableHttp.js")),
};
const current = await load("@modelcontextprotocol/client");

const KEY = "a-key-that-nobody-guesses";
const WITH_KEY = { requestInit: { headers: { Authorization: `Bearer ${KEY}` } } };

/** Runs `talk` with the address of the program on a sandbox of its own, and sees it end well. */
async function served(flags, talk) {
    const child = spawn(program, ["--sandbox", "--http", "127.0.0.1:0", ...flags, "serve"], {
        cwd: mkdtempSync(join(tmpdir(), "interop-")),
        env: { PATH: process.env.PATH, PROXMOX_MCP_API_KEY: KEY },
        stdio: ["ignore", "ignore", "pipe"],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const lines = createInterface(child.stderr);
    const url = await new Promise((resolve, reject) => {
        lines.on("line", (line) => line.includes("http://") && resolve(line.match(/http:\/\/[^ ]+/)[0]));
        ended.then((code) => reject(new Error(`it ended with ${code}`)));
    });
    try {
        await talk(url);
    } finally {
        child.kill("SIGTERM");
        assert.equal(await ended, 0, "it did not end well");
    }
}

/** The structured result of a call that succeeds. */
async function data(call, name, args) {
    const result = await call({ name, arguments: args });
    assert.ok(!result.isError, `${name}: ${result.content[0].text}`);
    return result.structuredContent;
}

/** Lists, reads, plans, waits with progress, and is refused. */
async function converse(how, client, transport, withOptions) {
    await client.connect(transport);
    if (client.getProtocolEra) {
        const legacy = how.includes("legacy") || how.includes("SSE");
        assert.equal(client.getProtocolEra(), legacy ? "legacy" : "modern", how);
    }
    const call = (params, options) => withOptions(client, params, options);
    const { tools } = await client.listTools();
    assert.ok(tools.length > 50, `${how}: ${tools.length} tools`);
    assert.equal((await data(call, "proxmox-list-nodes", {})).nodes.length, 3);
    const clone = { source_vmid: 107, full: true, name: "interop" };
    const planned = await data(call, "proxmox-clone-vm", { ...clone, dry_run: true });
    assert.equal(planned.state, "planned");
    const steps = [];
    const result = await call(
        { name: "proxmox-clone-vm", arguments: { ...clone, confirm: true, wait: true } },
        { onprogress: (step) => steps.push(step.progress) },
    );
    assert.equal(result.structuredContent?.exitstatus, "OK", JSON.stringify(result));
    assert.ok(steps.length > 1 && steps.every((step, n) => n === 0 || step > steps[n - 1]), `${how}: ${steps}`);
    const { vmid } = result.structuredContent.about;
    assert.equal((await data(call, "proxmox-delete-vm", { vmid, confirm: true, wait: true })).state, "done");
    const refused = await call({ name: "proxmox-vm-info", arguments: { vmid: 999999 } });
    assert.ok(refused.isError && refused.content[0].text.includes("999999"), JSON.stringify(refused));
    const { resources } = await client.listResources();
    assert.ok(resources.some((resource) => resource.uri === "proxmox://default/nodes"));
    await client.close();
    console.log(`mcp: ${how}: tools, a read, a plan, a wait with progress, an error, resources`);
}

const about = { name: "interop", version: "1" };
const asOld = (client, params, options) => client.callTool(params, undefined, options);
const asCurrent = (client, params, options) => client.callTool(params, options);
const at = (url, path) => new URL(path, url);

await served([], async (url) => {
    for (const path of ["/proxmox/mcp", "/mcp", "/sse"]) {
        const sse = new old.SSEClientTransport(at(url, path), WITH_KEY);
        await converse(`SDK 1.26, SSE at ${path}`, new old.Client(about), sse, asOld);
    }
    for (const path of ["/proxmox/mcp", "/mcp"]) {
        const http = new old.StreamableHTTPClientTransport(at(url, path), WITH_KEY);
        await converse(`SDK 1.26, streamable HTTP at ${path}`, new old.Client(about), http, asOld);
        for (const mode of ["legacy", "auto", { pin: "2026-07-28" }]) {
            const client = new current.Client(about, { versionNegotiation: { mode } });
            const transport = new current.StreamableHTTPClientTransport(at(url, path), WITH_KEY);
            await converse(`client 2.4, ${mode.pin ?? mode} at ${path}`, client, transport, asCurrent);
        }
    }
    const sse = new current.SSEClientTransport(at(url, "/sse"), WITH_KEY);
    await converse("client 2.4, SSE", new current.Client(about), sse, asCurrent);
});
await served(["--stateless"], async (url) => {
    const http = new old.StreamableHTTPClientTransport(at(url, "/mcp"), WITH_KEY);
    await converse("SDK 1.26, without sessions", new old.Client(about), http, asOld);
    for (const mode of ["legacy", "auto"]) {
        const client = new current.Client(about, { versionNegotiation: { mode } });
        const transport = new current.StreamableHTTPClientTransport(at(url, "/mcp"), WITH_KEY);
        await converse(`client 2.4, ${mode} without sessions`, client, transport, asCurrent);
    }
});
