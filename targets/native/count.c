/*
 * A TCG plugin for QEMU 7.2's user-mode emulators: how often each translated block ran inside marked regions.
 *
 *     qemu-aarch64 -plugin count.so,out=FILE PROGRAM
 *
 * The program marks a region with prctl(0x65647165, region, 1, 0, 0) at its begin and prctl(0x65647165, region, 0, 0, 0)
 * at its end; it may enter any region any number of times, but only one at once. FILE is text, a record a line:
 *
 *     edgeq-count 1 TARGET THREADS                 TARGET as QEMU calls it, threads there ever were
 *     image PATH                                   numbered from 0
 *     block ADDRESS NARROW IMAGE OFFSET CODE       numbered from 0; NARROW: has a two-byte instruction
 *     region INDEX PASSES BLOCKS
 *     BLOCK EXECUTIONS                             BLOCKS times
 *     fault TEXT                                   markers that do not pair; then nothing else is of use
 *     end
 *
 * ADDRESS and CODE are hexadecimal, IMAGE is -1 where the code lies in no file. Counts are exact with one thread; adds of
 * several threads are not atomic.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is used of QEMU's plugin interface, version 1 (its header is not packaged) ---- */

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
    const char *target_name;
    struct {
        int min, cur;
    } version;
    bool system_emulation;
    struct {
        int smp_vcpus, max_vcpus;
    } system;
} qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned));
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t,
                                          void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                   uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);

/* ---- state ---- */

enum { MARKER = 0x65647165, CHUNK = 4096, NO_IMAGE = -1, UNKNOWN = -2 };

struct block {
    uint64_t address, host_address, executions, at_begin, offset;
    uint8_t *code;
    uint32_t bytes;
    int32_t image;
    bool narrow;
};

struct sum {
    size_t block;
    uint64_t executions;
};

struct region {
    uint64_t index, passes;
    struct sum *sums; /* ascending by block */
    size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block **chunks; /* blocks keep their address: translated code adds to them */
static size_t block_count, table_size, mapped_count;
static size_t *table; /* open addressing; block number + 1, 0 is free */
static struct region *regions;
static size_t region_count;
static struct region *current;
static bool inside;
static char **images;
static size_t image_count;
static int64_t prctl_number;
static unsigned threads;
static const char *fault;
static char *target, *out_path;
static pid_t owner;

static void *grown(void *old, size_t count, size_t size)
{
    void *result = reallocarray(old, count ? count : 1, size);
    if (!result) {
        fprintf(stderr, "edgeq count: out of memory\n");
        _exit(1);
    }
    return result;
}

static struct block *block_at(size_t i)
{
    return &chunks[i / CHUNK][i % CHUNK];
}

/* ---- blocks ---- */

static uint64_t hash_of(uint64_t address, const uint8_t *code, uint32_t bytes)
{
    uint64_t hash = 14695981039346656037u ^ address; /* FNV-1a */
    for (uint32_t i = 0; i < bytes; i++)
        hash = (hash ^ code[i]) * 1099511628211u;
    hash ^= hash >> 29;
    return hash * 0x9e3779b97f4a7c15u >> 16;
}

static void rehash(void)
{
    table_size = table_size ? table_size * 2 : 1 << 16;
    free(table);
    table = grown(NULL, table_size, sizeof *table);
    memset(table, 0, table_size * sizeof *table);
    for (size_t i = 0; i < block_count; i++) {
        const struct block *b = block_at(i);
        size_t slot = hash_of(b->address, b->code, b->bytes) & (table_size - 1);
        while (table[slot])
            slot = (slot + 1) & (table_size - 1);
        table[slot] = i + 1;
    }
}

/* The block with this address and code; takes over `code`. */
static struct block *find_block(uint64_t address, uint8_t *code, uint32_t bytes)
{
    if (block_count * 2 >= table_size)
        rehash();
    size_t slot = hash_of(address, code, bytes) & (table_size - 1);
    for (; table[slot]; slot = (slot + 1) & (table_size - 1)) {
        struct block *b = block_at(table[slot] - 1);
        if (b->address == address && b->bytes == bytes && !memcmp(b->code, code, bytes)) {
            free(code);
            return b;
        }
    }
    if (block_count % CHUNK == 0) {
        chunks = grown(chunks, block_count / CHUNK + 1, sizeof *chunks);
        chunks[block_count / CHUNK] = grown(NULL, CHUNK, sizeof **chunks);
    }
    table[slot] = ++block_count;
    struct block *b = block_at(block_count - 1);
    *b = (struct block){.address = address, .code = code, .bytes = bytes, .image = UNKNOWN};
    return b;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb), bytes = 0;
    bool narrow = false;
    uint8_t *code = grown(NULL, count, 4);
    for (size_t i = 0; i < count; i++) {
        const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        size_t size = qemu_plugin_insn_size(insn);
        if (size > 4)
            size = 4;
        memcpy(code + bytes, qemu_plugin_insn_data(insn), size);
        bytes += size;
        narrow |= size == 2;
    }
    pthread_mutex_lock(&lock);
    struct block *b = find_block(qemu_plugin_tb_vaddr(tb), code, bytes);
    b->narrow = narrow;
    if (count)
        b->host_address = (uintptr_t)qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0));
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->executions, 1);
    pthread_mutex_unlock(&lock);
}

