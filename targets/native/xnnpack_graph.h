/* The graph file that edgeq/bench/xnnpack_format.py writes: read, and checked so that nothing after it can reach past a
 * tensor. Little-endian: header, values, nodes, operands, inputs, outputs, then data from a multiple of 16 on. */
#ifndef EDGEQ_XNNPACK_GRAPH_H
#define EDGEQ_XNNPACK_GRAPH_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the graph file is read as it lies in memory, which must be little-endian"
#endif

enum { MAX_DIMS = 6, MAX_PARAMS = 16, FORMAT_VERSION = 1, MAX_ITEMS = 1 << 16, SLACK_BYTES = 64 };
#define NONE UINT32_MAX
#define MAX_VALUE_BYTES ((uint64_t)1 << 30)

enum { FLOAT32 = 1, INT8, UINT8, INT32, CHANNEL_INT8, CHANNEL_INT32, RAW };

enum { /* what XNNPACK computes */
       CONVOLUTION = 1,
       DEPTHWISE_CONVOLUTION,
       FULLY_CONNECTED,
       ADD,
       SUBTRACT,
       MULTIPLY,
       GLOBAL_AVERAGE_POOL,
       AVERAGE_POOL,
       MAX_POOL,
       PAD,
       RESHAPE,
       RESIZE_BILINEAR,
       CLAMP,
       LOGISTIC,
       SOFTMAX,
       CONVERT,
       LEAKY_RELU,
       HARD_SWISH,
       XNNPACK_END,
       /* what this program computes */
       TABLE = 64,
       FLIP_SIGN,
       SOFTMAX_INT8,
       AVERAGE_POOL_INT8,
       MEAN,
       CONCATENATION,
       TRANSPOSE,
       SLICE,
       FILL_PAD,
       TANH,
       PLAIN_END
};

typedef struct {
  char magic[8];
  uint32_t version, values, nodes, operands, inputs, outputs, data_offset, data_bytes, reserved[2];
} header_t;

typedef struct {
  uint32_t type, rank, dims[MAX_DIMS];
  int32_t zero_point;
  float scale;
  uint32_t data_offset, scales_offset, channel_axis, reserved[3];
} stored_value_t;

typedef struct {
  uint32_t kind, first_operand, operands, output;
  float minimum, maximum;
  int32_t params[MAX_PARAMS];
  uint32_t reserved[2];
} node_t;

_Static_assert(sizeof(header_t) == 48 && sizeof(stored_value_t) == 64 && sizeof(node_t) == 96, "as the writer packs");

typedef struct {
  uint32_t type, rank;
  size_t dims[MAX_DIMS], count, bytes;
  int32_t zero_point;
  float scale;
  const float *scales; /* one a channel, or NULL */
  uint32_t channel_axis;
  const void *constant; /* or NULL */
  void *buffer;         /* of a value that is not constant and crosses a step, or NULL */
} value_t;

typedef struct {
  header_t counts;
  uint8_t *content;
  value_t *values;
  const node_t *nodes;
  const uint32_t *operands, *inputs, *outputs;
} graph_t;

static _Noreturn void __attribute__((format(printf, 1, 2))) fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  fputs("xnnpack_runner: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static void *allocate(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes + SLACK_BYTES) != 0) fail("out of memory: %zu bytes", bytes);
  memset(memory, 0, bytes + SLACK_BYTES); /* XNNPACK reads up to 16 bytes past an end */
  return memory;
}

static size_t element_bytes(uint32_t type) { return type == FLOAT32 || type == INT32 || type == CHANNEL_INT32 ? 4 : 1; }

static uint8_t *read_whole(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  struct stat about;
  if (file == NULL || fstat(fileno(file), &about) != 0) fail("%s: cannot be read", path);
  if (about.st_size < (off_t)sizeof(header_t))
    fail("%s: is no graph file (%lld bytes)", path, (long long)about.st_size);
  if ((uint64_t)about.st_size > MAX_VALUE_BYTES) fail("%s: is larger than 1 GiB", path);
  *bytes = (size_t)about.st_size;
  uint8_t *content = allocate(*bytes);
  if (fread(content, 1, *bytes, file) != *bytes) fail("%s: cannot be read", path);
  fclose(file);
  return content;
}

/* A part of the data block, or NULL for NONE. */
static const void *data_at(const graph_t *graph, uint32_t offset, uint64_t bytes, const char *path) {
  if (offset == NONE) return NULL;
  if (offset % 16 || offset + bytes > graph->counts.data_bytes) fail("%s: a constant lies outside the data", path);
  return graph->content + graph->counts.data_offset + offset;
}

