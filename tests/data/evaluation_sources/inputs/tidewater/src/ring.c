#include "tidewater.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tw_ring_init(tw_ring *ring, size_t size)
{
    if (size == 0 || (size & (size - 1)) != 0)
        return -EINVAL;
    ring->data = calloc(size, 1);
    if (ring->data == NULL)
        return -ENOMEM;
    ring->mask = size - 1;
    ring->head = ring->tail = 0;
    return 0;
}

void tw_ring_free(tw_ring *ring)
{
    free(ring->data);
    memset(ring, 0, sizeof *ring);
}

size_t tw_ring_used(const tw_ring *ring)
{
    return ring->head - ring->tail;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

size_t tw_ring_write(tw_ring *ring, const void *source, size_t count)
{
    const uint8_t *bytes = source;
    size_t size = ring->mask + 1, start = ring->head & ring->mask, first;

    count = smaller(count, size - tw_ring_used(ring));
    first = smaller(count, size - start);
    memcpy(ring->data + start, bytes, first);
    memcpy(ring->data, bytes + first, count - first);
    ring->head += count;
    return count;
}

size_t tw_ring_read(tw_ring *ring, void *target, size_t count)
{
    uint8_t *bytes = target;
    size_t size = ring->mask + 1, start = ring->tail & ring->mask, first;

    count = smaller(count, tw_ring_used(ring));
    first = smaller(count, size - start);
    memcpy(bytes, ring->data + start, first);
    memcpy(bytes + first, ring->data, count - first);
    ring->tail += count;
    return count;
}
