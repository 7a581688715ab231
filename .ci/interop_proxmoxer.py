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
        denied(**token | {"token_value": "00000000-0000-0000-0000-000000000000"})
        denied(**password | {"password": "wrong"})
        print("proxmoxer: wrong token and wrong password: 401")
    finally:
        server.terminate()
        server.wait(10)


main(sys.argv[1])
