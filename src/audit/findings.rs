//! What may go wrong in a process, each with its evidence and what to do. Pure.

use super::facts::Facts;
use super::own::{Own, Row};
use super::proc::{Disposition, has};
use super::text::{grouped, name};
use crate::status::Reason;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The next cut, full disk or broken peer ends the process.
    Warning,
}

impl Severity {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// A name that stays.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// For the command, which looks at files as well.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        id: &'static str,
        severity: Severity,
        evidence: String,
        remedy: &'static str,
    ) -> Self {
        Self { id, severity, evidence, remedy }
    }
}

/// All findings on a process.
pub fn of(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |id, severity, evidence, remedy| {
        found.push(Finding { id, severity, evidence, remedy });
    };
    let sigpipe = facts.status.disposition(libc::SIGPIPE);
    let is_go = facts.runtimes.contains(&"Go");
    if is_go && facts.libraries > 0 && !facts.has_library && sigpipe == Disposition::Caught {
        add(
            "sigpipe-foreign-threads",
            Severity::Info,
            format!(
                "a Go program with {} libraries in it, and nothing beneath Go",
                facts.libraries
            ),
            "a broken peer of theirs on a thread that Go did not make ends the program: import sigward",
        );
    }
    if let Some(sockets) =
        facts.sockets.filter(|count| *count > 0 && sigpipe == Disposition::Default)
    {
        add(
            "sigpipe-fatal",
            Severity::Info,
            format!("SIGPIPE has its default action, and there are {sockets} sockets"),
            "a write without MSG_NOSIGNAL to a peer that is gone ends it: sigward_init, or \
             SIGWARD=filter with LD_PRELOAD",
        );
    }
    if facts.has_library && sigpipe == Disposition::Default {
        add(
            "not-armed",
            Severity::Info,
            "sigward is in it, and SIGPIPE has its default action".to_owned(),
            "nobody has called sigward_init, or somebody has set SIG_DFL since: call it last, or \
             SIGWARD=filter",
        );
    }
    if facts.lacks_sigurg() {
        let state =
            if has(facts.status.ignored, libc::SIGURG) { "ignored" } else { "at its default" };
        add(
            "sigurg-taken",
            Severity::Info,
            format!("a Go program, and SIGURG, by which it interrupts its threads, is {state}"),
            "a long loop stops its garbage collector, and so everybody: leave SIGURG to Go",
        );
    }
    for path in &facts.interposers {
        add(
            "interposer",
            Severity::Info,
            format!(
                "{} has a sigaction(2) of its own, which the program and its libraries call",
                path.display()
            ),
            "it decides which handlers the kernel gets to know: look there first if a handler is not called",
        );
    }
    for (signal, threads) in facts.blocked() {
        let evidence = format!(
            "{} is blocked in {} threads, the first is {}",
            name(signal),
            threads.len(),
            threads[0]
        );
        let remedy = if signal == libc::SIGPIPE {
            "a broken peer raises it when somebody unblocks it: unblock it, and use sigward_init"
        } else {
            "a fault there ends the process, and no handler is asked: unblock it in that thread"
        };
        // A guard waits for them in vain.
        let is_awaited = signal != libc::SIGPIPE && has(facts.status.caught, signal);
        add(
            "signal-blocked",
            if is_awaited { Severity::Warning } else { Severity::Info },
            evidence,
            remedy,
        );
    }
    if let [first, ..] = facts.ignoring_children.as_slice() {
        let count = facts.ignoring_children.len();
        add(
            "ignored-inherited",
            Severity::Info,
            format!("{count} children ignore SIGPIPE, the first is {first}"),
            "`prog | head` does not end in them: give children SIG_DFL, or use the filter in place of \
             SIG_IGN",
        );
    }
    of_files(facts, &mut add);
    if let Some(own) = &facts.own {
        of_seats(own, &mut add);
        of_handlers(&own.rows, is_go || own.has_go, &mut add);
    }
    if let Some(rows) = &facts.handlers {
        of_handlers(rows, is_go, &mut add);
    }
    found
}

/// What only the process itself can see.
fn of_seats(own: &Own, add: &mut Adding<'_>) {
    for (signal, standing) in [(libc::SIGPIPE, own.sigpipe), (libc::SIGBUS, own.sigbus)] {
        if matches!(standing.reason, Reason::Covered | Reason::Altered) {
            add(
                "covered",
                Severity::Warning,
                format!("{}: {}", name(signal), standing.reason),
                "what stands above may keep what is ours: call sigward_ensure_on_top after the last \
                 library has started",
            );
        }
    }
    if own.guarded > 0 && !own.sigbus.is_armed() {
        add(
            "empty-seat",
            Severity::Warning,
            format!("{} maps are guarded, and SIGBUS is {}", own.guarded, own.sigbus.reason),
            "a lost page of theirs ends the process: call sigward_ensure_on_top",
        );
    }
}

