//! The writers raise nothing, and are the plain calls in all else: on each rung, in processes of
//! their own with SIGPIPE at its default.

#![cfg(all(target_os = "linux", feature = "capi"))]
#![allow(clippy::incompatible_msrv, reason = "std::io::pipe is newer than the crate needs")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "libc calls of a test"
)]
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::items_after_statements,
    reason = "one long table"
)]
#![allow(clippy::large_stack_arrays, reason = "more slices than the kernel takes")]

use libc::{c_int, c_void, iovec};
use sigward::ffi::{
    sigward_send, sigward_sendfile, sigward_sendmmsg, sigward_sendmsg, sigward_sendto,
    sigward_splice, sigward_thread_guard, sigward_thread_guard_enter, sigward_thread_guard_leave,
    sigward_write, sigward_writev,
};
use sigward::io::{Method, NoSigpipe, force};
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const METHODS: [Method; 3] = [Method::Flag, Method::Message, Method::Guard];
const SCENARIOS: [(&str, fn()); 8] = [
    ("broken", broken),
    ("equal", equal),
    ("ancillary", ancillary),
    ("interrupted", interrupted),
    ("nonblocking", nonblocking),
    ("guards", guards),
    ("adaptors", adaptors),
    ("bare", bare),
];

// ---- the frame ----

/// Not a test of its own: what the others start.
#[test]
fn child() {
    let Ok(scenario) = std::env::var("SIGWARD_SCENARIO") else { return };
    let rung = std::env::var("SIGWARD_RUNG").expect("set with the scenario");
    // SAFETY: nobody else looks at SIGPIPE in this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    force(METHODS.into_iter().find(|one| format!("{one:?}") == rung));
    let (_, run) = SCENARIOS.into_iter().find(|(name, _)| *name == scenario).expect("a scenario");
    run();
    assert!(!pending() && !blocked(), "nothing is left behind");
}

fn outcome(scenario: &str, rung: &str) -> Result<i32, String> {
    let mut command = Command::new(std::env::current_exe().expect("a test has a path"));
    command
        .args(["--exact", "child", "--nocapture"])
        .env("SIGWARD_SCENARIO", scenario)
        .env("SIGWARD_RUNG", rung);
    let output = command.stdin(Stdio::null()).output().expect("starts");
    let text = || String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.signal().or(output.status.code().filter(|code| *code == 0)).ok_or_else(text)
}

#[track_caller]
fn passes_on_each_rung(scenario: &str) {
    // "found" is what the kernel here offers.
    for rung in ["found", "Flag", "Message", "Guard"] {
        if rung == "Flag" && !sigward_knows_the_flag() {
            println!("skipped: this kernel does not know RWF_NOSIGNAL");
            continue;
        }
        assert_eq!(outcome(scenario, rung), Ok(0), "{scenario} by {rung}");
    }
}

fn sigward_knows_the_flag() -> bool {
    let (reader, writer) = std::io::pipe().unwrap();
    let part = iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    let done = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            writer.as_raw_fd(),
            &raw const part,
            1,
            -1_i64,
            -1_i64,
            0x100,
        )
    };
    drop(reader);
    done == 1
}

#[test]
fn a_broken_pipe_or_socket_is_an_error_and_nothing_else() {
    passes_on_each_rung("broken");
    assert_eq!(outcome("bare", "found"), Ok(libc::SIGPIPE), "the plain call must die here");
}

#[test]
fn results_and_errors_are_those_of_the_plain_calls() {
    passes_on_each_rung("equal");
}

#[test]
fn descriptors_are_passed() {
    passes_on_each_rung("ancillary");
}

#[test]
fn a_signal_interrupts_as_it_does_the_plain_call() {
    passes_on_each_rung("interrupted");
}

#[test]
fn nonblocking_and_partial_writes_are_those_of_the_plain_calls() {
    passes_on_each_rung("nonblocking");
}

#[test]
fn thread_guards() {
    assert_eq!(outcome("guards", "found"), Ok(0));
}

#[test]
fn std_adaptors() {
    passes_on_each_rung("adaptors");
}

