"""A real MCP client, the Python SDK, over stdio against the program on its sandbox: both protocol eras."""

import json
import sys
import tempfile
import time
import warnings

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import PromptReference, ResourceTemplateReference, ResourceUpdatedNotification

# Some of each sort; that the catalogue is complete is for the program's own tests.
TOOLS = set(
    """proxmox-list-nodes proxmox-list-vms proxmox-list-lxc proxmox-list-storage proxmox-wait-task proxmox-start-vm
    proxmox-clone-vm proxmox-create-vm proxmox-configure-vm proxmox-create-lxc proxmox-cloudinit-set proxmox-vm-nic-add
    proxmox-vm-firewall-set proxmox-upload-iso proxmox-create-snapshot proxmox-backup-vm proxmox-restore-vm
    proxmox-vm-metrics proxmox-pool-add proxmox-assign-permission proxmox-guest-exec proxmox-register-vm-as-host""".split()
)


async def data(client, tool, **arguments):
    """The structured result of a call that succeeds. The SDK holds it to the tool's output schema."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, f"{tool} {arguments}: {result.content[0].text}"
    assert result.content[0].text.strip(), f"{tool}: no text"
    return result.structured_content


async def refused(client, tool, *words, **arguments):
    """The text of a call that must fail as a tool error, naming what is wrong."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    assert result.is_error, f"{tool} {arguments}: no error but {text}"
    for word in words:
        assert word in text, f"{tool} {arguments}: {word!r} is not in {text!r}"


async def listing(client):
    listed = (await client.list_tools()).tools
    assert TOOLS <= {tool.name for tool in listed}, TOOLS - {tool.name for tool in listed}
    for tool in listed:
        assert tool.title and tool.description and tool.output_schema, tool.name
        assert tool.annotations.read_only_hint is not None, tool.name
        assert tool.annotations.destructive_hint is not None, tool.name
    by_name = {tool.name: tool for tool in listed}
    assert by_name["proxmox-list-vms"].annotations.read_only_hint
    assert by_name["proxmox-delete-vm"].annotations.destructive_hint
    nodes = await data(client, "proxmox-list-nodes")
    assert len(nodes["nodes"]) == 3, nodes


async def provisioning(client, name):
    templates = (await data(client, "proxmox-list-vms", template=True))["vms"]
    clone = {"source_vmid": templates[0]["vmid"], "name": name}
    before = await data(client, "proxmox-list-vms", limit=1)

    planned = await data(client, "proxmox-clone-vm", **clone, dry_run=True)
    assert planned["state"] == "planned", planned
    assert planned["requests"][0]["method"] == "POST", planned
    asked = await data(client, "proxmox-clone-vm", **clone, wait=True)
    assert asked["state"] == "needs_confirmation", asked
    after = await data(client, "proxmox-list-vms", limit=1)
    assert before["total"] == after["total"], "a plan changed something"

    steps = []

    async def progress(done, total, message):
        steps.append((done, total, message))

    result = await client.call_tool(
        "proxmox-clone-vm", clone | {"confirm": True, "wait": True}, progress_callback=progress
    )
    cloned = result.structured_content
    assert cloned["state"] == "done" and cloned["exitstatus"] == "OK", cloned
    assert len(steps) >= 2, f"no progress: {steps}"
    assert steps == sorted(steps, key=lambda step: step[0]), f"progress goes back: {steps}"
    vmid = cloned["about"]["vmid"]

    started = await data(client, "proxmox-start-vm", name=name, wait=True)
    assert started["state"] == "done", started
    assert (await data(client, "proxmox-vm-info", vmid=vmid))["status"] == "running"
    status = await data(client, "proxmox-task-status", upid=started["upid"])
    assert status["exitstatus"] == "OK", status
    return vmid


async def errors(client, vmid):
    try:
        await client.call_tool("proxmox-no-such-tool", {})
        raise AssertionError("an unknown tool was called")
    except MCPError as error:
        assert error.code == -32602, error
    await refused(client, "proxmox-vm-info", "999999", vmid=999999)
    await refused(client, "proxmox-vm-info", "vmid", vmid="web")
    await refused(client, "proxmox-vm-info", "vmid", vmid=-1)
    await refused(client, "proxmox-vm-info", "colour", vmid=vmid, colour="red")
    await refused(client, "proxmox-vm-info", "name", name="")
    await refused(client, "proxmox-vm-info")
    await refused(client, "proxmox-task-status", "UPID", upid="nonsense")
    await refused(client, "proxmox-start-vm", "already running", vmid=vmid, wait=True)


