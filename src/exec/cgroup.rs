//! A control group that holds the program and all that it starts, wherever that goes: its kill is one write, and nothing
//! forks faster. Only where this process may make one, which is seldom: the rest does without.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Cgroup(PathBuf);

impl Cgroup {
    /// That of `guardian`'s program, inside the group of the caller, which is the guardian's own.
    pub fn of(guardian: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own(&mounts, &groups)?;
        Some(Self(own.join(format!("understudy-exec-{guardian}"))))
    }

    /// For the program that this process guards.
    pub fn make() -> Option<Self> {
        let cgroup = Self::of(std::process::id())?;
        fs::create_dir(&cgroup.0).ok()?;
        Some(cgroup)
    }

    /// Takes this process in, if there is such a group.
    pub fn enter(&self) {
        let _ = fs::write(self.0.join("cgroup.procs"), "0");
    }

    /// Linux 5.14 or later.
    pub fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Once nothing of it is left.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The folder of this process' group, from its mountinfo and cgroup in /proc.
fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|it| it.strip_prefix("0::"))?;
    let mount = mounts.lines().find(|it| it.contains(" - cgroup2 "))?;
    // `36 35 98:0 /root /mounted/at …`
    let mut fields = mount.split(' ').skip(3);
    let (root, place) = (fields.next()?, fields.next()?);
    let within = Path::new(group).strip_prefix(root).ok()?;
    // `/../…`: outside of what this process sees.
    let outside = within.components().any(|it| it.as_os_str() == "..");
    (!outside).then(|| Path::new(place).join(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_where_it_is_seen() {
        let mount = |root: &str| {
            format!(
                "24 1 0:22 / /proc rw - proc proc rw\n31 24 0:27 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
            )
        };
        let at = |root: &str, groups: &str| own(&mount(root), groups);
        let found = |path: &str| Some(PathBuf::from(path));
        assert_eq!(
            at("/", "1:cpu:/x\n0::/a/b.scope\n"),
            found("/sys/fs/cgroup/a/b.scope")
        );
        assert_eq!(at("/a", "0::/a/b\n"), found("/sys/fs/cgroup/b"));
        assert_eq!(at("/", "0::/../b\n"), None);
        assert_eq!(at("/", "1:cpu:/\n"), None);
        assert_eq!(own("", "0::/\n"), None);
    }
}
