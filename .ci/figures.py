"""The figures of the real program, read by the parser of Prometheus' own Python client. Usage: figures.py PROGRAM"""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

program = os.path.abspath(sys.argv[1])
server = subprocess.Popen(
    [program, "serve", "--sandbox", "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
)
try:
    for line in server.stderr:
        if found := re.search(r"http://\S+", line):
            url = found[0]
            break
    else:
        sys.exit("it does not serve")

    def call(tool, arguments):
        request = urllib.request.Request(f"{url}/tools/{tool}", arguments, {"Content-Type": "application/json"})
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code

    assert call("proxmox-list-nodes", b"{}") == 200
    assert call("proxmox-vm-info", b'{"name": "nobody\\"\\n"}') == 404
    assert call("proxmox-start-vm", b'{"vmid": 107, "wait": true, "timeout": 60}') == 200
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text"), answer.headers["Content-Type"]
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families.values() for sample in family.samples
    }
    assert samples[("proxmox_mcp_calls_total", ("outcome", "ok"), ("tool", "proxmox-list-nodes"))] == 1, text
    assert samples[("proxmox_mcp_call_errors_total", ("kind", "not_found"), ("tool", "proxmox-vm-info"))] == 1, text
    assert samples[("proxmox_mcp_cluster_up", ("cluster", "default"))] == 1, text
    assert samples[("proxmox_mcp_task_wait_duration_seconds_count", ("cluster", "default"))] == 1, text
    assert families["proxmox_mcp_call_duration_seconds"].type == "histogram"
    print(f"{len(families)} families, {len(samples)} samples")
finally:
    server.terminate()
    server.wait()