/* ---- which file a block is from ---- */

static int32_t image_number(const char *path)
{
    for (size_t i = image_count; i-- > 0;)
        if (!strcmp(images[i], path))
            return i;
    images = grown(images, image_count + 1, sizeof *images);
    images[image_count] = strdup(path);
    return image_count++;
}

static int by_host_address(const void *left, const void *right)
{
    uint64_t a = (*(struct block *const *)left)->host_address, b = (*(struct block *const *)right)->host_address;
    return (a > b) - (a < b);
}

/* The guest's files are mapped into this very process, so its own map tells. Both lists ascend by address. */
static void map_new_blocks(void)
{
    size_t new_count = block_count - mapped_count;
    FILE *maps = new_count ? fopen("/proc/self/maps", "re") : NULL;
    if (!maps)
        return;
    struct block **fresh = grown(NULL, new_count, sizeof *fresh);
    for (size_t i = 0; i < new_count; i++)
        fresh[i] = block_at(mapped_count + i);
    qsort(fresh, new_count, sizeof *fresh, by_host_address);
    char *line = NULL;
    size_t capacity = 0, i = 0;
    uint64_t start, end, offset;
    int path_at;
    while (i < new_count && getline(&line, &capacity, maps) > 0) {
        line[strcspn(line, "\n")] = 0;
        path_at = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %*s %n", &start, &end, &offset, &path_at) < 3)
            continue;
        for (; i < new_count && fresh[i]->host_address < start; i++)
            fresh[i]->image = NO_IMAGE;
        for (; i < new_count && fresh[i]->host_address < end; i++) {
            bool in_file = path_at && line[path_at] == '/';
            fresh[i]->image = in_file ? image_number(line + path_at) : NO_IMAGE;
            fresh[i]->offset = fresh[i]->host_address - start + offset;
        }
    }
    free(line);
    free(fresh);
    fclose(maps);
    mapped_count = block_count;
}

/* ---- regions ---- */

static void set_fault(const char *text)
{
    if (!fault)
        fault = text;
}

static void begin_region(uint64_t index)
{
    size_t i = 0;
    while (i < region_count && regions[i].index != index)
        i++;
    if (i == region_count) {
        regions = grown(regions, region_count + 1, sizeof *regions);
        regions[region_count++] = (struct region){.index = index};
    }
    current = &regions[i];
    inside = true;
    for (size_t b = 0; b < block_count; b++)
        block_at(b)->at_begin = block_at(b)->executions;
}

