//! Facts about this host: its distribution, its mounts, its programs.

use std::fmt;
use std::path::{Path, PathBuf};

use super::BootstrapError;

/// Directories of programs which an ordinary user's PATH may lack.
const SYSTEM: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Finds a program.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    directories().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Lists where programs are looked for: PATH, then the system's directories.
pub(super) fn directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    for dir in SYSTEM.map(PathBuf::from) {
        if !found.contains(&dir) {
            found.push(dir);
        }
    }
    found
}

/// Says whether PID 1 is systemd, in the way sd_booted(3) does.
pub(super) fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Says whether the kernel confines programs by AppArmor; an engine then cannot do without its parser.
pub(super) fn has_apparmor() -> bool {
    fs_err::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

/// Who brings packages to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// apt-get.
    Debian,
    /// dnf.
    RedHat,
    /// zypper.
    Suse,
    /// Any other.
    Unknown,
}

/// What os-release(5) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    name: String,
    family: Family,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Distribution {
    /// Reads this host's.
    pub(super) fn of_this_host() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| fs_err::read_to_string(path).ok())
            .unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.trim().split_once('='))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
        };
        let id = value("ID").unwrap_or_default();
        let like = value("ID_LIKE").unwrap_or_default();
        // The nearest relative comes first in ID_LIKE, and the distribution itself is nearer than any.
        let family = std::iter::once(id.as_str())
            .chain(like.split_whitespace())
            .find_map(|id| match id {
                "debian" | "ubuntu" => Some(Family::Debian),
                "fedora" | "rhel" | "centos" => Some(Family::RedHat),
                "suse" | "opensuse" | "sles" => Some(Family::Suse),
                _ => None,
            })
            .unwrap_or(Family::Unknown);
        let name = value("PRETTY_NAME")
            .or(value("NAME"))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "a system without os-release".to_owned());
        Self { name, family }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Returns what a person types to get these (Debian) packages.
    pub(super) fn command(&self, packages: &[&str]) -> String {
        let wants = |name: &str| packages.contains(&name);
        // Elsewhere the engine's package is called otherwise, and brings what belongs to it.
        let translated = |engine: &'static str| {
            let mut names = Vec::new();
            if packages.iter().any(|name| *name != "mmdebstrap") {
                names.push(engine);
            }
            if wants("mmdebstrap") {
                names.push("mmdebstrap");
            }
            names.join(" ")
        };
        match self.family {
            Family::Debian => format!("apt-get install --no-install-recommends {}", packages.join(" ")),
            Family::RedHat => format!(
                "dnf install {} && systemctl enable --now docker (RHEL: Docker's own repository has it as `docker-ce`)",
                translated("moby-engine")
            ),
            Family::Suse => {
                format!("zypper install {} && systemctl enable --now docker", translated("docker"))
            }
            Family::Unknown => format!(
                "your package manager, for a Docker engine (20.10 or later){}",
                if wants("mmdebstrap") { " and mmdebstrap" } else { "" }
            ),
        }
    }
}

/// How mounts below `/` spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    /// To the namespaces made from it.
    Shared,
    /// Not at all.
    Private,
    /// `/` is no mount point (a chroot), or /proc is missing.
    NoMount,
}

/// Reads this process's mount namespace.
pub(super) fn root_propagation() -> Propagation {
    propagation(&fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Reads proc(5)'s mountinfo. Of several mounts at `/` the last one is what is seen.
fn propagation(mountinfo: &str) -> Propagation {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    match root {
        None => Propagation::NoMount,
        Some(line) => {
            // Optional fields stand between the sixth field and a dash.
            let shared = line.split(' ').skip(6).take_while(|f| *f != "-").any(|f| f.starts_with("shared:"));
            if shared { Propagation::Shared } else { Propagation::Private }
        }
    }
}

/// `mount --make-rshared /`.
pub(super) fn share_root() -> Result<(), BootstrapError> {
    use nix::mount::MsFlags;
    let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(|source| BootstrapError::Mount { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_must_be_known_by_itself_or_by_what_it_is_like() {
        let family = |text: &str| Distribution::parse(text).family;
        assert_eq!(family("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"), Family::Debian);
        assert_eq!(family("ID=ubuntu\nID_LIKE=debian\n"), Family::Debian);
        assert_eq!(family("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Family::Debian);
        assert_eq!(family("ID=fedora\n"), Family::RedHat);
        assert_eq!(family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Family::RedHat);
        assert_eq!(family("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"), Family::Suse);
        assert_eq!(family("ID=sles\n"), Family::Suse);
        assert_eq!(family("ID=alpine\n"), Family::Unknown);
        assert_eq!(family(""), Family::Unknown);
        assert_eq!(family("garbage\n=\nID"), Family::Unknown);
        // VARIANT_ID and the like must not be taken for ID.
        assert_eq!(family("VARIANT_ID=debian\nID=arch\n"), Family::Unknown);
    }

    #[test]
    fn each_family_must_be_told_a_command_with_all_that_is_missing() {
        let command = |id: &str, packages: &[&str]| {
            Distribution::parse(&format!("ID={id}\nPRETTY_NAME=X\n")).command(packages)
        };
        let all = ["docker.io", "iptables", "mmdebstrap"];
        assert_eq!(
            command("debian", &all),
            "apt-get install --no-install-recommends docker.io iptables mmdebstrap"
        );
        assert!(command("fedora", &all).starts_with("dnf install moby-engine mmdebstrap &&"));
        assert!(command("sles", &["mmdebstrap"]).starts_with("zypper install mmdebstrap &&"));
        assert!(command("alpine", &all).ends_with("and mmdebstrap"));
    }

    #[test]
    fn only_a_shared_root_must_count_as_shared() {
        let line = |optional: &str| format!("22 1 254:0 / / rw,relatime {optional}- ext4 /dev/vda rw\n");
        let other = "23 22 0:5 / /dev rw shared:2 - devtmpfs d rw\n";
        assert_eq!(propagation(&line("shared:1 ")), Propagation::Shared);
        assert_eq!(propagation(&line("master:3 shared:1 ")), Propagation::Shared);
        assert_eq!(propagation(&line("")), Propagation::Private);
        assert_eq!(propagation(&line("master:3 ")), Propagation::Private);
        assert_eq!(propagation(other), Propagation::NoMount);
        assert_eq!(propagation(""), Propagation::NoMount);
        // A file system of that odd name is behind the dash.
        assert_eq!(propagation("22 1 254:0 / / rw - ext4 shared:1 rw\n"), Propagation::Private);
        // The initial ramdisk's root lies below the real one.
        let covered = format!("1 1 0:1 / / rw - rootfs rootfs rw\n{}{other}", line("shared:1 "));
        assert_eq!(propagation(&covered), Propagation::Shared);
    }
}
