/* Runs .tflite files in LiteRT's own C library: `litert_runner JOBFILE`, the library in $EDGEQ_LITERT.
 *
 * A job is a line of tab-separated fields: name, model, input file, output file, warm-up runs, measured runs, threads.
 * The input file is samples back to back, a sample all input tensors' bytes in the file's order. Every sample is run
 * once and its outputs written; then the first one is run warm-up and measured times. One JSON line a job on stdout;
 * an error is one line on stderr and exit 1. A measured run lies between two prctl calls that targets/native/count.c
 * watches for.
 *
 * Needs libc alone, dlopens the rest.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "litert_api.h"
#include "runner_protocol.h"

enum { MAX_JOBFILE_BYTES = 1 << 20, MAX_TENSORS = 64 };
static const size_t MAX_SAMPLE_BYTES = (size_t)1 << 30; /* all inputs, or all outputs, of one run */
static const size_t MAX_MODEL_BYTES = INT32_MAX;        /* a flatbuffer's offsets are 32 bits, signed */

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

static const char *job_name = NULL;
static int own_stderr = -1; /* while LiteRT loads, file descriptor 2 is a buffer: its notices are not the user's */
static int notices = -1;    /* that buffer */

static void mute(void) {
    fflush(stderr);
    own_stderr = dup(2);
    notices = memfd_create("notices", 0);
    if (own_stderr >= 0 && notices >= 0) dup2(notices, 2);
}

static void unmute(void) {
    if (own_stderr >= 0) {
        dup2(own_stderr, 2);
        close(own_stderr);
        own_stderr = -1;
    }
    if (notices >= 0) close(notices);
    notices = -1;
}

/* The first line that LiteRT called an error while it was muted; empty if there is none. */
static void first_complaint(char *line, size_t size) {
    char text[4096];
    line[0] = 0;
    if (notices < 0) return;
    ssize_t length = pread(notices, text, sizeof text - 1, 0);
    if (length <= 0) return;
    text[length] = 0;
    for (char *saved, *part = strtok_r(text, "\n", &saved); part; part = strtok_r(NULL, "\n", &saved))
        if (strncmp(part, "ERROR: ", 7) == 0) {
            snprintf(line, size, "%s", part + 7);
            return;
        }
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    char complaint[300];
    first_complaint(complaint, sizeof complaint);
    unmute();
    fputs("litert_runner: ", stderr);
    if (job_name) fprintf(stderr, "job '%s': ", job_name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (complaint[0]) fprintf(stderr, " (LiteRT says: %s)", complaint);
    fputc('\n', stderr);
    exit(1);
}

static void check(Status status, const char *what) {
    if (status) fail("%s: LiteRT's status %d", what, status);
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    size_t size;
} File;

static File map_file(const char *path, const char *what, size_t limit) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0) fail("%s %s: %s", what, path, strerror(errno));
    if (!S_ISREG(status.st_mode)) fail("%s %s: not a file", what, path);
    if (status.st_size == 0) fail("%s %s: empty", what, path);
    if ((uintmax_t)status.st_size > limit)
        fail("%s %s: %jd bytes, at most %zu", what, path, (intmax_t)status.st_size, limit);
    File file = {.size = (size_t)status.st_size};
    file.bytes = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (file.bytes == MAP_FAILED) fail("%s %s: %s", what, path, strerror(errno));
    close(descriptor);
    return file;
}

static void unmap_file(File file) { munmap((void *)file.bytes, file.size); }

/* ---- A loaded model -------------------------------------------------------------------------------------------- */

typedef struct {
    size_t count;                       /* tensors, in the file's order */
    size_t bytes[MAX_TENSORS];          /* of each */
    size_t slots[MAX_TENSORS];          /* where it stands in the signature */
    TensorType types[MAX_TENSORS];
    TensorBuffer buffers[MAX_TENSORS];  /* in the signature's order */
    size_t sample_bytes;                /* of all */
} Side;

typedef struct {
    Environment environment;
    Model model;
    CompiledModel compiled;
    Side inputs, outputs;
} Network;