async def cancelling(client, vmid):
    """Cancelling ends the waiting at once, and not the task."""
    stop = await data(client, "proxmox-stop-vm", vmid=vmid, wait=True)
    assert stop["state"] == "done", stop
    began = time.monotonic()
    with anyio.move_on_after(0.5) as scope:
        await client.call_tool(
            "proxmox-clone-vm", {"source_vmid": vmid, "name": "cancelled", "confirm": True, "wait": True}
        )
    assert scope.cancelled_caught, "the clone was over too soon to be cancelled"
    assert len((await data(client, "proxmox-list-nodes"))["nodes"]) == 3
    assert time.monotonic() - began < 2, "the server was held up"
    tasks = (await data(client, "proxmox-list-tasks", limit=5))["tasks"]
    clone = next(task for task in tasks if task["type"] == "qmclone")
    waited = await data(client, "proxmox-wait-task", upid=clone["upid"])
    assert waited["exitstatus"] == "OK", waited


async def done(client, tool, **arguments):
    """A change that is confirmed, waited for, and ends well."""
    outcome = await data(client, tool, **arguments)
    assert outcome["state"] == "done", f"{tool}: {outcome}"
    return outcome


async def life_of_a_vm(client):
    """From nothing to a machine with a network card, snapshot, backup and twin, and back."""
    sure = {"confirm": True, "wait": True}
    vm = {"name": "interop-life"}
    made = await done(client, "proxmox-create-vm", node="pve1", storage="local-lvm", cores=1, disk_gb=4, **vm, **sure)
    vmid = made["about"]["vmid"]
    planned = await data(client, "proxmox-configure-vm", **vm, params={"cores": 4, "net0": {"tag": 7}}, dry_run=True)
    changes = {change["key"]: change for change in planned["changes"]}
    assert changes["cores"]["new"] == "4" and "tag=7" in changes["net0"]["new"], planned
    mac = changes["net0"]["old"].split("=")[1].split(",")[0]
    assert mac in changes["net0"]["new"], "the MAC address was lost"
    await done(client, "proxmox-configure-vm", **vm, params={"cores": 4, "net0": {"tag": 7}}, **sure)
    config = (await data(client, "proxmox-vm-info", **vm))["config"]
    assert str(config["cores"]) == "4" and mac in config["net0"] and "tag=7" in config["net0"], config
    await done(client, "proxmox-vm-nic-add", **vm, bridge="vmbr0", confirm=True)
    await done(client, "proxmox-resize-vm-disk", **vm, disk="scsi0", grow_gb=2, confirm=True)
    await refused(client, "proxmox-resize-vm-disk", **vm, disk="scsi0", size="1G", confirm=True)
    await done(client, "proxmox-create-snapshot", **vm, snapname="before", **sure)
    await done(client, "proxmox-vm-notes-update", **vm, content="made to be measured", confirm=True)
    await done(client, "proxmox-configure-vm", **vm, params={"cores": 8}, confirm=True)
    await done(client, "proxmox-rollback-snapshot", **vm, snapname="before", confirm=True)
    config = (await data(client, "proxmox-vm-info", **vm))["config"]
    # A rollback keeps the notes.
    assert str(config["cores"]) == "4" and config["description"].startswith("made to be measured"), config
    await done(client, "proxmox-backup-vm", **vm, storage="nas", confirm=True)
    twin = await done(client, "proxmox-restore-vm", archive="latest", source_vmid=vmid, node="pve1", confirm=True)
    await done(client, "proxmox-delete-vm", vmid=twin["about"]["vmid"], **sure)
    await done(client, "proxmox-delete-snapshot", **vm, snapname="before", **sure)
    await done(client, "proxmox-delete-vm", vmid=vmid, **sure)