// ---- helpers ----

fn pending() -> bool {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigpending(&raw mut set);
        libc::sigismember(&raw const set, libc::SIGPIPE) == 1
    }
}

fn blocked() -> bool {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
        libc::sigismember(&raw const set, libc::SIGPIPE) == 1
    }
}

fn errno() -> isize {
    -(std::io::Error::last_os_error().raw_os_error().unwrap_or(0) as isize)
}

/// A plain call's result in our form.
fn plain(result: isize) -> isize {
    if result < 0 { errno() } else { result }
}

fn broken_pipe() -> OwnedFd {
    std::io::pipe().unwrap().1.into()
}

fn broken_unix(kind: c_int) -> OwnedFd {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }, 0);
    unsafe { libc::close(ends[1]) };
    unsafe { OwnedFd::from_raw_fd(ends[0]) }
}

fn broken_tcp() -> OwnedFd {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let theirs = listener.accept().unwrap().0;
    socket2::SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(theirs);
    // A kernel that has much to do may bring the reset a moment after the close.
    let mut reset = libc::pollfd { fd: ours.as_raw_fd(), events: 0, revents: 0 };
    assert_eq!(unsafe { libc::poll(&raw mut reset, 1, 60_000) }, 1, "no reset");
    assert_eq!(
        ours.write(b"x").map_err(|error| error.kind()),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    ours.into()
}

/// Our own side shut down.
fn shut_down() -> OwnedFd {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    std::mem::forget(theirs);
    ours.into()
}

fn parts(slices: &[&'static [u8]]) -> Vec<iovec> {
    slices
        .iter()
        .map(|slice| iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() })
        .collect()
}

fn message(parts: &mut [iovec]) -> libc::msghdr {
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message
}

fn data(text: &'static [u8]) -> *const c_void {
    text.as_ptr().cast()
}

// ---- scenarios ----

fn bare() {
    let fd = broken_pipe();
    unsafe { libc::write(fd.as_raw_fd(), data(b"x"), 1) };
}

fn broken() {
    const EPIPE: isize = -(libc::EPIPE as isize);
    let mut two = parts(&[b"one", b"two"]);
    for _ in 0..3 {
        for (fd, is_socket) in [
            (broken_pipe(), false),
            (broken_unix(libc::SOCK_STREAM), true),
            (broken_unix(libc::SOCK_SEQPACKET), true),
            (broken_tcp(), true),
            (shut_down(), true),
        ] {
            let out = fd.as_raw_fd();
            let file = std::fs::File::open("/proc/self/exe").unwrap();
            let (reader, mut filled) = std::io::pipe().unwrap();
            filled.write_all(b"1234").unwrap();
            unsafe {
                assert_eq!(sigward_write(out, data(b"x"), 1), EPIPE);
                assert_eq!(sigward_writev(out, two.as_ptr(), 2), EPIPE);
                assert_eq!(sigward_sendfile(out, file.as_raw_fd(), &mut 0, 4), EPIPE);
                let none = std::ptr::null_mut();
                assert_eq!(sigward_splice(reader.as_raw_fd(), none, out, none, 4, 0), EPIPE);
                let wanted = if is_socket { EPIPE } else { -(libc::ENOTSOCK as isize) };
                assert_eq!(sigward_send(out, data(b"x"), 1, 0), wanted);
                assert_eq!(sigward_sendto(out, data(b"x"), 1, 0, std::ptr::null(), 0), wanted);
                let one = message(&mut two);
                assert_eq!(sigward_sendmsg(out, &raw const one, 0), wanted);
                let mut many: libc::mmsghdr = std::mem::zeroed();
                many.msg_hdr = one;
                assert_eq!(sigward_sendmmsg(out, &raw mut many, 1, 0) as isize, wanted);
            }
            assert!(!pending() && !blocked());
        }
    }
}

/// The same call, plain and ours, on descriptors made alike: result, errno and bytes must be the
/// same.
fn same(
    what: &str,
    make: impl Fn() -> (RawFd, Option<RawFd>),
    ours: impl Fn(RawFd) -> isize,
    theirs: impl Fn(RawFd) -> isize,
) {
    let run = |call: &dyn Fn(RawFd) -> isize| {
        let (fd, reader) = make();
        let result = call(fd);
        let mut arrived = Vec::new();
        if let Some(reader) = reader {
            let mut buffer = vec![0; 1 << 17];
            let count = unsafe {
                libc::fcntl(reader, libc::F_SETFL, libc::O_NONBLOCK);
                libc::read(reader, buffer.as_mut_ptr().cast(), buffer.len())
            };
            arrived =
                if count < 0 { b"nothing".to_vec() } else { buffer[..count as usize].to_vec() };
            unsafe { libc::close(reader) };
        }
        unsafe { libc::close(fd) };
        (result, arrived)
    };
    let (wanted, got) = (run(&|fd| plain(theirs(fd))), run(&ours));
    assert_eq!(got, wanted, "{what}");
}

fn pair(kind: c_int) -> (RawFd, Option<RawFd>) {
    let mut ends = [0; 2];
    let made = unsafe {
        if kind == 0 {
            libc::pipe(ends.as_mut_ptr())
        } else {
            libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr())
        }
    };
    assert_eq!(made, 0);
    if kind == 0 { (ends[1], Some(ends[0])) } else { (ends[0], Some(ends[1])) }
}