static size_t element_bytes(int type) {
    switch (type) {
        case 3: case 6: case 9: return 1;               /* uint8, bool, int8 */
        case 7: case 10: case 17: case 19: return 2;    /* int16, float16, uint16, bfloat16 */
        case 1: case 2: case 16: return 4;              /* float32, int32, uint32 */
        case 4: case 11: case 13: return 8;             /* int64, float64, uint64 */
        default: return 0;
    }
}

static size_t tensor_bytes(const TensorType *type, const char *side, size_t index) {
    size_t bytes = element_bytes(type->element_type);
    if (!bytes) fail("%s %zu has LiteRT's element type %d, which is not supported", side, index, type->element_type);
    for (unsigned int axis = 0; axis < type->layout.rank; axis++) {
        int32_t size = type->layout.dimensions[axis];
        if (size < 0) fail("%s %zu has a dynamic shape; give the model fixed shapes", side, index);
        if (size == 0) fail("%s %zu has no elements", side, index);
        if (bytes > MAX_SAMPLE_BYTES / (size_t)size)
            fail("%s %zu takes more than %zu bytes", side, index, MAX_SAMPLE_BYTES);
        bytes *= (size_t)size;
    }
    return bytes;
}

/* The shapes of one side, and for each tensor its place in the signature, which may list them in another order. */
static void describe(Side *side, Signature signature, Subgraph subgraph, bool input) {
    const char *word = input ? "input" : "output";
    size_t listed;
    check((input ? GetNumSubgraphInputs : GetNumSubgraphOutputs)(subgraph, &side->count), "counting tensors");
    check((input ? GetNumSignatureInputs : GetNumSignatureOutputs)(signature, &listed), "counting tensors");
    if (side->count < 1 || side->count > MAX_TENSORS)
        fail("%zu %ss, 1 to %d are supported", side->count, word, MAX_TENSORS);
    if (listed != side->count) fail("the signature lists %zu %ss, the graph has %zu", listed, word, side->count);
    bool taken[MAX_TENSORS] = {false};
    side->sample_bytes = 0;
    for (size_t i = 0; i < side->count; i++) {
        Tensor tensor, candidate;
        int kind;
        check((input ? GetSubgraphInput : GetSubgraphOutput)(subgraph, i, &tensor), "reading a tensor");
        check(GetTensorTypeId(tensor, &kind), "reading a tensor");
        if (kind != RANKED) fail("%s %zu has no rank", word, i);
        check(GetRankedTensorType(tensor, &side->types[i]), "reading a tensor");
        if (side->types[i].layout.rank > MAX_RANK) fail("%s %zu has more than %d dimensions", word, i, MAX_RANK);
        side->bytes[i] = tensor_bytes(&side->types[i], word, i);
        side->sample_bytes += side->bytes[i];
        if (side->sample_bytes > MAX_SAMPLE_BYTES) fail("the %ss take more than %zu bytes", word, MAX_SAMPLE_BYTES);
        size_t slot = 0;
        for (;; slot++) {
            if (slot == listed) fail("%s %zu is not in the signature", word, i);
            check((input ? GetSignatureInputTensorByIndex : GetSignatureOutputTensorByIndex)(
                      signature, slot, &candidate),
                  "reading the signature");
            if (candidate == tensor && !taken[slot]) break;
        }
        taken[slot] = true;
        side->slots[i] = slot;
    }
}

static void make_buffers(Side *side, Network *network, bool input) {
    for (size_t i = 0; i < side->count; i++) {
        Requirements needs;
        size_t size;
        check((input ? GetCompiledModelInputBufferRequirements : GetCompiledModelOutputBufferRequirements)(
                  network->compiled, 0, side->slots[i], &needs),
              "asking for a buffer's size");
        check(GetTensorBufferRequirementsBufferSize(needs, &size), "asking for a buffer's size");
        if (size < side->bytes[i])
            fail("%s %zu takes %zu bytes by its shape, %zu by LiteRT", input ? "input" : "output", i, side->bytes[i],
                 size);
        check(CreateManagedTensorBufferFromRequirements(network->environment, &side->types[i], needs,
                                                        &side->buffers[side->slots[i]]),
              "taking memory for a tensor");
    }
}