async def inside_and_around(client):
    """A command in a guest, an Ansible host, figures, firewall, permissions."""
    ran = await done(client, "proxmox-guest-exec", name="web-01", command="echo", args=["hello"])
    assert ran["result"]["exit_code"] == 0 and ran["result"]["stdout"].strip() == "hello", ran
    host = await data(client, "proxmox-register-vm-as-host", name="web-01")
    assert "ansible_host=" in str(host), host
    assert (await data(client, "proxmox-vm-metrics", name="web-01"))["series"]
    await done(client, "proxmox-vm-firewall-set", name="web-01", enable=True, confirm=True,
               rules=[{"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "22"}])
    firewall = await data(client, "proxmox-vm-firewall-get", name="web-01")
    assert any(str(rule.get("dport")) == "22" for rule in firewall["rules"]), firewall
    await done(client, "proxmox-create-pool", poolid="interop", confirm=True)
    await done(client, "proxmox-pool-add", poolid="interop", name="web-01", confirm=True, allow_move=True)
    await done(client, "proxmox-assign-permission", path="/pool/interop", roles=["PVEVMUser"], users=["auditor@pve"], confirm=True)
    await refused(client, "proxmox-assign-permission", "NoSuchRole", path="/", roles=["NoSuchRole"], users=["auditor@pve"], confirm=True)
    assert (await data(client, "proxmox-list-infrastructure"))["nodes"]


async def resources_and_prompts(client, era):
    """What can be read and asked for beside the tools."""
    not_found = -32602 if era >= "2026-07-28" else -32002
    listed = [resource.uri for resource in (await client.list_resources()).resources]
    assert "proxmox://default/nodes" in listed, listed
    templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
    assert "proxmox://default/guest/{vmid}" in templates, templates
    nodes = json.loads((await client.read_resource("proxmox://default/nodes")).contents[0].text)
    assert nodes["total"] == 3, nodes
    reference = (await client.read_resource("proxmox://tools/proxmox-start-vm")).contents[0]
    assert reference.mime_type == "text/markdown" and "Start a VM" in reference.text, reference
    try:
        await client.read_resource("proxmox://default/guest/99999")
        raise AssertionError("a guest that is not there was read")
    except MCPError as error:
        assert error.code == not_found, error
    assert len((await client.list_prompts()).prompts) >= 6
    prompt = await client.get_prompt("diagnose-guest", {"guest": "web-01", "symptom": "slow"})
    assert "web-01" in prompt.messages[0].content.text and "proxmox-vm-metrics" in prompt.messages[0].content.text
    guests = await client.complete(
        PromptReference(type="ref/prompt", name="diagnose-guest"), {"name": "guest", "value": "web"}
    )
    assert "web-01" in guests.completion.values, guests
    storages = await client.complete(
        ResourceTemplateReference(type="ref/resource", uri="proxmox://default/storage/{node}/{storage}"),
        {"name": "storage", "value": ""},
        {"node": "pve1"},
    )
    assert "nas" in storages.completion.values, storages


async def subscription(client, era, updated):
    """A guest that is started is told to whoever subscribed to it."""
    uri = "proxmox://default/guest/107"
    start = {"vmid": 107, "wait": True}
    with anyio.fail_after(20):
        if era >= "2026-07-28":
            async with client.listen(resource_subscriptions=[uri, "file:///etc/passwd"]) as events:
                assert events.honored.resource_subscriptions == [uri], events.honored
                await done(client, "proxmox-start-vm", **start)
                async for event in events:
                    assert event.uri == uri, event
                    break
        else:
            with warnings.catch_warnings():
                # That it is gone in the next era is known.
                warnings.simplefilter("ignore")
                await client.subscribe_resource(uri)
                await done(client, "proxmox-start-vm", **start)
                while uri not in updated:
                    await anyio.sleep(0.1)
                await client.unsubscribe_resource(uri)
    assert json.loads((await client.read_resource(uri)).contents[0].text)["status"] == "running"
    await done(client, "proxmox-stop-vm", **start)


async def conversation(server, mode, how):
    """Everything of the above; `server` is whatever the SDK's client connects to."""
    updated = []

    async def heard(message):
        if isinstance(message, ResourceUpdatedNotification):
            updated.append(message.params.uri)

    async with Client(server, mode=mode, read_timeout_seconds=60, message_handler=heard) as client:
        era = client.protocol_version
        assert (era >= "2026-07-28") == (mode != "legacy"), f"{mode} gave {era}"
        await listing(client)
        vmid = await provisioning(client, "interop-web")
        await errors(client, vmid)
        await cancelling(client, vmid)
        deleted = await data(client, "proxmox-delete-vm", vmid=vmid, confirm=True, wait=True)
        assert deleted["state"] == "done", deleted
        await life_of_a_vm(client)
        await inside_and_around(client)
        await resources_and_prompts(client, era)
        await subscription(client, era, updated)
        print(
            f"mcp: {how}, {mode} ({era}): tools, plan, clone, start, errors, cancel, delete, a VM's life, guests from "
            "inside, resources, prompts, completion, a subscription"
        )


if __name__ == "__main__":
    for mode in ("legacy", "auto", "2026-07-28"):
        # An empty directory: no .env of anybody's.
        program = StdioServerParameters(command=sys.argv[1], args=["--sandbox"], cwd=tempfile.mkdtemp())
        anyio.run(conversation, program, mode, "stdio")
