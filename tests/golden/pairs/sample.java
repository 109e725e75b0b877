/*
 * Licensed to somebody under the Apache License.
 */
package demo;

/**
 * Limits how many requests a client may send.
 * <p>Thread safe.
 */
public final class RequestLimiter {
    private final Map<String, Integer> counts = new HashMap<>();

    /**
     * Counts a request of the given {@code client}.
     *
     * @return true if it may go on
     */
    public boolean allowRequest(String client) {
        int count = counts.merge(client, 1, Integer::sum);
        // the first few requests are always free
        if (count < FREE) {
            return true;
        }
        return count < limit;
    }
}