fn open(path: &std::ffi::CStr, flags: c_int) -> (RawFd, Option<RawFd>) {
    let fd = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
    assert!(fd >= 0, "{path:?}");
    (fd, None)
}

fn equal() {
    let makers: Vec<(&str, Box<dyn Fn() -> (RawFd, Option<RawFd>)>)> = vec![
        ("pipe", Box::new(|| pair(0))),
        ("stream", Box::new(|| pair(libc::SOCK_STREAM))),
        ("datagram", Box::new(|| pair(libc::SOCK_DGRAM))),
        ("seqpacket", Box::new(|| pair(libc::SOCK_SEQPACKET))),
        ("closed", Box::new(|| (987, None))),
        ("negative", Box::new(|| (-1, None))),
        ("null", Box::new(|| open(c"/dev/null", libc::O_WRONLY))),
        ("full", Box::new(|| open(c"/dev/full", libc::O_WRONLY))),
        ("directory", Box::new(|| open(c"/", libc::O_RDONLY))),
        ("read-only", Box::new(|| open(c"/proc/self/exe", libc::O_RDONLY))),
        ("eventfd", Box::new(|| (unsafe { libc::eventfd(0, 0) }, None))),
        ("memfd", Box::new(|| (unsafe { libc::memfd_create(c"m".as_ptr(), 0) }, None))),
        ("pty", Box::new(|| open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY))),
    ];
    const EIGHT: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0];
    let null = std::ptr::null();
    for (name, make) in &makers {
        for (length, data) in [
            (8, EIGHT.as_ptr().cast::<c_void>()),
            (0, EIGHT.as_ptr().cast()),
            (0, null),
            (8, null),
            (isize::MAX as usize + 1, EIGHT.as_ptr().cast()),
            (usize::MAX, null),
        ] {
            let what = format!("write of {length} at {data:?} to {name}");
            same(
                &what,
                make,
                |fd| unsafe { sigward_write(fd, data, length) },
                |fd| unsafe { libc::write(fd, data, length) },
            );
            // A length that large is read far beyond the buffer by send: only what is refused at
            // once.
            if length <= 8 {
                let what = format!("send of {length} at {data:?} to {name}");
                same(
                    &what,
                    make,
                    |fd| unsafe { sigward_send(fd, data, length, 0) },
                    |fd| unsafe { libc::send(fd, data, length, 0) },
                );
            }
        }
        let lists: [(&str, Vec<iovec>); 6] = [
            ("two", parts(&[b"one", EIGHT])),
            ("some empty", parts(&[b"", b"x", b""])),
            ("all empty", parts(&[b"", b""])),
            ("1024", parts(&[&b"x"[..]; 1024])),
            ("1025", parts(&[&b"x"[..]; 1025])),
            ("too long", vec![iovec { iov_base: std::ptr::null_mut(), iov_len: usize::MAX }; 2]),
        ];
        for (list, parts) in &lists {
            let count = parts.len() as c_int;
            let what = format!("writev of {list} to {name}");
            same(
                &what,
                make,
                |fd| unsafe { sigward_writev(fd, parts.as_ptr(), count) },
                |fd| unsafe { libc::writev(fd, parts.as_ptr(), count) },
            );
        }
        for (parts, count) in [
            (std::ptr::null(), 1),
            (std::ptr::null(), 0),
            (lists[0].1.as_ptr(), -1),
            (lists[0].1.as_ptr(), c_int::MIN),
            (lists[0].1.as_ptr(), c_int::MAX),
        ] {
            let what = format!("writev of {count} at {parts:?} to {name}");
            same(
                &what,
                make,
                |fd| unsafe { sigward_writev(fd, parts, count) },
                |fd| unsafe { libc::writev(fd, parts, count) },
            );
        }
        let what = format!("sendfile to {name}");
        let file = std::fs::File::open("/proc/self/exe").unwrap().into_raw_fd();
        same(
            &what,
            make,
            |fd| unsafe { sigward_sendfile(fd, file, &mut 4, 100) },
            |fd| unsafe { libc::sendfile(fd, file, &mut 4, 100) },
        );
        same(
            &what,
            make,
            |fd| unsafe { sigward_sendfile(fd, -1, &mut 4, 100) },
            |fd| unsafe { libc::sendfile(fd, -1, &mut 4, 100) },
        );
        unsafe { libc::close(file) };
    }
    // The file's own position and O_APPEND.
    let path = std::env::temp_dir().join(format!("sigward-append-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    for text in [&b"one"[..], b"two"] {
        assert_eq!(sigward::io::write(&file, text).unwrap(), 3);
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
    std::fs::remove_file(&path).unwrap();
    // Addresses.
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket2::SockAddr::from(receiver.local_addr().unwrap());
    assert_eq!(sigward::io::send_to(&sender, b"hello", 0, &address).unwrap(), 5);
    let mut buffer = [0; 8];
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
}

fn ancillary() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut text = parts(&[b"fd"]);
    let mut control = [0_u64; 8];
    unsafe {
        let mut passing = message(&mut text);
        passing.msg_control = control.as_mut_ptr().cast();
        passing.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const passing);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(writer.as_raw_fd());
        assert_eq!(sigward_sendmsg(ours.as_raw_fd(), &raw const passing, 0), 2);

        let mut room = [0_u8; 2];
        let mut into = [iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 2 }];
        let mut taking = message(&mut into);
        let mut control = [0_u64; 8];
        taking.msg_control = control.as_mut_ptr().cast();
        taking.msg_controllen = size_of_val(&control);
        assert_eq!(libc::recvmsg(theirs.as_raw_fd(), &raw mut taking, 0), 2);
        let passed = libc::CMSG_DATA(libc::CMSG_FIRSTHDR(&raw const taking))
            .cast::<c_int>()
            .read_unaligned();
        assert_eq!(sigward_write(passed, data(b"through"), 7), 7);
        libc::close(passed);
    }
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

