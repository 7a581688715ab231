use super::looks::{GuestLook, Look, of};
use crate::{plan::Plan, pve::Request};

fn names(plan: &Plan) -> Vec<String> {
    of(plan)
        .into_iter()
        .map(|look| match look {
            Look::Guest(GuestLook { kind, vmid, deeds, .. }) => format!("{kind} {vmid}: {}", deeds.join(", ")),
            Look::Node(node) => format!("node {node}"),
            Look::Storage { storage, node, content, bytes } => {
                format!("{storage} on {node} for {} GiB of {content}", bytes >> 30)
            }
            Look::Volume { volid, .. } => format!("volume {volid}"),
            Look::Bridge { bridge, .. } => format!("bridge {bridge}"),
            Look::FreeVmid(vmid) => format!("VMID {vmid}"),
        })
        .collect()
}

#[test]
fn a_new_vm_depends_on_its_places_and_not_on_itself() {
    let plan = Plan::new("create")
        .step(
            Request::post("/nodes/pve1/qemu")
                .param("vmid", 120)
                .param("scsi0", "local-lvm:20,iothread=1")
                .param("scsi1", "local-lvm:12")
                .param("ide2", "local:iso/debian.iso,media=cdrom")
                .param("net0", "virtio,bridge=vmbr0"),
        )
        .step(Request::post("/nodes/pve1/qemu/120/status/start"));
    assert_eq!(
        names(&plan),
        [
            "node pve1",
            "VMID 120",
            "local-lvm on pve1 for 32 GiB of images",
            "volume local:iso/debian.iso",
            "bridge vmbr0",
        ]
    );
}

#[test]
fn a_clone_elsewhere_depends_on_the_source_and_the_target() {
    let mut plan = Plan::new("clone").step(
        Request::post("/nodes/pve1/lxc/200/clone").param("newid", 300).param("target", "pve2").param("storage", "nas"),
    );
    let looks = ["node pve1", "node pve2", "container 200: POST clone"];
    assert_eq!(names(&plan), [looks.as_slice(), &["VMID 300", "nas on pve2 for 0 GiB of rootdir"]].concat());
    plan.chosen_vmid = Some(300);
    assert_eq!(names(&plan), [looks.as_slice(), &["nas on pve2 for 0 GiB of rootdir"]].concat());
}
