/* What the native runners share of the protocol of edgeq/bench/jobs.py: its limits, the marker of a measured run that
 * count.c watches for, the clock, and the line that answers a job. */
#ifndef EDGEQ_RUNNER_PROTOCOL_H
#define EDGEQ_RUNNER_PROTOCOL_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { MARKER = 0x65647165, FIELDS = 7, MAX_RUNS = 1000000, MAX_THREADS = 256 };

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* A JSON string; what is no ASCII goes out as it came in. */
static void print_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20) printf("\\u%04x", *text);
        else putchar(*text);
    }
    putchar('"');
}

static void print_answer(const char *name, uint64_t samples, uint64_t input_bytes, uint64_t output_bytes,
                         const uint64_t *ns, size_t runs) {
    fputs("{\"name\": ", stdout);
    print_text(name);
    printf(", \"samples\": %" PRIu64 ", \"input_bytes\": %" PRIu64, samples, input_bytes);
    printf(", \"output_bytes\": %" PRIu64 ", \"ns\": [", output_bytes);
    for (size_t i = 0; i < runs; i++) printf("%s%" PRIu64, i ? ", " : "", ns[i]);
    puts("]}");
}

#endif