fn interrupted() {
    extern "C" fn alarm(_: c_int) {}
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = alarm as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
    }
    for kind in [0, libc::SOCK_STREAM] {
        let (fd, _reader) = pair(kind);
        let much = vec![0_u8; 1 << 22];
        // First as much as fits, then nothing more.
        let some = while_asleep(|| unsafe { sigward_write(fd, much.as_ptr().cast(), much.len()) });
        assert!(some > 0 && (some as usize) < much.len(), "a part: {some}");
        let none = while_asleep(|| unsafe { sigward_write(fd, much.as_ptr().cast(), much.len()) });
        assert_eq!(none, -(libc::EINTR as isize));
        let part = iovec { iov_base: much.as_ptr().cast_mut().cast(), iov_len: much.len() };
        let none = while_asleep(|| unsafe { sigward_writev(fd, &raw const part, 1) });
        assert_eq!(none, -(libc::EINTR as isize));
    }
}

/// Makes the call, and interrupts this thread by SIGALRM as often as it sleeps meanwhile.
fn while_asleep(call: impl FnOnce() -> isize) -> isize {
    let (me, id) = unsafe { (libc::pthread_self(), libc::gettid()) };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(5));
                let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
                if stat.rsplit(") ").next().unwrap().starts_with('S') {
                    unsafe { libc::pthread_kill(me, libc::SIGALRM) };
                }
            }
        });
        let result = call();
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn nonblocking() {
    let much = vec![7_u8; 1 << 20];
    for kind in [0, libc::SOCK_STREAM] {
        let counts = |write: &dyn Fn(RawFd, &[u8]) -> isize| {
            let (fd, reader) = pair(kind);
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
            let first = write(fd, &much);
            let second = write(fd, &much);
            unsafe { libc::close(fd) };
            unsafe { libc::close(reader.unwrap()) };
            (first, second)
        };
        let wanted =
            counts(&|fd, data| plain(unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) }));
        assert!(wanted.0 > 0 && wanted.1 == -(libc::EAGAIN as isize));
        assert_eq!(
            counts(&|fd, data| unsafe { sigward_write(fd, data.as_ptr().cast(), data.len()) }),
            wanted
        );
        let vectored = counts(&|fd, data| {
            let parts = [iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() }];
            unsafe { sigward_writev(fd, parts.as_ptr(), 1) }
        });
        assert_eq!(vectored, wanted);
    }
    // The other side goes away in the middle: bytes so far, and nothing raised.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let thread = std::thread::spawn(move || {
        reader.read_exact(&mut [0; 4096]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    });
    let count = sigward::io::write(&writer, &much).unwrap();
    assert!(count > 0 && count < much.len());
    thread.join().unwrap();
}

