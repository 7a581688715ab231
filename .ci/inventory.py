"""What Ansible read of three forms of one inventory, against each other and against what was written. Usage: inventory.py NAME"""

import json
import pathlib
import sys

name = sys.argv[1]
read = {form: json.loads(pathlib.Path(f"{name}.{form}.read").read_text()) for form in ("sh", "yaml", "ini")}
script = json.loads(pathlib.Path(f"{name}.script.json").read_text())
assert script == json.loads(pathlib.Path(f"{name}.json").read_text()), "--list is --format json"


def groups(inventory):
    return {group: sorted(body.get("hosts", [])) for group, body in inventory.items() if group not in ("_meta", "all")}


hosts = script["_meta"]["hostvars"]
assert hosts, "no hosts"
for form, inventory in read.items():
    assert groups(inventory) == groups(script), form
    # Of the script's, Ansible's has those of groups in each host.
    assert inventory["_meta"]["hostvars"] == read["sh"]["_meta"]["hostvars"], form
    for host, variables in hosts.items():
        assert variables.items() <= inventory["_meta"]["hostvars"][host].items(), (form, host)
for host, variables in hosts.items():
    for group in (f"node_{variables['proxmox_node']}", f"status_{variables['proxmox_status']}", f"kind_{variables['proxmox_kind']}"):
        assert host in script[group]["hosts"], (host, group)
    assert ("ansible_host" in variables) == (variables["proxmox_status"] == "running"), host
if name == "home":
    for inventory in read.values():
        grafana = inventory["_meta"]["hostvars"]["grafana"]
        assert grafana["proxmox_pool"] == "007" and {"1.5", "a-b.c+d", "null"} < set(grafana["proxmox_tags"]), grafana
        assert "grafana" in inventory["tag_a_b_c_d"]["hosts"]
pathlib.Path(f"{name}.hosts").write_text("".join(f"{host}\n" for host in sorted(hosts)))
