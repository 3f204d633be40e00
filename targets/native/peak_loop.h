/*
 * What the NEON peak loops share: the command line, the clock and the marker of a measured region.
 *
 *     peak_ARCH LOOP TURNS RUNS
 *
 * prints {"name": LOOP, "instructions": multiply-accumulate instructions of a run, "ns": [a time for each run]}.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { MARKER = 0x65647165, MAX_RUNS = 1000 };

struct peak_loop {
    const char *name;
    void (*run)(unsigned long turns);
    unsigned instructions; /* multiply-accumulates a turn */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int peak_main(int argc, char **argv, const struct peak_loop *loops, size_t count)
{
    char *end = "";
    unsigned long turns = argc == 4 ? strtoul(argv[2], &end, 10) : 0;
    unsigned long runs = argc == 4 && !*end ? strtoul(argv[3], &end, 10) : 0;
    const struct peak_loop *loop = NULL;
    for (size_t i = 0; argc == 4 && i < count; i++)
        if (!strcmp(loops[i].name, argv[1]))
            loop = &loops[i];
    if (!loop || *end || !turns || !runs || runs > MAX_RUNS) {
        fprintf(stderr, "usage: LOOP TURNS RUNS\n");
        return 1;
    }
    loop->run(turns); /* the clock rises, the code is in the cache */
    printf("{\"name\": \"%s\", \"instructions\": %" PRIu64 ", \"ns\": [", loop->name,
           (uint64_t)turns * loop->instructions);
    for (unsigned long run = 0; run < runs; run++) {
        int64_t begin = now_ns();
        prctl(MARKER, 0, 1, 0, 0);
        loop->run(turns);
        prctl(MARKER, 0, 0, 0, 0);
        printf("%s%" PRId64, run ? ", " : "", now_ns() - begin);
    }
    printf("]}\n");
    return 0;
}
