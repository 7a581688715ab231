//! The index of container templates that nodes know (`pveam available`).

/// A template of the index.
pub struct Appliance {
    pub template: &'static str,
    pub package: &'static str,
    pub version: &'static str,
    pub os: &'static str,
    /// `system`, `mail`, `turnkeylinux`.
    pub section: &'static str,
    pub headline: &'static str,
}

impl Appliance {
    pub fn location(&self) -> String {
        match self.section {
            "turnkeylinux" => format!("http://mirror.turnkeylinux.org/turnkeylinux/images/proxmox/{}", self.template),
            section => format!("http://download.proxmox.com/images/{section}/{}", self.template),
        }
    }
    pub fn source(&self) -> &'static str {
        match self.section {
            "turnkeylinux" => "https://releases.turnkeylinux.org/pve",
            _ => "http://download.proxmox.com/images",
        }
    }
    pub fn description(&self) -> String {
        format!("{}.", self.headline)
    }
}

const fn system(
    template: &'static str,
    package: &'static str,
    version: &'static str,
    os: &'static str,
    headline: &'static str,
) -> Appliance {
    Appliance { template, package, version, os, section: "system", headline }
}

const fn turnkey(
    template: &'static str,
    package: &'static str,
    version: &'static str,
    headline: &'static str,
) -> Appliance {
    Appliance { template, package, version, os: "debian-12", section: "turnkeylinux", headline }
}

pub const ALL: &[Appliance] = &[
    system(
        "almalinux-9-default_20240911_amd64.tar.xz",
        "almalinux-9-default",
        "20240911",
        "almalinux",
        "LXC default image for almalinux 9 (20240911)",
    ),
    system(
        "alpine-3.20-default_20240908_amd64.tar.xz",
        "alpine-3.20-default",
        "20240908",
        "alpine",
        "LXC default image for alpine 3.20 (20240908)",
    ),
    system(
        "alpine-3.22-default_20250617_amd64.tar.xz",
        "alpine-3.22-default",
        "20250617",
        "alpine",
        "LXC default image for alpine 3.22 (20250617)",
    ),
    system(
        "archlinux-base_20240911-1_amd64.tar.zst",
        "archlinux-base",
        "20240911-1",
        "archlinux",
        "ArchLinux base image",
    ),
    system(
        "debian-11-standard_11.7-1_amd64.tar.zst",
        "debian-11-standard",
        "11.7-1",
        "debian-11",
        "Debian 11 Bullseye (standard)",
    ),
    system(
        "debian-12-standard_12.7-1_amd64.tar.zst",
        "debian-12-standard",
        "12.7-1",
        "debian-12",
        "Debian 12 Bookworm (standard)",
    ),
    system(
        "debian-12-standard_12.12-1_amd64.tar.zst",
        "debian-12-standard",
        "12.12-1",
        "debian-12",
        "Debian 12 Bookworm (standard)",
    ),
    system(
        "debian-13-standard_13.1-2_amd64.tar.zst",
        "debian-13-standard",
        "13.1-2",
        "debian-13",
        "Debian 13 Trixie (standard)",
    ),
    system(
        "fedora-42-default_20250428_amd64.tar.xz",
        "fedora-42-default",
        "20250428",
        "fedora",
        "LXC default image for fedora 42 (20250428)",
    ),
    system(
        "opensuse-15.6-default_20240910_amd64.tar.xz",
        "opensuse-15.6-default",
        "20240910",
        "opensuse",
        "LXC default image for opensuse 15.6 (20240910)",
    ),
    system(
        "rockylinux-9-default_20240912_amd64.tar.xz",
        "rockylinux-9-default",
        "20240912",
        "centos",
        "LXC default image for rockylinux 9 (20240912)",
    ),
    system(
        "ubuntu-22.04-standard_22.04-1_amd64.tar.zst",
        "ubuntu-22.04-standard",
        "22.04-1",
        "ubuntu-22.04",
        "Ubuntu 22.04 Jammy (standard)",
    ),
    system(
        "ubuntu-24.04-standard_24.04-2_amd64.tar.zst",
        "ubuntu-24.04-standard",
        "24.04-2",
        "ubuntu-24.04",
        "Ubuntu 24.04 Noble (standard)",
    ),
    Appliance {
        template: "proxmox-mail-gateway-8.2-standard_8.2-1_amd64.tar.zst",
        package: "proxmox-mail-gateway-8.2-standard",
        version: "8.2-1",
        os: "debian-12",
        section: "mail",
        headline: "Proxmox Mail Gateway 8.2",
    },
    turnkey(
        "debian-12-turnkey-core_18.1-1_amd64.tar.gz",
        "turnkey-core",
        "18.1-1",
        "TurnKey Core - the common base for all TurnKey GNU/Linux appliances",
    ),
    turnkey(
        "debian-12-turnkey-nextcloud_18.2-1_amd64.tar.gz",
        "turnkey-nextcloud",
        "18.2-1",
        "TurnKey Nextcloud - store your files and share them",
    ),
    turnkey(
        "debian-12-turnkey-wordpress_18.2-1_amd64.tar.gz",
        "turnkey-wordpress",
        "18.2-1",
        "TurnKey WordPress - blog publishing platform",
    ),
];
