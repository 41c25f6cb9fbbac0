#include "tidewater.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const NAMES[] = {"debug", "info", "warning", "error"};

static void to_stderr(tw_level level, const char *line, void *context)
{
    (void)context;
    fprintf(stderr, "%s: %s\n", NAMES[level], line);
    if (level >= TW_ERROR)
        fflush(stderr);
}

static struct {
    tw_sink  sink;
    void    *context;
    tw_level level;
    unsigned long dropped;
} logger = {to_stderr, NULL, TW_INFO, 0};

void tw_log_set_sink(tw_sink sink, void *context)
{
    logger.sink = sink ? sink : to_stderr;
    logger.context = context;
}

void tw_log_set_level(tw_level level) { logger.level = level; }

void tw_log(tw_level level, const char *format, ...)
{
    char line[512];
    time_t now = time(NULL);
    struct tm *local = localtime(&now);
    size_t used = 0;
    va_list arguments;
    int wanted;

    if (level < logger.level) {
        logger.dropped++;
        return;
    }
    if (local != NULL)
        used = strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S ", local);
    va_start(arguments, format);
    wanted = vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    if (wanted >= (int)(sizeof line - used))
        memcpy(line + sizeof line - 4, "...", 4);
    logger.sink(level, line, logger.context);
}
