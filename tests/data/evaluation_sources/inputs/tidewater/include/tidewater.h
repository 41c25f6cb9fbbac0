/* Small containers and a logger. */
#ifndef TIDEWATER_H
#define TIDEWATER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A byte ring for one producer and one consumer; its size is a power of two. */
typedef struct tw_ring {
    uint8_t *data;
    size_t   mask;
    volatile size_t head;
    volatile size_t tail;
} tw_ring;

int    tw_ring_init(tw_ring *ring, size_t size);
void   tw_ring_free(tw_ring *ring);
size_t tw_ring_write(tw_ring *ring, const void *source, size_t count);
size_t tw_ring_read(tw_ring *ring, void *target, size_t count);
size_t tw_ring_used(const tw_ring *ring);

typedef enum { TW_DEBUG, TW_INFO, TW_WARNING, TW_ERROR } tw_level;
typedef void (*tw_sink)(tw_level level, const char *line, void *context);

void tw_log_set_sink(tw_sink sink, void *context);
void tw_log_set_level(tw_level level);
void tw_log(tw_level level, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif
