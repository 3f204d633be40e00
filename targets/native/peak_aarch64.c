/*
 * NEON peak loops for AArch64: 16 accumulators, so that no instruction waits for another (a latency of 8 at two a
 * cycle), and 8 rounds of them a turn, so that counting and jumping is 2 of 130 instructions. Zeros throughout: no
 * denormals. FMLA 8H and SDOT raise SIGILL on a CPU without them.
 */
#include "peak_loop.h"

enum { ROUNDS = 8, ACCUMULATORS = 16 };

#define LOOP(name, instruction)                                                                                        \
    static void name(unsigned long turns)                                                                              \
    {                                                                                                                  \
        __asm__ volatile(".arch armv8.2-a+fp16+dotprod\n"                                                              \
                         ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n"                                       \
                         "movi v\\r\\().2d, #0\n"                                                                      \
                         ".endr\n"                                                                                     \
                         ".balign 64\n"                                                                                \
                         "1:\n"                                                                                        \
                         ".rept 8\n"                                                                                   \
                         ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" instruction "\n"                            \
                         ".endr\n"                                                                                     \
                         ".endr\n"                                                                                     \
                         "subs %0, %0, #1\n"                                                                           \
                         "b.ne 1b\n"                                                                                   \
                         : "+r"(turns)                                                                                 \
                         :                                                                                             \
                         : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",      \
                           "v13", "v14", "v15", "v16", "v17");                                                         \
    }

LOOP(fmla_f32, "fmla v\\r\\().4s, v16.4s, v17.4s")
LOOP(fmla_f16, "fmla v\\r\\().8h, v16.8h, v17.8h")
LOOP(smlal_s8, "smlal v\\r\\().8h, v16.8b, v17.8b")
LOOP(sdot_s8, "sdot v\\r\\().4s, v16.16b, v17.16b")

static const struct peak_loop loops[] = {
    {"fmla-f32", fmla_f32, ROUNDS *ACCUMULATORS},
    {"fmla-f16", fmla_f16, ROUNDS *ACCUMULATORS},
    {"smlal-s8", smlal_s8, ROUNDS *ACCUMULATORS},
    {"sdot-s8", sdot_s8, ROUNDS *ACCUMULATORS},
};

int main(int argc, char **argv)
{
    return peak_main(argc, argv, loops, sizeof loops / sizeof *loops);
}
