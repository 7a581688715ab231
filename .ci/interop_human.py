"""A person in the loop, and three tools in front of all: the Python SDK over stdio, both protocol eras; and a terminal."""

import json
import os
import pty
import subprocess
import sys
import tempfile

import anyio
from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult

ERAS = ("legacy", "2026-07-28")
DELETE = {"vmid": 107, "wait": True}


def server(program, *flags):
    # An empty directory: no .env of anybody's.
    return StdioServerParameters(command=program, args=["--sandbox", *flags], cwd=tempfile.mkdtemp())


async def names(client):
    vms = await client.call_tool("proxmox-list-vms", {"limit": 100})
    return [vm["name"] for vm in vms.structured_content["vms"]]


class Person:
    """What somebody at the client says, and what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, context, params):
        self.asked.append(params.message)
        answer = self.answers.pop(0)
        if answer is None:
            await anyio.sleep_forever()
        return answer


def accepts(yes):
    return ElicitResult(action="accept", content={"confirm": yes})


async def asking(program, mode):
    person = Person(ElicitResult(action="decline"), ElicitResult(action="cancel"), accepts(False), None, accepts(True))
    human = server(program, "--confirm", "human")
    async with Client(human, mode=mode, read_timeout_seconds=60, elicitation_callback=person) as client:
        for words in ("said no", "dismissed", "said no"):
            refused = await client.call_tool("proxmox-delete-vm", DELETE)
            assert refused.is_error and words in refused.content[0].text, refused
            assert "nothing was sent" in refused.content[0].text, refused
        # Nobody answers, and the call is given up.
        with anyio.move_on_after(1) as given_up:
            await client.call_tool("proxmox-delete-vm", DELETE)
        assert given_up.cancelled_caught
        assert "scratch-01" in await names(client), "deleted without a yes"
        done = await client.call_tool("proxmox-delete-vm", DELETE)
        assert not done.is_error and done.structured_content["state"] == "done", done
        assert "scratch-01" not in await names(client)
        assert len(person.asked) == 5 and "DELETE /nodes/pve2/qemu/107" in person.asked[-1], person.asked
        shown = await client.call_tool("proxmox-delete-vm", {"vmid": 100, "dry_run": True})
        assert shown.structured_content["state"] == "planned" and len(person.asked) == 5, shown
    async with Client(human, mode=mode, read_timeout_seconds=60) as client:
        refused = await client.call_tool("proxmox-delete-vm", DELETE)
        assert refused.is_error and "has not declared elicitation" in refused.content[0].text, refused
        assert "scratch-01" in await names(client)
    print(f"human: {mode}: declined, dismissed, no, no answer, yes, nobody to ask")


async def through_the_router(program, mode):
    person = Person(accepts(True))
    router = server(program, "--face", "router", "--confirm", "human")
    async with Client(router, mode=mode, read_timeout_seconds=60, elicitation_callback=person) as client:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == ["proxmox-find-tools", "proxmox-read", "proxmox-write"], listed
        assert listed[1].annotations.read_only_hint and listed[2].annotations.destructive_hint
        cost = sum(len(json.dumps([tool.name, tool.description, tool.input_schema])) for tool in listed)
        assert cost / 4 < 1000, cost

        async def find(query):
            found = await client.call_tool("proxmox-find-tools", {"query": query})
            return found.structured_content["tools"]

        async def call(tool, name, **arguments):
            result = await client.call_tool(tool, {"name": name, "arguments": arguments})
            assert not result.is_error, result
            return result.structured_content

        lists = await find("which virtual machines are there")
        assert lists[0]["name"] == "proxmox-list-vms" and lists[0]["effect"] == "read", lists
        vms = (await call("proxmox-read", lists[0]["name"], limit=100))["vms"]
        assert any(vm["vmid"] == 107 for vm in vms), vms
        starts = await find("start a vm")
        assert "vmid" in starts[0]["inputSchema"]["properties"], starts
        started = await call("proxmox-write", starts[0]["name"], vmid=107, wait=True)
        assert started["exitstatus"] == "OK", started
        await call("proxmox-write", "proxmox-stop-vm", vmid=107, wait=True)
        assert not person.asked, person.asked
        deletes = next(tool for tool in await find("delete vm") if tool["name"] == "proxmox-delete-vm")
        assert deletes["effect"] == "destroy", deletes
        assert (await call("proxmox-write", deletes["name"], **DELETE))["state"] == "done"
        assert len(person.asked) == 1, person.asked
        wrong = await client.call_tool("proxmox-read", {"name": "proxmox-start-vm", "arguments": {"vmid": 100}})
        assert wrong.is_error and "proxmox-write" in wrong.content[0].text, wrong
        assert not await find("xylophone")
    print(f"router: {mode}: find, read, write, ask, refuse")


def at_a_terminal(program):
    """`call` asks on the terminal, and does nothing without a yes."""

    def call(answer):
        ours, theirs = pty.openpty()
        command = [program, "--sandbox", "--confirm", "human", "call", "proxmox-delete-vm", "vmid=107", "wait=true"]
        child = subprocess.Popen(
            command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=tempfile.mkdtemp(), close_fds=True
        )
        os.close(theirs)
        os.write(ours, answer)
        out, _ = child.communicate(timeout=60)
        said = os.read(ours, 65536).decode()
        os.close(ours)
        return child.returncode, json.loads(out), said

    code, out, said = call(b"y\n")
    assert code == 0 and out["state"] == "done", (code, out, said)
    assert "Delete VM 107 (scratch-01)" in said and "[y/N]" in said, said
    code, out, _ = call(b"\n")
    assert code == 1 and out["error"]["kind"] == "denied", (code, out)
    command = [program, "--sandbox", "--confirm", "human", "call", "proxmox-delete-vm", "vmid=107"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=tempfile.mkdtemp(), timeout=60)
    assert ran.returncode == 1 and b"stdin is no terminal" in ran.stderr, ran
    print("terminal: yes, no, nobody there")


for era in ERAS:
    anyio.run(asking, sys.argv[1], era)
    anyio.run(through_the_router, sys.argv[1], era)
at_a_terminal(sys.argv[1])
