import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** The JVM as a host: Host SCENARIO LIBRARY. The library is bare, or has sigward in it. */
public final class Host {
    private static native int ward();
    private static native int mend();
    private static native int write();
    private static native int writeHere();
    private static native void kill();
    private static native String tell();
    private static native String table();

    private static final int NULLS = 200_000;
    private Host next;
    private int field;

    public static void main(String[] arguments) throws Exception {
        System.load(arguments[1]);
        switch (arguments[0]) {
            case "writes" -> writes();
            case "kill" -> outside();
            case "nulls" -> nulls();
            case "children" -> children();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static void start() {
        if (ward() != 0) {
            throw new IllegalStateException("ward");
        }
    }

    /** On foreign threads and on Java's own. */
    private static void writes() {
        start();
        say(table());
        for (int i = 0; i < 100; i++) {
            if (write() != 64 || writeHere() != 32) {
                throw new IllegalStateException("no EPIPE");
            }
        }
        if (mend() != 0) {
            throw new IllegalStateException("mend");
        }
        write();
        say("lived");
        say(tell());
    }

    private static void outside() throws InterruptedException {
        start();
        kill();
        Thread.sleep(50);
        say("lived");
        mend();
        kill();
        Thread.sleep(50);
        say("lived");
    }

    /** HotSpot's null check is a SIGSEGV: a storm of SIGPIPEs on another thread must not matter. */
    private static void nulls() throws InterruptedException {
        start();
        Thread writer = new Thread(() -> {
            while (!Thread.currentThread().isInterrupted()) {
                write();
            }
        });
        writer.start();
        Host[] chain = {new Host(), null};
        int caught = 0;
        for (int i = 0; i < NULLS; i++) {
            try {
                chain[0].next = chain[1];
                chain[0].field = chain[0].next.field + 1;
            } catch (NullPointerException expected) {
                caught++;
            }
        }
        writer.interrupt();
        writer.join();
        say("caught " + caught);
    }

    private static void children() throws IOException, InterruptedException {
        start();
        Process child = new ProcessBuilder("cat", "/proc/self/status").start();
        sayMasks(new String(child.getInputStream().readAllBytes()).lines());
        child.waitFor();
        sayMasks(Files.readAllLines(Path.of("/proc/self/status")).stream());
    }

    private static void sayMasks(Stream<String> lines) {
        lines.filter(Host::isMask).forEach(Host::say);
    }

    private static boolean isMask(String line) {
        return line.startsWith("SigBlk") || line.startsWith("SigIgn");
    }
}