static Options compilation_options(int threads) {
    Options options;
    OpaqueOptions cpu;
    char text[32]; /* LiteRT reads the CPU's options as TOML */
    snprintf(text, sizeof text, "num_threads = %d\n", threads);
    char *payload = strdup(text);
    if (!payload) fail("out of memory");
    check(CreateOptions(&options), "creating options");
    check(SetOptionsHardwareAccelerators(options, ACCELERATOR_CPU), "choosing the CPU");
    check(CreateOpaqueOptions("xnnpack", payload, free, &cpu), "setting the number of threads");
    check(AddOpaqueOptions(options, cpu), "setting the number of threads");
    return options;
}

static void load(Network *network, File file, const char *path, int threads) {
    size_t signatures;
    Signature signature;
    Subgraph subgraph;
    mute();
    if (file.size < 8 || memcmp(file.bytes + 4, "TFL3", 4) != 0) fail("model %s: not a .tflite file", path);
    Status status = CreateModelFromBuffer(network->environment, file.bytes, file.size, &network->model);
    if (status) fail("model %s: LiteRT refuses the file, status %d; it is truncated or corrupt", path, status);
    check(GetNumModelSignatures(network->model, &signatures), "reading the signature");
    if (signatures < 1) fail("model %s: no signature", path);
    check(GetModelSignature(network->model, 0, &signature), "reading the signature");
    check(GetSignatureSubgraph(signature, &subgraph), "reading the signature");
    describe(&network->inputs, signature, subgraph, true);
    describe(&network->outputs, signature, subgraph, false);
    Options options = compilation_options(threads);
    status = CreateCompiledModel(network->environment, network->model, options, &network->compiled);
    if (status) fail("model %s: LiteRT cannot prepare it, status %d", path, status);
    DestroyOptions(options);
    make_buffers(&network->inputs, network, true);
    make_buffers(&network->outputs, network, false);
    unmute();
}

static void unload(Network *network) {
    for (size_t i = 0; i < network->inputs.count; i++) DestroyTensorBuffer(network->inputs.buffers[i]);
    for (size_t i = 0; i < network->outputs.count; i++) DestroyTensorBuffer(network->outputs.buffers[i]);
    DestroyCompiledModel(network->compiled);
    DestroyModel(network->model);
}

static void set_inputs(Network *network, const uint8_t *sample) {
    Side *side = &network->inputs;
    for (size_t i = 0; i < side->count; sample += side->bytes[i++]) {
        TensorBuffer buffer = side->buffers[side->slots[i]];
        void *memory;
        check(LockTensorBuffer(buffer, &memory, LOCK_FOR_WRITING), "writing an input");
        memcpy(memory, sample, side->bytes[i]);
        check(UnlockTensorBuffer(buffer), "writing an input");
    }
}

static void write_outputs(Network *network, FILE *out, const char *path) {
    Side *side = &network->outputs;
    for (size_t i = 0; i < side->count; i++) {
        TensorBuffer buffer = side->buffers[side->slots[i]];
        void *memory;
        check(LockTensorBuffer(buffer, &memory, LOCK_FOR_READING), "reading an output");
        if (fwrite(memory, 1, side->bytes[i], out) != side->bytes[i]) fail("output %s: %s", path, strerror(errno));
        check(UnlockTensorBuffer(buffer), "reading an output");
    }
}

static void run(Network *network) {
    Status status = RunCompiledModel(network->compiled, 0, network->inputs.count, network->inputs.buffers,
                                     network->outputs.count, network->outputs.buffers);
    if (status) fail("the run failed with LiteRT's status %d", status);
}

/* ---- Jobs ------------------------------------------------------------------------------------------------------ */

static long number(const char *text, const char *what, long low, long high) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        fail("%s '%s': not in %ld to %ld", what, text, low, high);
    return value;
}

