//! How much memory a copy may take: what the machine and the control groups of this process have
//! left. More would end in the kernel's killer, and that takes whom it likes.
//!
//! | asked | counts as left |
//! |---|---|
//! | /proc/meminfo | `MemAvailable` and `SwapFree` |
//! | `memory.max`, `memory.high` of the process's group and of those above it (cgroup v2) | the lower one less `memory.current`, and the page cache in that, which the kernel gives back |
//!
//! Others may take it meanwhile: this refuses what cannot be, and promises nothing.

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

/// `list` is /proc/self/cgroup; the line of version 2 begins with `0::`.
fn of_groups(root: &Path, list: &str) -> u64 {
    let own = list.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folder = root.join(own);
    let groups = folder.ancestors().take_while(|group| group.starts_with(root));
    groups.map(of_group).min().unwrap_or(u64::MAX)
}

fn of_group(group: &Path) -> u64 {
    let read = |name| read_to_string(group.join(name)).unwrap_or_default();
    // "max": there is none.
    let limits = ["memory.max", "memory.high"].map(|name| read(name).trim().parse().unwrap_or(u64::MAX));
    let limit = limits.into_iter().min().unwrap_or(u64::MAX);
    let Ok(taken) = read("memory.current").trim().parse::<u64>() else { return u64::MAX };
    if limit == u64::MAX {
        return limit;
    }
    let parts = read("memory.stat");
    let cache = ["active_file", "inactive_file"].map(|name| number(&parts, name).unwrap_or(0));
    limit.saturating_sub(taken.saturating_sub(cache.iter().sum()))
}

/// The number behind a name that begins a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_has_left() {
        let text =
            "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:   700 kB\nSwapTotal: 50 kB\nSwapFree: 30 kB\n";
        assert_eq!(of_machine(text), 730 * 1024);
        assert_eq!(of_machine("MemTotal: 9 kB\n"), u64::MAX);
    }

    #[test]
    fn the_narrowest_group_counts() {
        let root = std::env::temp_dir().join(format!("sigward-groups-{}", std::process::id()));
        let inner = root.join("outer/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let put = |folder: &Path, name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        let left = || of_groups(&root, "9:memory:/elsewhere\n0::/outer/inner\n");
        assert_eq!(left(), u64::MAX);
        for (folder, max, high, taken) in
            [(&root.join("outer"), "5000\n", "max\n", "4500\n"), (&inner, "max\n", "3000\n", "1000\n")]
        {
            put(folder, "memory.max", max);
            put(folder, "memory.high", high);
            put(folder, "memory.current", taken);
        }
        assert_eq!(left(), 500);
        // Page cache can be given back; anonymous memory cannot.
        put(
            &root.join("outer"),
            "memory.stat",
            "anon 100\nfile 4400\nactive_file 3000\ninactive_file 1400\n",
        );
        assert_eq!(left(), 2000);
        put(&inner, "memory.current", "3500\n");
        assert_eq!(left(), 0);
        assert_eq!(of_groups(&root, "0::/\n"), u64::MAX);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
