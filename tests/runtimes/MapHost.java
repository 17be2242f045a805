import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;

/** The JVM over maps: MapHost SCENARIO LIBRARY FOLDER. The library maps plainly or with sigward. */
public final class MapHost {
    private static native int ward();
    private static native int seat();
    private static native void open(String path);
    private static native ByteBuffer buffer();
    private static native long sum();
    private static native void refresh();
    private static native void close();
    private static native String status();

    private static final int LENGTH = 1 << 16;
    /** Inside a page: what is left of that page reads as zeros without any signal. */
    private static final int CUT = 10_000;
    private static final int FAULTS = 5_000;
    /** Calls of get(): enough for HotSpot to compile it and its caller. */
    private static final int WARM_PASSES = 40;

    private static Path folder;
    private MapHost next;
    private int field;
    private static byte[][] room;

    public static void main(String[] arguments) throws Exception {
        System.load(arguments[1]);
        folder = Path.of(arguments[2]);
        check(ward() == 0, "ward");
        switch (arguments[0]) {
            case "reads" -> reads();
            case "crc" -> crc();
            case "native" -> inNative();
            case "own" -> say("own " + own());
            case "together" -> together();
            case "seat" -> where();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static void check(boolean ok, String what) {
        if (!ok) {
            throw new IllegalStateException(what);
        }
    }

    private static byte expected(int at) {
        return (byte) (at % 251 + 1);
    }

    private static Path write(String name) throws IOException {
        Path file = folder.resolve(name);
        rewrite(file);
        return file;
    }

    /** The same file, whole again. */
    private static void rewrite(Path file) throws IOException {
        byte[] bytes = new byte[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            bytes[i] = expected(i);
        }
        Files.write(file, bytes);
    }

    private static void truncate(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.truncate(CUT);
        }
    }

    /** HotSpot raises its InternalError after the read, at the latest at a call into the VM. */
    private static void settle() {
        room = new byte[16][16];
    }

    private static byte get(ByteBuffer buffer, int at) {
        return buffer.get(at);
    }

    /** Every byte once, or the JVM's error, which does not tell the read ("a recent access"). */
    private static String pass(ByteBuffer buffer) {
        try {
            String seen = count(buffer);
            settle();
            return seen;
        } catch (InternalError error) {
            return "InternalError";
        }
    }

    /** How many bytes are right, and how many zeros after the cut. */
    private static String count(ByteBuffer buffer) {
        int right = 0;
        int zeros = 0;
        for (int i = 0; i < LENGTH; i++) {
            byte read = get(buffer, i);
            if (read == expected(i)) {
                right++;
            } else if (read == 0 && i >= CUT) {
                zeros++;
            }
        }
        return right + " right " + zeros + " zeros";
    }

    /** Truncated under Java's reads, in whatever way HotSpot runs them; then healed. */
    private static void reads() throws IOException {
        Path file = write("map");
        open(file.toString());
        ByteBuffer buffer = buffer();
        for (int i = 0; i < WARM_PASSES; i++) {
            check(pass(buffer).equals(LENGTH + " right 0 zeros"), "intact");
        }
        say(status());
        truncate(file);
        say(pass(buffer));
        say(status());
        rewrite(file);
        refresh();
        say(pass(buffer()) + ", " + status());
        close();
    }

    /** HotSpot's own intrinsic: its handler knows nothing of faults in there. */
    private static void crc() throws IOException {
        Path file = write("map");
        open(file.toString());
        truncate(file);
        byte[] left = new byte[LENGTH];
        for (int i = 0; i < CUT; i++) {
            left[i] = expected(i);
        }
        CRC32 ours = new CRC32();
        CRC32 wanted = new CRC32();
        wanted.update(left);
        ours.update(buffer());
        say((ours.getValue() == wanted.getValue()) + ", " + status());
    }

    /** C code that reads what Java handed to it. */
    private static void inNative() throws IOException {
        Path file = write("map");
        open(file.toString());
        truncate(file);
        long wanted = 0;
        for (int i = 0; i < CUT; i++) {
            wanted += expected(i) & 0xff;
        }
        say((sum() == wanted) + ", " + status());
    }

    /** Java's own map of another file: one InternalError for every lost read, as ever. */
    private static int own() throws IOException {
        Path file = write("own");
        int caught = 0;
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer own = channel.map(FileChannel.MapMode.READ_ONLY, 0, LENGTH);
            truncate(file);
            for (int i = 0; i < FAULTS; i++) {
                try {
                    get(own, LENGTH - 1 - i);
                    settle();
                } catch (InternalError expected) {
                    caught++;
                }
            }
        }
        return caught;
    }

    /** HotSpot's null check is a SIGSEGV. */
    private static int nulls() {
        MapHost[] chain = {new MapHost(), null};
        int caught = 0;
        for (int i = 0; i < FAULTS; i++) {
            try {
                chain[0].next = chain[1];
                chain[0].field = chain[0].next.field + 1;
            } catch (NullPointerException expected) {
                caught++;
            }
        }
        return caught;
    }

    /** Our map truncated and healed again and again, beside Java's own faults of both kinds. */
    private static void together() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(2, MapHost::daemon);
        Future<Integer> own = pool.submit((Callable<Integer>) MapHost::own);
        Future<Integer> nulls = pool.submit(MapHost::nulls);
        Path file = write("map");
        open(file.toString());
        int rounds = 0;
        while (rounds < 50 || !own.isDone() || !nulls.isDone()) {
            truncate(file);
            String lost = pass(buffer()) + ", " + status();
            check(lost.equals("10000 right 55536 zeros, truncated at 10000 of 10000"), lost);
            rewrite(file);
            refresh();
            String healed = pass(buffer()) + ", " + status();
            check(healed.equals("65536 right 0 zeros, intact"), healed);
            rounds++;
        }
        say("own " + own.get() + " nulls " + nulls.get());
    }

    private static Thread daemon(Runnable task) {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    /** Whether a fault comes to us first. */
    private static void where() throws IOException {
        Path file = write("map");
        open(file.toString());
        say("seat " + seat());
    }
}