static void read_value(graph_t *graph, const stored_value_t *stored, value_t *value, const char *path) {
  if (stored->type < FLOAT32 || stored->type > RAW) fail("%s: a value has an unknown type (%u)", path, stored->type);
  if (stored->rank > MAX_DIMS) fail("%s: a value has too many dimensions (%u)", path, stored->rank);
  *value =
      (value_t){.type = stored->type, .rank = stored->rank, .zero_point = stored->zero_point, .scale = stored->scale};
  uint64_t count = 1;
  for (uint32_t i = 0; i < value->rank; i++) {
    value->dims[i] = stored->dims[i];
    if (stored->dims[i] == 0) fail("%s: a value has a dimension of size 0", path);
    count *= stored->dims[i];
    if (count > MAX_VALUE_BYTES / 4) fail("%s: a value is larger than 1 GiB", path);
  }
  value->count = (size_t)count;
  value->bytes = value->count * element_bytes(value->type);
  value->constant = data_at(graph, stored->data_offset, value->bytes, path);
  bool quantized = value->type == INT8 || value->type == UINT8 || value->type == INT32;
  if (quantized && !(isfinite(value->scale) && value->scale > 0)) fail("%s: a value has a bad scale", path);
  int low = value->type == INT8 ? -128 : 0, high = value->type == INT8 ? 127 : value->type == UINT8 ? 255 : 0;
  if (quantized && (value->zero_point < low || value->zero_point > high)) fail("%s: a bad zero point", path);
  if (value->type == CHANNEL_INT8 || value->type == CHANNEL_INT32) {
    if (stored->channel_axis >= value->rank || stored->scales_offset == NONE) fail("%s: a channel without scale", path);
    value->channel_axis = stored->channel_axis;
    size_t channels = value->dims[stored->channel_axis];
    value->scales = data_at(graph, stored->scales_offset, 4 * (uint64_t)channels, path);
    for (size_t i = 0; i < channels; i++)
      if (!(isfinite(value->scales[i]) && value->scales[i] > 0)) fail("%s: a channel has a bad scale", path);
  }
}

static value_t *operand(const graph_t *graph, const node_t *node, uint32_t slot) {
  return &graph->values[graph->operands[node->first_operand + slot]];
}

static value_t *result(const graph_t *graph, const node_t *node) { return &graph->values[node->output]; }

static void check_node(const graph_t *graph, uint32_t index, const char *path);

/* Everything an operation reads must be there before it, and be written once. */
static void check_order(const graph_t *graph, const char *path) {
  const header_t *n = &graph->counts;
  bool *there = allocate(n->values);
  for (uint32_t i = 0; i < n->values; i++) there[i] = graph->values[i].constant != NULL;
  for (uint32_t i = 0; i < n->inputs; i++) {
    if (there[graph->inputs[i]]) fail("%s: input %u is a constant or an input already", path, i);
    there[graph->inputs[i]] = true;
  }
  for (uint32_t i = 0; i < n->nodes; i++) {
    const node_t *node = &graph->nodes[i];
    for (uint32_t k = 0; k < node->operands; k++)
      if (!there[graph->operands[node->first_operand + k]]) fail("%s: node %u reads what is not there yet", path, i);
    if (there[node->output]) fail("%s: node %u writes what is there already", path, i);
    there[node->output] = true;
    check_node(graph, i, path);
  }
  for (uint32_t i = 0; i < n->outputs; i++)
    if (!there[graph->outputs[i]] || graph->values[graph->outputs[i]].constant != NULL)
      fail("%s: output %u is never computed", path, i);
  free(there);
}

static graph_t read_graph(const char *path) {
  graph_t graph = {0};
  size_t bytes;
  graph.content = read_whole(path, &bytes);
  header_t *n = &graph.counts;
  memcpy(n, graph.content, sizeof *n);
  if (memcmp(n->magic, "EDGEQXNN", 8) != 0) fail("%s: is no graph file", path);
  if (n->version != FORMAT_VERSION) fail("%s: version %u of the format, not %d", path, n->version, FORMAT_VERSION);
  uint32_t counts[] = {n->values, n->nodes, n->operands, n->inputs, n->outputs};
  for (int i = 0; i < 5; i++)
    if (counts[i] > MAX_ITEMS) fail("%s: declares more items than a network has (%u)", path, counts[i]);
  uint64_t tables = sizeof *n + n->values * sizeof(stored_value_t) + n->nodes * sizeof(node_t);
  tables += 4 * ((uint64_t)n->operands + n->inputs + n->outputs);
  if (n->data_offset != (tables + 15) / 16 * 16 || (uint64_t)n->data_offset + n->data_bytes != bytes)
    fail("%s: is truncated or corrupted (%zu bytes)", path, bytes);
  if (n->nodes == 0 || n->inputs == 0 || n->outputs == 0) fail("%s: has no operation, input or output", path);
  const stored_value_t *stored = (const void *)(graph.content + sizeof *n);
  graph.nodes = (const void *)(stored + n->values);
  graph.operands = (const void *)(graph.nodes + n->nodes);
  graph.inputs = graph.operands + n->operands;
  graph.outputs = graph.inputs + n->inputs;
  for (uint64_t i = 0; i < (uint64_t)n->operands + n->inputs + n->outputs; i++)
    if (graph.operands[i] >= n->values) fail("%s: refers to a value that is not there", path);
  for (uint32_t i = 0; i < n->nodes; i++) {
    const node_t *node = &graph.nodes[i];
    if (node->output >= n->values || (uint64_t)node->first_operand + node->operands > n->operands)
      fail("%s: node %u refers to a value that is not there", path, i);
  }
  graph.values = allocate(n->values * sizeof(value_t));
  for (uint32_t i = 0; i < n->values; i++) read_value(&graph, &stored[i], &graph.values[i], path);
  check_order(&graph, path);
  return graph;
}

#endif
