"""The same conversations as over stdio, with the Python SDK over HTTP: streamable in both eras, and the 2024-11-05 transport."""

import contextlib
import os
import subprocess
import sys
import tempfile

import anyio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from interop_mcp import conversation, data, listing, refused

KEY = "a-key-that-nobody-guesses"


@contextlib.contextmanager
def served(*flags):
    """The program on a sandbox of its own; its address."""
    command = [sys.argv[1], "--sandbox", "--http", "127.0.0.1:0", *flags, "serve"]
    environment = {"PATH": os.environ["PATH"], "PROXMOX_MCP_API_KEY": KEY}
    with subprocess.Popen(command, cwd=tempfile.mkdtemp(), env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            assert "http://" in line, line
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            process.terminate()
            assert process.wait(20) == 0, "it did not end well"


def streamable(url):
    return streamable_http_client(url, http_client=create_mcp_http_client(headers=headers()))


def headers():
    return {"Authorization": f"Bearer {KEY}"}


async def without_sessions(url, mode):
    """What a server that keeps nothing can still do for clients of either era."""
    async with Client(streamable(url), mode=mode, read_timeout_seconds=60) as client:
        await listing(client)
        steps = []

        async def progress(done, total, message):
            steps.append(done)

        started = await client.call_tool("proxmox-start-vm", {"vmid": 107, "wait": True}, progress_callback=progress)
        assert started.structured_content["exitstatus"] == "OK" and steps, (started, steps)
        planned = await data(client, "proxmox-stop-vm", vmid=107, dry_run=True)
        assert planned["state"] == "planned", planned
        await refused(client, "proxmox-vm-info", "999999", vmid=999999)
        await data(client, "proxmox-stop-vm", vmid=107, confirm=True, wait=True)
        print(f"mcp: without sessions, {mode} ({client.protocol_version}): tools, progress, plan, error")


for mode in ("legacy", "auto", "2026-07-28"):
    for path in ("/mcp", "/proxmox/mcp"):
        with served() as url:
            anyio.run(conversation, streamable(url + path), mode, path)
    with served("--stateless") as url:
        anyio.run(without_sessions, url + "/mcp", mode)
for path in ("/sse", "/proxmox/mcp"):
    with served() as url:
        anyio.run(conversation, sse_client(url + path, headers=headers()), "legacy", f"SSE at {path}")
