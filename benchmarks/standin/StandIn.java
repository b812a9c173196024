import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.zip.Adler32;
import java.util.zip.CRC32;

/**
 * Stands in for the SCM API in benchmarks: an HTTP/1.1 server that reads every body for real and costs little.
 *
 * <p>{@code java StandIn.java serve} listens on a free port of the loopback address, prints the port and ends with its
 * standard input. {@code java StandIn.java hammer PORT SECONDS CONNECTIONS ROWS BYTES} loads it as fast as it can and
 * prints requests, nanoseconds and its own CPU nanoseconds: what no client can exceed.
 *
 * <p>POST /api/v2/scm/upload/ answers 200 as documented, or 400 (not JSON, no list of items, over 100 rows, a row
 * without its key, a value that is no string). GET /api/v2/me/ answers 200. GET /stats tells what was seen since the
 * last POST /reset?latency_ms=N, which also sets how long every upload takes. One thread a connection: it waits, so a
 * latency costs nothing.
 */
public final class StandIn {
    static final int MAX_ROWS = 100;
    static final Stats stats = new Stats();
    static volatile long latencyNanos = 0;

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 6 && arguments[0].equals("hammer")) {
            Hammer.run(Integer.parseInt(arguments[1]), Double.parseDouble(arguments[2]),
                    Integer.parseInt(arguments[3]), Integer.parseInt(arguments[4]), Integer.parseInt(arguments[5]));
        } else if (arguments.length == 1 && arguments[0].equals("serve")) {
            serve();
        } else {
            System.err.println("usage: serve | hammer PORT SECONDS CONNECTIONS ROWS BYTES");
            System.exit(2);
        }
    }

    static void serve() throws IOException {
        ServerSocket server = new ServerSocket();
        server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 1024);
        daemon(() -> {
            while (true) {
                Socket socket = server.accept();
                daemon(() -> new Connection(socket).run());
            }
        });
        System.out.println(server.getLocalPort());
        while (System.in.read() >= 0) {
            // whoever started this holds the other end: when it is gone, so is this process
        }
    }

    interface Task {
        void run() throws IOException;
    }

    static void daemon(Task task) {
        Thread thread = new Thread(() -> {
            try {
                task.run();
            } catch (IOException gone) {
                // the other side went away: nothing to answer
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }

    /** What was seen since the last reset. */
    static final class Stats {
        final LongAdder requests = new LongAdder();
        final LongAdder rows = new LongAdder();
        final LongAdder refused = new LongAdder();
        final LongAdder repeated = new LongAdder();
        final AtomicLong first = new AtomicLong();
        final AtomicLong last = new AtomicLong();
        final AtomicInteger inFlight = new AtomicInteger();
        final AtomicInteger mostInFlight = new AtomicInteger();
        final Keys keys = new Keys();
        volatile long cpuAtReset = 0;

        void reset() {
            requests.reset();
            rows.reset();
            refused.reset();
            repeated.reset();
            first.set(0);
            last.set(0);
            mostInFlight.set(0);
            keys.clear();
            cpuAtReset = cpuNanos();
        }

        void began(long now) {
            requests.increment();
            first.compareAndSet(0, now);
            int flying = inFlight.incrementAndGet();
            mostInFlight.accumulateAndGet(flying, Math::max);
        }

        String json() {
            return "{\"requests\":" + requests.sum() + ",\"rows\":" + rows.sum() + ",\"refused\":" + refused.sum()
                    + ",\"repeated_in_request\":" + repeated.sum() + ",\"most_in_flight\":" + mostInFlight.get()
                    + ",\"distinct_keys\":" + keys.count() + ",\"keys_hash\":\"" + Long.toHexString(keys.sum()) + "\""
                    + ",\"busy_seconds\":" + (last.get() - first.get()) / 1e9
                    + ",\"cpu_seconds\":" + (cpuNanos() - cpuAtReset) / 1e9 + "}";
        }
    }

    /** The distinct keys by a 64-bit hash, in stripes with a lock each; their sum is a hash of the whole set. */
    static final class Keys {
        static final int STRIPES = 64;
        final Stripe[] stripes = new Stripe[STRIPES];

        Keys() {
            for (int i = 0; i < STRIPES; i++) {
                stripes[i] = new Stripe();
            }
        }

        static final class Stripe {
            long[] slots = new long[1024];
            int count = 0;
            long sum = 0;

            synchronized void add(long hash) {
                if (2 * count >= slots.length) {
                    long[] old = slots;
                    slots = new long[2 * old.length];
                    for (long present : old) {
                        if (present != 0) {
                            slots[slot(slots, present)] = present;
                        }
                    }
                }
                int slot = slot(slots, hash);
                if (slots[slot] == 0) {
                    slots[slot] = hash;
                    count++;
                    sum += hash;
                }
            }

            synchronized void clear() {
                Arrays.fill(slots, 0);
                count = 0;
                sum = 0;
            }

            static int slot(long[] slots, long hash) {
                int slot = (int) ((hash * 0x9E3779B97F4A7C15L) >>> 32) & (slots.length - 1);
                while (slots[slot] != 0 && slots[slot] != hash) {
                    slot = (slot + 1) & (slots.length - 1);
                }
                return slot;
            }
        }

        void add(long hash) {
            stripes[(int) (hash >>> 32) & (STRIPES - 1)].add(hash);
        }

        void clear() {
            for (Stripe stripe : stripes) {
                stripe.clear();
            }
        }

        long count() {
            return Arrays.stream(stripes).mapToLong(stripe -> stripe.count).sum();
        }

        long sum() {
            return Arrays.stream(stripes).mapToLong(stripe -> stripe.sum).sum();
        }
    }

    /** One kept-alive connection: reads a request, answers it, and again. */
    static final class Connection {
        final Socket socket;
        final InputStream in;
        final OutputStream out;
        final Upload upload = new Upload();
        byte[] buffer = new byte[64 * 1024];
        int start = 0;
        int end = 0;

        Connection(Socket socket) throws IOException {
            this.socket = socket;
            socket.setTcpNoDelay(true);
            in = socket.getInputStream();
            out = socket.getOutputStream();
        }

        void run() throws IOException {
            try (socket) {
                while (request()) {
                    // until the client closes, or asks for it
                }
            }
        }

        /** Answers one request; false when no more will come. */
        boolean request() throws IOException {
            int head = readHead();
            if (head < 0) {
                return false;
            }
            String text = new String(buffer, start, head - start, StandardCharsets.ISO_8859_1);
            String[] lines = text.split("\r\n");
            String[] first = lines[0].split(" ");
            int length = 0;
            boolean close = false;
            boolean token = false;
            for (int i = 1; i < lines.length; i++) {
                int colon = lines[i].indexOf(':');
                String name = lines[i].substring(0, colon).toLowerCase();
                String value = lines[i].substring(colon + 1).trim();
                switch (name) {
                    case "content-length" -> length = Integer.parseInt(value);
                    case "connection" -> close = value.equalsIgnoreCase("close");
                    case "authorization" -> token = value.startsWith("UAT ") && value.length() > 4;
                    case "transfer-encoding" -> throw new IOException("a body of unknown length");
                    default -> { }
                }
            }
            start = head + 4;
            fill(length);
            int from = start;
            start += length;
            answer(first[0], first[1], token, from, length);
            return !close;
        }

        void answer(String method, String target, boolean token, int from, int length) throws IOException {
            if (target.equals("/stats")) {
                send("200 OK", stats.json());
            } else if (target.startsWith("/reset") && method.equals("POST")) {
                int value = target.indexOf("latency_ms=");
                latencyNanos = value < 0 ? 0 : 1_000_000L * Long.parseLong(target.substring(value + 11));
                stats.reset();
                send("200 OK", "{}");
            } else if (!token) {
                send("401 Unauthorized", "{\"detail\":\"Authentication credentials were not provided.\"}");
            } else if (target.equals("/api/v2/me/") && method.equals("GET")) {
                send("200 OK", "{}");
            } else if (target.equals("/api/v2/scm/upload/") && method.equals("POST")) {
                upload(from, length);
            } else {
                send("404 Not Found", "{\"detail\":\"Not found.\"}");
            }
        }

        void upload(int from, int length) throws IOException {
            long began = System.nanoTime();
            stats.began(began);
            String mistake = upload.read(buffer, from, from + length);
            long wait = latencyNanos - (System.nanoTime() - began);
            if (wait > 0) {
                try {
                    Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
                } catch (InterruptedException never) {
                    throw new IOException(never);
                }
            }
            if (mistake == null) {
                stats.rows.add(upload.rows);
                stats.repeated.add(upload.repeated);
                upload.addKeys(stats.keys);
                upload.answer();
            } else {
                stats.refused.increment();
            }
            stats.last.accumulateAndGet(System.nanoTime(), Math::max);
            stats.inFlight.decrementAndGet();
            if (mistake == null) {
                send("200 OK", upload.answer);
            } else {
                send("400 Bad Request", "{\"errors\":[{\"message\":\"" + mistake + "\"}]}");
            }
        }

        /** Where the blank line of the next request's head is, or -1 when the client closed. */
        int readHead() throws IOException {
            int seen = start;
            while (true) {
                for (int i = seen; i + 3 < end; i++) {
                    if (buffer[i] == '\r' && buffer[i + 1] == '\n' && buffer[i + 2] == '\r' && buffer[i + 3] == '\n') {
                        return i;
                    }
                }
                int before = start;
                seen = Math.max(start, end - 3);
                if (!more(1)) {
                    return -1;
                }
                seen -= before - start;
            }
        }

        void fill(int length) throws IOException {
            while (end - start < length) {
                if (!more(length)) {
                    throw new IOException("the body ended early");
                }
            }
        }

        /** Reads what there is, with room for at least {@code wanted} bytes from {@code start}. */
        boolean more(int wanted) throws IOException {
            if (start == end) {
                start = 0;
                end = 0;
            }
            if (end == buffer.length || buffer.length - start < wanted) {
                int room = Math.max(buffer.length, 2 * Math.max(wanted, end - start));
                byte[] larger = room == buffer.length && start > 0 ? buffer : new byte[room];
                System.arraycopy(buffer, start, larger, 0, end - start);
                buffer = larger;
                end -= start;
                start = 0;
            }
            int got = in.read(buffer, end, buffer.length - end);
            end += Math.max(got, 0);
            return got > 0;
        }

        void send(String status, String body) throws IOException {
            Bytes bytes = new Bytes();
            bytes.add(body.getBytes(StandardCharsets.UTF_8));
            send(status, bytes);
        }

        final Bytes response = new Bytes();

        void send(String status, Bytes body) throws IOException {
            response.length = 0;
            response.add(("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + body.length
                    + "\r\n\r\n").getBytes(StandardCharsets.ISO_8859_1));
            response.add(body.data, 0, body.length);
            out.write(response.data, 0, response.length);
        }
    }

    /** Bytes that grow; used again from request to request. */
    static final class Bytes {
        byte[] data = new byte[16 * 1024];
        int length = 0;

        void add(byte[] more) {
            add(more, 0, more.length);
        }

        void add(byte[] from, int start, int count) {
            if (length + count > data.length) {
                data = Arrays.copyOf(data, Math.max(2 * data.length, length + count));
            }
            System.arraycopy(from, start, data, length, count);
            length += count;
        }

        void add(char one) {
            if (length == data.length) {
                data = Arrays.copyOf(data, 2 * data.length);
            }
            data[length++] = (byte) one;
        }
    }

    /** Reads the body of an upload, all of its JSON, and writes the documented answer. Strings stay as they came. */
    static final class Upload {
        static final class Malformed extends RuntimeException {
            Malformed(String message) {
                super(message, null, false, false);
            }
        }

        byte[] text;
        int at;
        int end;
        int rows;
        int repeated;
        int items;
        String dataKey;
        final long[] hashes = new long[MAX_ROWS];
        // Each row's fields, as from and to of the name and of the value, and where a row's fields begin.
        int[] fields = new int[4096];
        int fieldCount;
        final int[] rowStart = new int[MAX_ROWS + 1];
        final int[] keyField = new int[MAX_ROWS];
        final Bytes answer = new Bytes();
        final CRC32 crc = new CRC32();
        final Adler32 adler = new Adler32();

        /** What is wrong with the body, or null. */
        String read(byte[] bytes, int from, int to) {
            text = bytes;
            at = from;
            end = to;
            rows = 0;
            repeated = 0;
            items = -1;
            fieldCount = 0;
            dataKey = "extended_id";
            try {
                body();
                keys();
                return null;
            } catch (Malformed mistake) {
                return mistake.getMessage();
            }
        }

        void body() {
            expect('{');
            if (!next('}')) {
                do {
                    int from = string();
                    String name = plain(from, at - 1);
                    expect(':');
                    if (name.equals("data_key")) {
                        int value = string();
                        dataKey = plain(value, at - 1);
                    } else if (name.equals("items")) {
                        items();
                    } else {
                        skip(0);
                    }
                } while (next(','));
                expect('}');
            }
            space();
            if (at != end) {
                throw new Malformed("more than one value");
            }
            if (items < 0) {
                throw new Malformed("items is missing");
            }
        }

        void items() {
            items = at;
            expect('[');
            if (next(']')) {
                return;
            }
            do {
                if (rows == MAX_ROWS) {
                    throw new Malformed("more than 100 items");
                }
                rowStart[rows++] = fieldCount;
                row();
            } while (next(','));
            expect(']');
        }

        void row() {
            expect('{');
            if (next('}')) {
                return;
            }
            do {
                if (fieldCount + 4 > fields.length) {
                    fields = Arrays.copyOf(fields, 2 * fields.length);
                }
                fields[fieldCount] = string();
                fields[fieldCount + 1] = at - 1;
                expect(':');
                fields[fieldCount + 2] = string();
                fields[fieldCount + 3] = at - 1;
                fieldCount += 4;
            } while (next(','));
            expect('}');
        }

        /** Finds each row's key field, and rows of this request that repeat a key. */
        void keys() {
            rowStart[rows] = fieldCount;
            byte[] name = dataKey.getBytes(StandardCharsets.UTF_8);
            for (int row = 0; row < rows; row++) {
                int found = -1;
                for (int f = rowStart[row]; f < rowStart[row + 1] && found < 0; f += 4) {
                    if (Arrays.equals(text, fields[f], fields[f + 1], name, 0, name.length)) {
                        found = f;
                    }
                }
                if (found < 0 || fields[found + 2] == fields[found + 3]) {
                    throw new Malformed("a row without its key");
                }
                keyField[row] = found;
                hashes[row] = hash(fields[found + 2], fields[found + 3]);
            }
            long[] sorted = Arrays.copyOf(hashes, rows);
            Arrays.sort(sorted);
            for (int row = 1; row < rows; row++) {
                repeated += sorted[row] == sorted[row - 1] ? 1 : 0;
            }
        }

        long hash(int from, int to) {
            crc.reset();
            crc.update(text, from, to - from);
            adler.reset();
            adler.update(text, from, to - from);
            return crc.getValue() << 32 | adler.getValue();
        }

        void addKeys(Keys keys) {
            for (int row = 0; row < rows; row++) {
                keys.add(hashes[row]);
            }
        }

        void answer() {
            answer.length = 0;
            answer.add(("{\"total_updates\":" + rows + ",\"changes\":[],\"items\":{").getBytes(StandardCharsets.UTF_8));
            for (int row = 0; row < rows; row++) {
                if (row > 0) {
                    answer.add(',');
                }
                quoted(keyField[row] + 2);
                answer.add(':');
                char before = '[';
                for (int f = rowStart[row]; f < rowStart[row + 1]; f += 4) {
                    if (f != keyField[row]) {
                        answer.add(before);
                        quoted(f);
                        before = ',';
                    }
                }
                if (before == '[') {
                    answer.add('[');
                }
                answer.add(']');
            }
            answer.add(("},\"codes_affected\":" + rows + "}").getBytes(StandardCharsets.UTF_8));
        }

        void quoted(int field) {
            answer.add('"');
            answer.add(text, fields[field], fields[field + 1] - fields[field]);
            answer.add('"');
        }

        /** Reads a string; returns where its content begins. Afterwards {@code at - 1} is where it ends. */
        int string() {
            space();
            if (at >= end || text[at] != '"') {
                throw new Malformed("not a string");
            }
            int from = ++at;
            byte[] bytes = text;
            int limit = end;
            int i = from;
            while (i < limit) {
                byte one = bytes[i++];
                if (one == '"') {
                    at = i;
                    return from;
                }
                if (one == '\\') {
                    at = i;
                    escape();
                    i = at;
                } else if (one >= 0 && one < 0x20) {
                    break;
                }
            }
            throw new Malformed("a string that does not end");
        }

        void escape() {
            if (at < end && "\"\\/bfnrt".indexOf(text[at]) >= 0) {
                at++;
                return;
            }
            if (at + 5 > end || text[at++] != 'u') {
                throw new Malformed("an unknown escape");
            }
            for (int i = 0; i < 4; i++) {
                if (Character.digit(text[at++], 16) < 0) {
                    throw new Malformed("an unknown escape");
                }
            }
        }

        /** Names that matter here have no escapes; one that has is another name. */
        String plain(int from, int to) {
            return new String(text, from, to - from, StandardCharsets.UTF_8);
        }

        void skip(int depth) {
            space();
            if (at >= end || depth > 100) {
                throw new Malformed("not JSON");
            }
            switch (text[at]) {
                case '"' -> string();
                case '{' -> {
                    at++;
                    if (!next('}')) {
                        do {
                            string();
                            expect(':');
                            skip(depth + 1);
                        } while (next(','));
                        expect('}');
                    }
                }
                case '[' -> {
                    at++;
                    if (!next(']')) {
                        do {
                            skip(depth + 1);
                        } while (next(','));
                        expect(']');
                    }
                }
                default -> literal();
            }
        }

        void literal() {
            int from = at;
            while (at < end && ",]} \t\r\n".indexOf(text[at]) < 0) {
                at++;
            }
            String word = plain(from, at);
            boolean number = word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?");
            if (!number && !word.equals("true") && !word.equals("false") && !word.equals("null")) {
                throw new Malformed("not JSON");
            }
        }

        void space() {
            while (at < end && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r')) {
                at++;
            }
        }

        boolean next(char wanted) {
            space();
            if (at < end && text[at] == wanted) {
                at++;
                return true;
            }
            return false;
        }

        void expect(char wanted) {
            if (!next(wanted)) {
                throw new Malformed("not JSON as documented: expected " + wanted);
            }
        }
    }

    /** A client that costs next to nothing: ready-made requests, answers only counted. */
    static final class Hammer {
        static void run(int port, double seconds, int connections, int rows, int bytes) throws Exception {
            LongAdder requests = new LongAdder();
            long began = System.nanoTime();
            long until = began + (long) (seconds * 1e9);
            Thread[] threads = new Thread[connections];
            for (int i = 0; i < connections; i++) {
                byte[] request = request(rows, bytes, i);
                threads[i] = new Thread(() -> {
                    try {
                        load(port, until, request, requests);
                    } catch (IOException failed) {
                        failed.printStackTrace();
                        System.exit(1);
                    }
                });
                threads[i].start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
            System.out.println(requests.sum() + " " + (System.nanoTime() - began) + " " + cpuNanos());
        }

        static byte[] request(int rows, int bytes, int seed) {
            StringBuilder items = new StringBuilder();
            for (int row = 0; row < rows; row++) {
                String key = "HAMMER" + seed + "X" + row;
                String name = (row > 0 ? "," : "") + "{\"extended_id\":\"" + key + "\"";
                String fields = ",\"intended_market\":\"cn\",\"production_date\":\"2026-01-02\",\"line\":\"L1\",\"lot\":\"";
                items.append(name).append(fields);
                items.append("x".repeat(Math.max(0, bytes - name.length() - fields.length()))).append("\"}");
            }
            String body = "{\"data_key\":\"extended_id\",\"items\":[" + items + "]}";
            return ("POST /api/v2/scm/upload/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: UAT hammer\r\n"
                    + "Content-Type: application/json\r\nContent-Length: " + body.length() + "\r\n\r\n" + body)
                    .getBytes(StandardCharsets.US_ASCII);
        }

        static void load(int port, long until, byte[] request, LongAdder requests) throws IOException {
            try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
                socket.setTcpNoDelay(true);
                OutputStream out = socket.getOutputStream();
                InputStream in = socket.getInputStream();
                byte[] buffer = new byte[64 * 1024];
                while (System.nanoTime() < until) {
                    out.write(request);
                    int got = 0;
                    int whole = Integer.MAX_VALUE;
                    while (got < whole) {
                        int more = in.read(buffer, got, buffer.length - got);
                        if (more < 0) {
                            throw new IOException("closed after " + got + " bytes");
                        }
                        got += more;
                        if (whole == Integer.MAX_VALUE) {
                            whole = wholeLength(buffer, got);
                        }
                    }
                    requests.increment();
                }
            }
        }

        static int wholeLength(byte[] buffer, int got) throws IOException {
            String text = new String(buffer, 0, Math.min(got, 200), StandardCharsets.ISO_8859_1);
            int head = text.indexOf("\r\n\r\n");
            if (head < 0) {
                return Integer.MAX_VALUE;
            }
            if (!text.startsWith("HTTP/1.1 200 ")) {
                throw new IOException(text);
            }
            int length = text.indexOf("Content-Length: ") + 16;
            return head + 4 + Integer.parseInt(text.substring(length, text.indexOf("\r\n", length)));
        }
    }
}
