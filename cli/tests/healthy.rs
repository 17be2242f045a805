//! Healthy programs of many runtimes, watched: they do what they do unwatched, and nothing is told.

mod support;

use std::process::Command;
use support::{Run, Scratch, command, finish, have};

const PYTHON: &str = "
import signal, subprocess, threading
done = threading.Event()
signal.signal(signal.SIGALRM, lambda *_: done.set())
threads = [threading.Thread(target=sum, args=(range(10000),)) for _ in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
signal.setitimer(signal.ITIMER_REAL, 0.01)
done.wait()
print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
raise SystemExit(7)
";

const NODE: &str = "
const { execFile } = require('child_process');
const { Worker } = require('worker_threads');
const worker = new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true });
worker.on('exit', () => execFile('echo', ['child'], (_, text) => {
    console.log(text);
    process.kill(process.pid, 'SIGUSR2');
}));
process.on('SIGUSR2', () => process.exit(7));
setInterval(() => {}, 1000);
";

const JAVA: &str = "
public class Healthy {
    int field;
    static int look(Healthy it) { return it.field; }
    public static void main(String[] arguments) throws Exception {
        Healthy sound = new Healthy();
        for (int i = 0; i < 40000; i++) look(sound);
        int caught = 0;
        for (int i = 0; i < 5; i++) {
            try { look(null); } catch (NullPointerException expected) { caught++; }
        }
        System.gc();
        Thread[] threads = new Thread[20];
        for (int i = 0; i < 20; i++) (threads[i] = new Thread(() -> look(sound))).start();
        for (Thread thread : threads) thread.join();
        System.out.println(caught);
        System.exit(7);
    }
}
";

/// The same of a program by itself and under `sigward watch`, but for its process number.
#[track_caller]
fn alike(program: &str, arguments: &[&str]) {
    let bare = finish(Command::new(program).args(arguments));
    assert_eq!((bare.code, bare.err.as_str()), (7, ""), "{bare:?}");
    let watched = watch(&[], program, arguments);
    assert_eq!((watched.code, &watched.out), (bare.code, &bare.out), "{watched:?}");
    assert_eq!(watched.err, "", "nothing is told");
}

fn watch(options: &[&str], program: &str, arguments: &[&str]) -> Run {
    finish(command().arg("watch").args(options).arg("--").arg(program).args(arguments))
}

#[test]
fn python_is_as_ever() {
    if have("python3") {
        alike("python3", &["-c", PYTHON]);
    }
}

#[test]
fn node_is_as_ever() {
    if have("node") {
        alike("node", &["-e", NODE]);
    }
}

/// Its null checks are faults in code that it has made: told by choice only.
#[test]
fn java_is_as_ever() {
    if !have("java") || !have("javac") {
        return;
    }
    let scratch = Scratch::new("healthy-java");
    let source = scratch.file("Healthy.java", JAVA.as_bytes());
    let done = finish(Command::new("javac").arg(&source));
    assert_eq!(done.code, 0, "{done:?}");
    let folder = scratch.path().to_str().expect("UTF-8");
    // Compiled at once, so that there are such faults.
    let arguments = ["-Xcomp", "-XX:CompileOnly=Healthy.look", "-cp", folder, "Healthy"];
    alike("java", &arguments);
    let told = watch(&["--signals", "SEGV"], "java", &arguments);
    assert!(told.err.contains("SIGSEGV in java") && told.err.contains("handler gets it"), "{told:?}");
}
