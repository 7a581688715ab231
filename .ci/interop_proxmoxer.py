"""A real Proxmox VE client, proxmoxer, against the sandbox over HTTPS: what it gets is what Proxmox VE would give it."""

import hashlib
import pathlib
import ssl
import subprocess
import sys
import tempfile

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.core import AuthenticationError
from proxmoxer.tools import Tasks


def settings(server):
    """The .env that the sandbox prints; its commented lines hold the password login."""
    values = {}
    while "PROXMOX_PASSWORD" not in values:
        line = server.stdout.readline()
        assert line, "the sandbox ended"
        name, found, value = line.strip("# \n").partition("=")
        if found:
            values[name] = value
    return values


def refused(status, words, call, *arguments, **parameters):
    try:
        answer = call(*arguments, **parameters)
    except ResourceException as error:
        assert error.status_code == status, f"{status} expected: {error}"
        assert words in str(error), f"{words!r} expected: {error}"
        return error
    raise AssertionError(f"{status} {words!r} expected: {answer}")


def denied(**login):
    try:
        ProxmoxAPI(**login).version.get()
    except (AuthenticationError, ResourceException) as error:
        assert "401" in str(error), error
        return
    raise AssertionError("wrong credentials were accepted")


def journey(pve, newid):
    """List, clone, wait, start, delete."""
    assert pve.version.get()["release"]
    nodes = [node["node"] for node in pve.nodes.get()]
    assert len(nodes) == 3, nodes
    guests = pve.cluster.resources.get(type="vm")
    template = next(guest for guest in guests if guest.get("template") == 1 and guest["type"] == "qemu")
    node, source = template["node"], template["vmid"]

    vm = pve.nodes(node).qemu(source)
    upid = vm.clone.post(newid=newid, name=f"proxmoxer-{newid}", full=1)
    assert Tasks.decode_upid(upid)["type"] == "qmclone", upid
    ended = Tasks.blocking_status(pve, upid, timeout=60, polling_interval=0.1)
    assert ended["exitstatus"] == "OK", ended
    log = Tasks.decode_log(pve.nodes(node).tasks(upid).log.get(limit=0))
    assert "TASK OK" in log, log

    clone = pve.nodes(node).qemu(newid)
    assert clone.config.get()["name"] == f"proxmoxer-{newid}"
    upid = clone.status.start.post()
    assert Tasks.blocking_status(pve, upid, polling_interval=0.1)["exitstatus"] == "OK"
    assert clone.status.current.get()["status"] == "running"
    again = Tasks.blocking_status(pve, clone.status.start.post(), polling_interval=0.1)
    assert again["exitstatus"] == f"VM {newid} already running", again

    refused(500, "already exists", vm.clone.post, newid=newid)
    refused(500, "does not exist", pve.nodes(node).qemu(99999).config.get)
    error = refused(400, "Parameter verification failed.", vm.clone.post, newid="web")
    assert "newid" in error.errors, error.errors
    refused(400, "Parameter verification failed.", vm.clone.post, newid=99998, colour="red")
    refused(501, "not implemented", pve.nodes(node).get, "no-such-path")
    refused(500, f"VM {newid} is running - destroy failed", clone.delete)
    assert Tasks.blocking_status(pve, clone.status.stop.post(), polling_interval=0.1)["exitstatus"] == "OK"
    assert Tasks.blocking_status(pve, clone.delete(), polling_interval=0.1)["exitstatus"] == "OK"
    refused(500, "does not exist", clone.config.get)


def further(pve, vmid):
    """Uploads, snapshots, backups, commands in guests: what the client's own users do."""
    wait = lambda upid: Tasks.blocking_status(pve, upid, timeout=120, polling_interval=0.1)["exitstatus"]
    node = next(guest["node"] for guest in pve.cluster.resources.get(type="vm") if guest["vmid"] == 100)
    image = pathlib.Path(tempfile.mkdtemp(), "interop.iso")
    image.write_bytes(b"not really an image" * 100_000)
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    upload = {"content": "iso", "checksum-algorithm": "sha256", "checksum": sha256}
    with image.open("rb") as file:
        assert wait(pve.nodes(node).storage("nas").upload.post(filename=file, **upload)) == "OK"
    volumes = [volume["volid"] for volume in pve.nodes(node).storage("nas").content.get(content="iso")]
    assert "nas:iso/interop.iso" in volumes, volumes

    vm = pve.nodes(node).qemu(100)
    pid = vm.agent("exec").post(command=["echo", "a b", "c"])["pid"]
    ran = vm.agent("exec-status").get(pid=pid)
    assert ran["exitcode"] == 0 and ran["out-data"] == "a b c\n", ran
    refused(500, "does not exist", vm.agent("exec-status").get, pid=pid)

    assert pve.nodes(node).qemu.post(vmid=vmid, name="further", memory=512, scsi0="local-lvm:1") .startswith("UPID:")
    vm = pve.nodes(node).qemu(vmid)
    while not vm.config.get().get("scsi0"):
        pass
    assert wait(vm.snapshot.post(snapname="one")) == "OK"
    vm.config.put(cores=3)
    assert wait(vm.snapshot("one").rollback.post()) == "OK"
    assert "cores" not in vm.config.get() or vm.config.get()["cores"] == 1
    refused(500, "checksum", vm.config.put, cores=2, digest="0" * 40)
    assert wait(pve.nodes(node).vzdump.post(vmid=vmid, storage="nas", mode="stop")) == "OK"
    saved = pve.nodes(node).storage("nas").content.get(content="backup", vmid=vmid)
    assert len(saved) == 1, saved
    assert wait(vm.delete()) == "OK"
    assert wait(pve.nodes(node).qemu.post(vmid=vmid, archive=saved[0]["volid"], storage="local-lvm")) == "OK"
    assert vm.config.get()["name"] == "further"
    assert wait(vm.delete()) == "OK"


def main(program):
    server = subprocess.Popen(
        [program, "sandbox", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True, cwd=tempfile.mkdtemp()
    )
    try:
        given = settings(server)
        host, port = given["PROXMOX_API_URL"].removeprefix("https://").split(":")
        certificate = ssl.get_server_certificate((host, int(port)))
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
        assert fingerprint == given["PROXMOX_FINGERPRINT"].replace(":", "").lower(), fingerprint
        authority = pathlib.Path(tempfile.mkdtemp(), "authority.pem")
        authority.write_text(certificate)

        at = {"host": host, "port": int(port), "verify_ssl": str(authority)}
        user, name = given["PROXMOX_TOKEN_ID"].split("!")
        token = at | {"user": user, "token_name": name, "token_value": given["PROXMOX_TOKEN_SECRET"]}
        password = at | {"user": given["PROXMOX_USERNAME"], "password": given["PROXMOX_PASSWORD"]}
        journey(ProxmoxAPI(**token), 90001)
        print("proxmoxer: token: list, clone, wait, start, errors, delete")
        journey(ProxmoxAPI(**password), 90002)
        print("proxmoxer: password: list, clone, wait, start, errors, delete")
        further(ProxmoxAPI(**token), 90003)
        print("proxmoxer: upload, commands in guests, snapshot, backup, restore")
        denied(**token | {"token_value": "00000000-0000-0000-0000-000000000000"})
        denied(**password | {"password": "wrong"})
        print("proxmoxer: wrong token and wrong password: 401")
    finally:
        server.terminate()
        server.wait(10)


main(sys.argv[1])