/// Handlers beside Go.
fn of_handlers(rows: &[Row], is_go: bool, add: &mut Adding<'_>) {
    let without = rows.iter().filter(|row| row.handler.is_function() && !row.handler.is_on_stack());
    let without: Vec<String> = without.map(|row| name(row.signal)).collect();
    if is_go && !without.is_empty() {
        add(
            "no-onstack",
            Severity::Warning,
            format!(
                "handlers of {} have no SA_ONSTACK, and Go is in the process",
                without.join(", ")
            ),
            "Go ends the process when such a one is called on a thread of its own: install it with \
             SA_ONSTACK",
        );
    }
}

type Adding<'a> = dyn FnMut(&'static str, Severity, String, &'static str) + 'a;

fn of_files(facts: &Facts, add: &mut Adding<'_>) {
    for file in &facts.files {
        let path = file.path.display();
        if file.is_beyond(facts.page) {
            let [mapped, length] = [file.mapped_to, file.now.length.unwrap_or(0)].map(grouped);
            add(
                "map-beyond-file",
                Severity::Warning,
                format!("{path} is mapped up to byte {mapped} and has {length} bytes"),
                "an access behind its end is SIGBUS: was it cut (sigward cut PATH), or is it mapped with \
                 room to grow? guard the map",
            );
        }
        if file.lacks_room() {
            let [holes, free] = [file.holes, file.now.free.unwrap_or(0)].map(grouped);
            add(
                "sparse-on-full-disk",
                Severity::Warning,
                format!("{path} has {holes} bytes of holes and its disk {free} bytes free"),
                "a store into a hole is SIGBUS when the disk is full: sigward reserve, or room",
            );
        }
        if let [first, ..] = file.writers.as_slice()
            && !file.shared_writable
        {
            add(
                "map-being-written",
                Severity::Info,
                format!("{path} is open for writing in pid {first}"),
                "if it is cut the readers die of SIGBUS: replace it by rename(2) (sigward replace)",
            );
        }
        let is_memory = ["/memfd:", "/dev/", "/SYSV", "/i915", "/[aio]", "/anon_hugepage"]
            .iter()
            .any(|start| file.path.as_os_str().as_encoded_bytes().starts_with(start.as_bytes()));
        if file.deleted && !is_memory {
            add(
                "map-deleted",
                Severity::Info,
                format!("{path} is mapped and has no name any more"),
                "it reads an old version, and its blocks are not free: map it anew",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Facts, MappedFile};
    use super::super::own::{Handler, Own, Row};
    use super::super::proc::Status;
    use super::{Severity, of};
    use crate::mapping::outside::Now;
    use crate::sigpipe::Seat;
    use crate::status::{Reason, Standing};

    fn ids(facts: &Facts) -> Vec<&'static str> {
        of(facts).into_iter().map(|finding| finding.id).collect()
    }

    fn set(signal: i32) -> u64 {
        1 << (signal - 1)
    }

    #[test]
    fn each_finding_has_facts_that_make_it_and_facts_that_do_not() {
        let quiet = Facts { pid: 7, threads: 1, sockets: Some(0), page: 4096, ..Facts::default() };
        assert_eq!(ids(&quiet), [""; 0]);
        let sockets = Facts { sockets: Some(2), ..quiet.clone() };
        assert_eq!(ids(&sockets), ["sigpipe-fatal"]);
        let ignored = Status { ignored: set(libc::SIGPIPE), ..Status::default() };
        assert_eq!(ids(&Facts { status: ignored, ..sockets }), [""; 0]);

        // Preloaded, and nobody has asked it for anything.
        let bare = Facts { has_library: true, ..quiet.clone() };
        assert_eq!(ids(&bare), ["not-armed"]);
        for armed in [set(libc::SIGPIPE), 0] {
            let status =
                Status { caught: armed, ignored: set(libc::SIGPIPE) & !armed, ..Status::default() };
            assert_eq!(ids(&Facts { status, ..bare.clone() }), [""; 0]);
        }
        assert_eq!(
            ids(&Facts { interposers: vec!["/lib/libjsig.so".into()], ..quiet.clone() }),
            ["interposer"]
        );

        let go = set(libc::SIGPIPE) | set(libc::SIGBUS) | set(libc::SIGURG);
        let caught = Status { caught: go, ..Status::default() };
        let taken = Status { caught: go & !set(libc::SIGURG), ..Status::default() };
        let taken = Facts { status: taken, runtimes: vec!["Go"], ..quiet.clone() };
        assert_eq!(ids(&taken), ["sigurg-taken"]);
        assert_eq!(ids(&Facts { runtimes: vec![], ..taken }), [""; 0]);
        let go = Facts { status: caught, runtimes: vec!["Go"], libraries: 1, ..quiet.clone() };
        assert_eq!(ids(&go), ["sigpipe-foreign-threads"]);
        assert_eq!(ids(&Facts { has_library: true, ..go.clone() }), [""; 0]);
        assert_eq!(ids(&Facts { libraries: 0, ..go.clone() }), [""; 0]);

        let blocked =
            Facts { masks: vec![(8, set(libc::SIGBUS)), (9, set(libc::SIGBUS))], ..quiet.clone() };
        assert_eq!(
            (ids(&blocked), of(&blocked)[0].severity),
            (vec!["signal-blocked"], Severity::Info)
        );
        let awaited = Facts { masks: blocked.masks.clone(), libraries: 0, ..go };
        assert_eq!(of(&awaited)[0].severity, Severity::Warning);

        // Nobody waits for a SIGPIPE.
        let blocked = Facts { masks: vec![(8, set(libc::SIGPIPE))], ..awaited };
        assert_eq!(
            (ids(&blocked), of(&blocked)[0].severity),
            (vec!["signal-blocked"], Severity::Info)
        );

        let good = MappedFile {
            path: "/data/x".into(),
            mapped_to: 8192,
            shared_writable: true,
            deleted: false,
            now: Now { length: Some(4097), free: Some(1 << 30), sparse: true },
            holes: 4096,
            writers: Vec::new(),
        };
        let with = |file: MappedFile| ids(&Facts { files: vec![file], ..quiet.clone() });
        assert_eq!(with(good.clone()), [""; 0]);
        let cut = Now { length: Some(4096), ..good.now };
        assert_eq!(with(MappedFile { now: cut, ..good.clone() }), ["map-beyond-file"]);
        let large = Facts {
            page: 65536,
            files: vec![MappedFile { now: cut, ..good.clone() }],
            ..quiet.clone()
        };
        assert_eq!(ids(&large), [""; 0]);
        let full = Now { free: Some(4095), ..good.now };
        assert_eq!(with(MappedFile { now: full, ..good.clone() }), ["sparse-on-full-disk"]);
        let read = MappedFile { shared_writable: false, writers: vec![3], ..good.clone() };
        assert_eq!(with(read), ["map-being-written"]);
        assert_eq!(with(MappedFile { deleted: true, ..good.clone() }), ["map-deleted"]);
        for memory in ["/memfd:x", "/[aio]"] {
            let of_kernel = MappedFile { deleted: true, path: memory.into(), ..good.clone() };
            assert_eq!(with(of_kernel), [""; 0]);
        }
    }

    #[test]
    fn what_only_the_process_sees_is_found_and_only_where_it_is() {
        let stands = |reason| Standing { seat: Seat::None, reason, handler: 0 };
        let armed = Own {
            sigpipe: stands(Reason::Armed),
            sigbus: stands(Reason::Armed),
            guarded: 1,
            has_go: true,
            rows: vec![Row {
                signal: libc::SIGUSR1,
                handler: Handler {
                    address: 0x1000,
                    library: None,
                    flags: libc::SA_ONSTACK,
                    is_ours: false,
                },
                line: Vec::new(),
            }],
        };
        let found = |own: Own| ids(&Facts { own: Some(own), page: 4096, ..Facts::default() });
        assert_eq!(found(armed.clone()), [""; 0]);
        for reason in [Reason::Covered, Reason::Altered] {
            assert_eq!(found(Own { sigpipe: stands(reason), ..armed.clone() }), ["covered"]);
            assert_eq!(
                found(Own { sigbus: stands(reason), ..armed.clone() }),
                ["covered", "empty-seat"]
            );
        }
        let unasked = Own { sigbus: stands(Reason::NotAsked), ..armed.clone() };
        assert_eq!(found(unasked.clone()), ["empty-seat"]);
        assert_eq!(found(Own { guarded: 0, ..unasked }), [""; 0]);
        let with = |address, flags, has_go| {
            let row = armed.rows[0].clone();
            let handler = Handler { address, flags, ..row.handler };
            found(Own { rows: vec![Row { handler, ..row }], has_go, ..armed.clone() })
        };
        assert_eq!(with(0x1000, 0, true), ["no-onstack"]);
        assert_eq!(with(0x1000, 0, false), [""; 0]);
        assert_eq!(with(libc::SIG_IGN, 0, true), [""; 0]);
    }
}
