/*
 * NEON peak loops for ARMv7: 12 accumulators (the other four Q registers hold what is multiplied), and 10 rounds of them
 * a turn, so that counting and jumping is 2 of 122 instructions. Zeros throughout: no denormals.
 */
#include "peak_loop.h"

enum { ROUNDS = 10, ACCUMULATORS = 12 };

#define LOOP(name, instruction)                                                                                        \
    static void name(unsigned long turns)                                                                              \
    {                                                                                                                  \
        __asm__ volatile(".irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"                                             \
                         "vmov.i32 q\\r, #0\n"                                                                         \
                         ".endr\n"                                                                                     \
                         ".balign 64\n"                                                                                \
                         "1:\n"                                                                                        \
                         ".rept 10\n"                                                                                  \
                         ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11\n" instruction "\n"                                        \
                         ".endr\n"                                                                                     \
                         ".endr\n"                                                                                     \
                         "subs %0, %0, #1\n"                                                                           \
                         "bne 1b\n"                                                                                    \
                         : "+r"(turns)                                                                                 \
                         :                                                                                             \
                         : "cc", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12",      \
                           "q13", "q14", "q15");                                                                       \
    }

LOOP(vmla_f32, "vmla.f32 q\\r, q12, q13")
LOOP(vmlal_s8, "vmlal.s8 q\\r, d24, d26")

static const struct peak_loop loops[] = {
    {"vmla-f32", vmla_f32, ROUNDS *ACCUMULATORS},
    {"vmlal-s8", vmlal_s8, ROUNDS *ACCUMULATORS},
};

int main(int argc, char **argv)
{
    return peak_main(argc, argv, loops, sizeof loops / sizeof *loops);
}
