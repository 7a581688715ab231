//! Options of guests: which privilege on the guest setting one takes. The API's own description says only that some privilege
//! of `VM.Config.*` is needed; from Proxmox's source.

use crate::pve::GuestKind;

/// The privilege on `/vms/{vmid}` that an option needs; `value` tells an image in a drive from a disk.
pub fn option_privilege(kind: GuestKind, key: &str, value: &str) -> &'static str {
    use GuestKind::{Lxc, Qemu};
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = stem.len() < key.len();
    let drive = numbered && matches!(stem, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate");
    match (kind, stem) {
        (_, "cores" | "sockets" | "smp" | "cpu" | "vcpus" | "cpulimit" | "cpuunits" | "affinity") => "VM.Config.CPU",
        (Qemu, "numa") if key == "numa" => "VM.Config.CPU",
        (_, "memory" | "balloon" | "shares" | "swap" | "hugepages" | "keephugepages" | "numa") => "VM.Config.Memory",
        (_, "net" | "ipconfig" | "nameserver" | "searchdomain" | "hostname") => "VM.Config.Network",
        (Qemu, "ciuser" | "cipassword" | "citype" | "cicustom" | "ciupgrade" | "sshkeys") => "VM.Config.Cloudinit",
        (Qemu, "boot" | "bootdisk" | "unused") | (Lxc, "rootfs" | "mp" | "unused") => "VM.Config.Disk",
        (Qemu, "cdrom") => "VM.Config.CDROM",
        (Qemu, _) if drive && value.split(',').any(|part| part == "media=cdrom") => "VM.Config.CDROM",
        (Qemu, _) if drive => "VM.Config.Disk",
        (
            Qemu,
            "acpi" | "arch" | "audio" | "hotplug" | "kvm" | "machine" | "rng" | "scsihw" | "serial" | "smbios"
            | "tablet" | "usb" | "hostpci" | "vga" | "watchdog",
        ) => "VM.Config.HWType",
        _ => "VM.Config.Options",
    }
}