fn die_quietly(fd: RawFd) -> isize {
    plain(unsafe { libc::write(fd, data(b"x"), 1) })
}

fn guards() {
    use sigward::sigpipe::ThreadGuard;
    let pipe = broken_pipe();
    let fd = pipe.as_raw_fd();
    // Nested; the outer one consumes.
    let outer = ThreadGuard::enter().unwrap();
    {
        let _inner = ThreadGuard::enter().unwrap();
        assert_eq!(die_quietly(fd), -(libc::EPIPE as isize));
        assert!(blocked() && pending());
    }
    assert!(blocked() && !pending());
    die_quietly(fd);
    {
        let _inner = ThreadGuard::enter().unwrap();
        die_quietly(fd);
    }
    assert!(pending(), "it was pending when the inner one came");
    drop(outer);
    assert!(!blocked() && !pending());
    // Across a panic.
    let caught = std::panic::catch_unwind(|| {
        let _guard = ThreadGuard::enter().unwrap();
        die_quietly(fd);
        panic!("on purpose");
    });
    assert!(caught.is_err() && !blocked() && !pending());
    // Pending on this thread before: stays.
    let block = ThreadGuard::enter().unwrap();
    die_quietly(fd);
    sigward::io::force(Some(Method::Guard));
    assert!(sigward::io::write(&pipe, b"x").is_err());
    assert!(pending(), "the thread's own stays");
    std::mem::forget(block);
    take_one();
    assert!(!pending());
    unblock();
    // A thread that is made inside inherits the mask.
    let guard = ThreadGuard::enter().unwrap();
    assert!(std::thread::spawn(blocked).join().unwrap());
    drop(guard);
    c_guards(fd);
    assert_eq!(in_process_of_one_thread(|| pending_on_the_process(&pipe)), 0);
    assert_eq!(in_process_of_one_thread(|| killed_from_outside(fd)), libc::SIGPIPE);
}