static void end_region(void)
{
    struct sum *merged = grown(NULL, block_count, sizeof *merged);
    size_t count = 0, old = 0;
    for (size_t i = 0; i < block_count; i++) {
        const struct block *b = block_at(i);
        uint64_t executions = b->executions - b->at_begin; /* a block made meanwhile began at zero */
        if (old < current->count && current->sums[old].block == i)
            executions += current->sums[old++].executions;
        if (executions)
            merged[count++] = (struct sum){.block = i, .executions = executions};
    }
    free(current->sums);
    current->sums = grown(merged, count, sizeof *merged);
    current->count = count;
    current->passes++;
    inside = false;
    map_new_blocks();
}

static void on_syscall(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number != prctl_number || (uint32_t)a1 != MARKER || getpid() != owner)
        return;
    a2 = (uint32_t)a2;
    pthread_mutex_lock(&lock);
    if ((uint32_t)a3) {
        if (inside)
            set_fault("a region begins inside another");
        else
            begin_region(a2);
    } else if (!inside || current->index != a2) {
        set_fault("a region ends that has not begun");
    } else {
        end_region();
    }
    pthread_mutex_unlock(&lock);
}

static void on_thread(qemu_plugin_id_t id, unsigned vcpu)
{
    __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
}

/* ---- the result ---- */

static void write_block(FILE *out, const struct block *b)
{
    fprintf(out, "block %" PRIx64 " %d %d %" PRId64 " ", b->address, b->narrow, b->image >= 0 ? b->image : NO_IMAGE,
            b->image >= 0 ? (int64_t)b->offset : -1);
    for (uint32_t k = 0; k < b->bytes; k++) {
        putc("0123456789abcdef"[b->code[k] >> 4], out);
        putc("0123456789abcdef"[b->code[k] & 15], out);
    }
    putc('\n', out);
}

/* Only blocks of some region are written, so they are numbered anew, in `at_begin`, which has done its work. */
static void write_regions(FILE *out)
{
    for (size_t i = 0; i < block_count; i++)
        block_at(i)->at_begin = UINT64_MAX;
    uint64_t next = 0;
    for (size_t i = 0; i < region_count; i++)
        for (size_t k = 0; k < regions[i].count; k++) {
            struct block *b = block_at(regions[i].sums[k].block);
            if (b->at_begin == UINT64_MAX) {
                b->at_begin = next++;
                write_block(out, b);
            }
        }
    for (size_t i = 0; i < region_count; i++) {
        const struct region *r = &regions[i];
        fprintf(out, "region %" PRIu64 " %" PRIu64 " %zu\n", r->index, r->passes, r->count);
        for (size_t k = 0; k < r->count; k++)
            fprintf(out, "%" PRIu64 " %" PRIu64 "\n", block_at(r->sums[k].block)->at_begin, r->sums[k].executions);
    }
}

static void on_exit_of_guest(qemu_plugin_id_t id, void *data)
{
    if (getpid() != owner) /* a child that the guest forked */
        return;
    FILE *out = fopen(out_path, "we");
    if (!out) {
        fprintf(stderr, "edgeq count: %s: %s\n", out_path, strerror(errno));
        return;
    }
    pthread_mutex_lock(&lock);
    if (inside)
        set_fault("a region has no end");
    fprintf(out, "edgeq-count 1 %s %u\n", target, threads);
    for (size_t i = 0; i < image_count; i++)
        fprintf(out, "image %s\n", images[i]);
    if (fault)
        fprintf(out, "fault %s\n", fault);
    else
        write_regions(out);
    fprintf(out, "end\n");
    pthread_mutex_unlock(&lock);
    if (fclose(out))
        fprintf(stderr, "edgeq count: %s: %s\n", out_path, strerror(errno));
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out_path = strdup(argv[i] + 4);
    bool is_aarch64 = !strcmp(info->target_name, "aarch64");
    if (!out_path || info->system_emulation || (!is_aarch64 && strcmp(info->target_name, "arm"))) {
        fprintf(stderr, "edgeq count: needs out=FILE and a user-mode emulator of arm or aarch64\n");
        return -1;
    }
    target = strdup(info->target_name);
    prctl_number = is_aarch64 ? 167 : 172; /* Linux: asm-generic/unistd.h; arch/arm/tools/syscall.tbl */
    owner = getpid();
    qemu_plugin_register_vcpu_init_cb(id, on_thread);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
