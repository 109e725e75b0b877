package pool;

import java.net.Socket;

/** Keeps connections. */
public class Pool implements Closeable {
    private final Deque<Socket> idle = new ArrayDeque<>();

    /** Returns a connection that is not in use. */
    @Override
    public Socket acquire(String host, int port) throws IOException {
        Socket socket = idle.poll();
        if (socket != null) {
            return socket;
        }
        return new Socket(host, port);
    }

    public void close() {
        for (Socket socket : idle) {
            socket.close();
        }
    }
}