static void do_job(char *fields[FIELDS], Environment environment, unsigned long region) {
    job_name = fields[0];
    const char *model_path = fields[1], *input_path = fields[2], *output_path = fields[3];
    long warm_up = number(fields[4], "warm-up runs", 0, MAX_RUNS);
    long measured = number(fields[5], "measured runs", 0, MAX_RUNS);
    int threads = (int)number(fields[6], "threads", 1, MAX_THREADS);

    static Network network;
    memset(&network, 0, sizeof network);
    network.environment = environment;
    File model = map_file(model_path, "model", MAX_MODEL_BYTES);
    File input = map_file(input_path, "input", SIZE_MAX / 2);
    load(&network, model, model_path, threads);
    size_t sample_bytes = network.inputs.sample_bytes;
    if (input.size % sample_bytes)
        fail("input %s: %zu bytes, not a multiple of the %zu bytes of a sample", input_path, input.size, sample_bytes);
    size_t samples = input.size / sample_bytes;

    FILE *out = fopen(output_path, "wb");
    if (!out) fail("output %s: %s", output_path, strerror(errno));
    for (size_t i = 0; i < samples; i++) {
        set_inputs(&network, input.bytes + i * sample_bytes);
        if (i == 0) mute(); /* LiteRT prepares the operations in the first run, and complains there */
        run(&network);
        if (i == 0) unmute();
        write_outputs(&network, out, output_path);
    }
    if (fclose(out)) fail("output %s: %s", output_path, strerror(errno));

    uint64_t *ns = malloc((measured ? (size_t)measured : 1) * sizeof *ns);
    if (!ns) fail("out of memory");
    set_inputs(&network, input.bytes);
    for (long i = 0; i < warm_up; i++) run(&network);
    for (long i = 0; i < measured; i++) {
        prctl(MARKER, region, 1UL, 0UL, 0UL);
        uint64_t start = now_ns();
        run(&network);
        ns[i] = now_ns() - start;
        prctl(MARKER, region, 0UL, 0UL, 0UL);
    }

    print_answer(fields[0], samples, sample_bytes, network.outputs.sample_bytes, ns, (size_t)measured);
    if (fflush(stdout)) fail("standard output: %s", strerror(errno));
    free(ns);
    unload(&network);
    unmap_file(input);
    unmap_file(model);
    job_name = NULL;
}

static void open_library(void) {
    const char *path = getenv("EDGEQ_LITERT");
    if (!path || !*path) fail("EDGEQ_LITERT is not set; give it the path of libLiteRt.so");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail("%s", dlerror());
#define LOOK_UP(result, name, parameters) \
    if (!(*(void **)&name = dlsym(library, "LiteRt" #name))) fail("%s: no function LiteRt" #name, path);
    LITERT_FUNCTIONS(LOOK_UP)
}

static Environment create_environment(void) {
    Environment environment;
    const EnvironmentOption options[] = {
        {.tag = OPTION_AUTO_REGISTER_ACCELERATORS, .value = {.type = ANY_INT, .as.int_value = ACCELERATOR_CPU}},
        {.tag = OPTION_MIN_LOGGER_SEVERITY, .value = {.type = ANY_INT, .as.int_value = SEVERITY_ERROR}},
    };
    mute();
    check(CreateEnvironment(2, options, &environment), "starting LiteRT");
    unmute();
    return environment;
}

static int split(char *line, char *fields[FIELDS]) {
    int count = 0;
    for (char *part = line; part; count++) {
        char *tab = strchr(part, '\t');
        if (tab) *tab = 0;
        if (count < FIELDS) fields[count] = part;
        part = tab ? tab + 1 : NULL;
    }
    return count;
}

int main(int argc, char **argv) {
    if (argc != 2) fail("usage: litert_runner JOBFILE");
    File file = map_file(argv[1], "job file", MAX_JOBFILE_BYTES);
    if (memchr(file.bytes, 0, file.size)) fail("job file %s: has a zero byte", argv[1]);
    char *text = malloc(file.size + 1);
    if (!text) fail("out of memory");
    memcpy(text, file.bytes, file.size);
    text[file.size] = 0;
    unmap_file(file);

    open_library();
    Environment environment = create_environment();
    unsigned long job = 0;
    for (char *line = text, *next; line && *line; line = next, job++) {
        char *fields[FIELDS], *end = strchr(line, '\n');
        if (end) *end = 0;
        next = end ? end + 1 : NULL;
        int count = split(line, fields);
        if (count != FIELDS) fail("job file %s: line %lu has %d fields, not %d", argv[1], job + 1, count, FIELDS);
        do_job(fields, environment, job);
    }
    DestroyEnvironment(environment);
    free(text);
    return 0;
}