/// Runs `body` in a forked child, which has no other thread that a signal could go to. Its wait
/// status.
fn in_process_of_one_thread(body: impl Fn() -> bool) -> c_int {
    let child = unsafe { libc::fork() };
    if child == 0 {
        unsafe { libc::_exit(c_int::from(!body())) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

/// One for the process was pending before: it stays, and the thread's own is consumed.
fn pending_on_the_process(pipe: &OwnedFd) -> bool {
    let Ok(guard) = sigward::sigpipe::ThreadGuard::enter() else { return false };
    std::mem::forget(guard);
    unsafe { libc::kill(libc::getpid(), libc::SIGPIPE) };
    let before = shared_pending() && !thread_pending();
    let failed = sigward::io::write(pipe, b"x").is_err();
    let after = shared_pending() && !thread_pending();
    take_one();
    before && failed && after && !pending()
}

/// Another process's kill while the guard lasts is not consumed: it ends us afterwards.
fn killed_from_outside(fd: RawFd) -> bool {
    let Ok(guard) = sigward::sigpipe::ThreadGuard::enter() else { return false };
    let victim = unsafe { libc::getpid() };
    let killer = unsafe { libc::fork() };
    if killer == 0 {
        unsafe { libc::kill(victim, libc::SIGPIPE) };
        unsafe { libc::_exit(0) };
    }
    unsafe { libc::waitpid(killer, std::ptr::null_mut(), 0) };
    let quiet = fd >= 0 && pending();
    drop(guard);
    // Not reached.
    !quiet
}

fn c_guards(fd: RawFd) {
    const EINVAL: c_int = -libc::EINVAL;
    let mut guard = sigward_thread_guard { opaque: [0xdead_beef; 4] };
    unsafe {
        assert_eq!(sigward_thread_guard_leave(&raw mut guard), EINVAL, "never entered");
        assert_eq!(sigward_thread_guard_enter(std::ptr::null_mut()), EINVAL);
        assert_eq!(sigward_thread_guard_leave(std::ptr::null_mut()), EINVAL);
        assert_eq!(sigward_thread_guard_enter(&raw mut guard), 0);
        assert_eq!(die_quietly(fd), -(libc::EPIPE as isize));
        let mut copy = guard;
        assert_eq!(sigward_thread_guard_leave(&raw mut copy), EINVAL, "a copy");
        let address = &raw mut guard as usize;
        let elsewhere = std::thread::spawn(move || {
            let status = sigward_thread_guard_leave(address as *mut sigward_thread_guard);
            (status, blocked())
        });
        // It inherits our mask, and keeps it.
        assert_eq!(elsewhere.join().unwrap(), (-libc::EPERM, true), "another thread");
        assert!(blocked());
        assert_eq!(sigward_thread_guard_leave(&raw mut guard), 0);
        assert_eq!(sigward_thread_guard_leave(&raw mut guard), EINVAL, "twice");
    }
    assert!(!blocked() && !pending());
}

fn take_one() {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(
            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now),
            libc::SIGPIPE
        );
    }
}

fn unblock() {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

fn status_bit(field: &str) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> (libc::SIGPIPE - 1) & 1 == 1
}

fn shared_pending() -> bool {
    status_bit("ShdPnd:")
}

fn thread_pending() -> bool {
    status_bit("SigPnd:")
}

fn adaptors() {
    let mut pipe = NoSigpipe::new(std::io::pipe().unwrap().1);
    let mut stream = NoSigpipe::new(UnixStream::pair().unwrap().0);
    for _ in 0..2 {
        assert_eq!(pipe.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        let two = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        assert_eq!(stream.write_vectored(&two).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(pipe.write_all(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut ours, mut theirs) = (NoSigpipe::new(ours), NoSigpipe::new(theirs));
    // More slices than the kernel takes at once: as many as it takes, like std.
    let many = [IoSlice::new(b"x"); 3000];
    assert_eq!(ours.write_vectored(&many).unwrap(), 1024);
    let mut buffer = [0; 1024];
    theirs.read_exact(&mut buffer).unwrap();
    assert_eq!(buffer, [b'x'; 1024]);
    // A child that has gone.
    let mut child = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = NoSigpipe::new(child.stdin.take().unwrap());
    child.wait().unwrap();
    assert_eq!(stdin.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}
