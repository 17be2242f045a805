//! How much memory a copy may take: what the machine and the control groups of this process have
//! left. More would end in the kernel's killer, and that takes whom it likes.
//!
//! | asked | counts as left |
//! |---|---|
//! | /proc/meminfo | `MemAvailable` and `SwapFree` |
//! | each group | the lowest limit less what is taken, and the page cache in that |
//!
//! The kernel gives page cache back. The groups are this process's and those above it, with the
//! limits `memory.max` and `memory.high` (cgroup v2) or `memory.limit_in_bytes` (v1).
//!
//! Others may take it meanwhile: this refuses what cannot be, and promises nothing. The groups lie
//! where they always do; in a container that sees only its own, the walk upwards ends there.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes.
pub(super) fn left() -> u64 {
    let group = read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_machine(&read_to_string("/proc/meminfo").unwrap_or_default())
        .min(of_groups(Path::new("/sys/fs/cgroup"), &group))
}

fn of_machine(text: &str) -> u64 {
    let kib = |name| number(text, name).map(|kib| kib.saturating_mul(1024));
    kib("MemAvailable:").map_or(u64::MAX, |free| free.saturating_add(kib("SwapFree:").unwrap_or(0)))
}

/// What the limits are called, and where.
struct Version {
    folder: &'static str,
    limits: &'static [&'static str],
    taken: &'static str,
    /// In `memory.stat`, of the group and those below it.
    cache: [&'static str; 2],
}

const V1: Version = Version {
    folder: "memory",
    limits: &["memory.limit_in_bytes"],
    taken: "memory.usage_in_bytes",
    cache: ["total_active_file", "total_inactive_file"],
};

const V2: Version = Version {
    folder: "",
    limits: &["memory.max", "memory.high"],
    taken: "memory.current",
    cache: ["active_file", "inactive_file"],
};

/// `list` is /proc/self/cgroup.
fn of_groups(root: &Path, list: &str) -> u64 {
    list.lines().map(|line| of_line(root, line)).min().unwrap_or(u64::MAX)
}

/// Number, controllers and path of a hierarchy; that of version 2 is 0, and has none.
fn of_line(root: &Path, line: &str) -> u64 {
    let mut parts = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return u64::MAX;
    };
    let version = match number {
        "0" => V2,
        _ if controllers.split(',').any(|name| name == "memory") => V1,
        _ => return u64::MAX,
    };
    let top = root.join(version.folder);
    let group = top.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|group| group.starts_with(&top));
    groups.map(|group| of_group(group, &version)).min().unwrap_or(u64::MAX)
}

fn of_group(group: &Path, version: &Version) -> u64 {
    let read = |name: &str| read_to_string(group.join(name)).unwrap_or_default();
    // "max": there is none. Version 1 has a number that no machine reaches.
    let limits = version.limits.iter().map(|name| read(name).trim().parse().unwrap_or(u64::MAX));
    let limit = limits.min().unwrap_or(u64::MAX);
    let Ok(taken) = read(version.taken).trim().parse::<u64>() else { return u64::MAX };
    if limit == u64::MAX {
        return limit;
    }
    let parts = read("memory.stat");
    let cache = version.cache.map(|name| number(&parts, name).unwrap_or(0));
    limit.saturating_sub(taken.saturating_sub(cache.iter().sum()))
}

/// The number behind a name that begins a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn what_the_machine_has_left() {
        let text = "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:   700 kB\nSwapTotal: 50 kB\nSwapFree: 30 kB\n";
        assert_eq!(of_machine(text), 730 * 1024);
        assert_eq!(of_machine("MemTotal: 9 kB\n"), u64::MAX);
    }

    /// Control groups as folders, gone at the end.
    struct Groups(PathBuf);

    impl Groups {
        fn new(name: &str, folders: &[&str]) -> Self {
            let root = std::env::temp_dir().join(format!("sigward-{name}-{}", std::process::id()));
            for folder in folders {
                std::fs::create_dir_all(root.join(folder)).unwrap();
            }
            Self(root)
        }

        fn put(&self, folder: &str, files: &[(&str, &str)]) {
            for (name, text) in files {
                std::fs::write(self.0.join(folder).join(name), format!("{text}\n")).unwrap();
            }
        }
    }

    impl Drop for Groups {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_narrowest_group_counts() {
        let groups = Groups::new("groups", &["outer/inner"]);
        let left = || of_groups(&groups.0, "9:cpu:/elsewhere\n0::/outer/inner\n");
        assert_eq!(left(), u64::MAX);
        for (folder, max, high, taken) in
            [("outer", "5000", "max", "4500"), ("outer/inner", "max", "3000", "1000")]
        {
            groups.put(
                folder,
                &[("memory.max", max), ("memory.high", high), ("memory.current", taken)],
            );
        }
        assert_eq!(left(), 500);
        // Page cache can be given back; anonymous memory cannot.
        groups.put(
            "outer",
            &[("memory.stat", "anon 100\nfile 4400\nactive_file 3000\ninactive_file 1400")],
        );
        assert_eq!(left(), 2000);
        groups.put("outer/inner", &[("memory.current", "3500")]);
        assert_eq!(left(), 0);
        assert_eq!(of_groups(&groups.0, "0::/\n"), u64::MAX);
    }

    /// The process's own path is not there in a container without a namespace of groups: what it
    /// sees is its own group, as the top.
    #[test]
    fn groups_of_version_1_count_as_well() {
        let groups = Groups::new("groups-1", &["memory/outer/inner", "unified/outer"]);
        let left = |path: &str| {
            of_groups(
                &groups.0,
                &format!("9:cpuset:/\n4:hugetlb,memory:{path}\n1:name=systemd:/\n0::/outer\n"),
            )
        };
        let limits =
            |limit, taken| [("memory.limit_in_bytes", limit), ("memory.usage_in_bytes", taken)];
        groups.put("memory", &limits("9223372036854771712", "8000"));
        assert_eq!(left("/outer/inner"), 9_223_372_036_854_763_712);
        groups.put("memory/outer", &limits("5000", "4500"));
        groups.put("memory/outer/inner", &limits("9223372036854771712", "1000"));
        assert_eq!(left("/outer/inner"), 500);
        // The group's own page cache is only a part of what is counted.
        let parts =
            "active_file 1\ninactive_file 2\ntotal_active_file 1000\ntotal_inactive_file 200";
        groups.put("memory/outer", &[("memory.stat", parts)]);
        assert_eq!(left("/outer/inner"), 1700);
        groups.put("memory", &limits("4000", "3000"));
        assert_eq!(left("/docker/0123"), 1000);
    }
}
