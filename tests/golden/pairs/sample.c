/*
 * Licensed under the MIT license.
 */

/**
 * @brief Counts how often a byte occurs in a buffer.
 * @param data the buffer
 */
size_t count_byte(const char *data, size_t size, char wanted)
{
    size_t count = 0;
    /* walk over the whole buffer once */
    for (size_t at = 0; at < size; at++) {
        count += data[at] == wanted;
    }
    return count;
}
