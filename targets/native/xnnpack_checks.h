/* Whether the shapes and types of each operation of a graph file fit, before any of it runs. */
#ifndef EDGEQ_XNNPACK_CHECKS_H
#define EDGEQ_XNNPACK_CHECKS_H

#include "xnnpack_graph.h"

static bool same_shape(const value_t *a, const value_t *b) {
  return a->rank == b->rank && memcmp(a->dims, b->dims, sizeof a->dims) == 0;
}

static bool is_8_bit(const value_t *value) { return value->type == INT8 || value->type == UINT8; }

static bool is_activation(const value_t *value) { return is_8_bit(value) || value->type == FLOAT32; }

static bool in_range(const int32_t *params, int count, int32_t low, int32_t high) {
  for (int i = 0; i < count; i++)
    if (params[i] < low || params[i] > high) return false;
  return true;
}

/* The size of a window's output along one axis; 0 where it does not fit. TFLite's SAME and VALID. */
static size_t window_output(size_t size, size_t kernel, size_t stride, size_t dilation, bool same) {
  size_t reach = (kernel - 1) * dilation + 1;
  if (same) return (size + stride - 1) / stride;
  return size < reach ? 0 : (size - reach) / stride + 1;
}

static bool windows_fit(const value_t *in, const value_t *out, const size_t *kernel, const int32_t *stride,
                        const int32_t *dilation, bool same) {
  if (in->rank != 4 || out->rank != 4 || in->dims[0] != out->dims[0]) return false;
  for (int i = 0; i < 2; i++)
    if (kernel[i] > (1 << 15) ||
        out->dims[i + 1] != window_output(in->dims[i + 1], kernel[i], (size_t)stride[i], (size_t)dilation[i], same))
      return false;
  return true;
}

/* params: same, stride [2], dilation [2], groups or depth multiplier; operands: input, filter, bias if any. */
static bool convolution_fits(const graph_t *graph, const node_t *node, bool depthwise) {
  if (node->operands < 2 || node->operands > 3 || !in_range(node->params, 1, 0, 1)) return false;
  if (!in_range(node->params + 1, 4, 1, 1 << 15) || node->params[5] < 1) return false;
  const value_t *in = operand(graph, node, 0), *filter = operand(graph, node, 1), *out = result(graph, node);
  if (filter->rank != 4 || filter->constant == NULL || in->rank != 4 || out->rank != 4) return false;
  size_t many = (size_t)node->params[5], outputs = depthwise ? filter->dims[3] : filter->dims[0];
  if (depthwise ? filter->dims[0] != 1 || outputs != in->dims[3] * many
                : filter->dims[3] * many != in->dims[3] || outputs % many)
    return false;
  if (filter->type == CHANNEL_INT8 && filter->channel_axis != (depthwise ? 3 : 0)) return false;
  if (node->operands == 3) {
    const value_t *bias = operand(graph, node, 2);
    if (bias->constant == NULL || bias->rank != 1 || bias->count != outputs) return false;
    if ((bias->type == CHANNEL_INT32) != (filter->type == CHANNEL_INT8)) return false;
  }
  return out->dims[3] == outputs &&
         windows_fit(in, out, filter->dims + 1, node->params + 1, node->params + 3, node->params[0]);
}

static bool dense_fits(const graph_t *graph, const node_t *node) {
  if (node->operands < 2 || node->operands > 3) return false;
  const value_t *in = operand(graph, node, 0), *filter = operand(graph, node, 1), *out = result(graph, node);
  if (filter->rank != 2 || filter->constant == NULL || in->rank == 0 || out->rank == 0) return false;
  size_t outputs = filter->dims[0], inputs = filter->dims[1];
  if (in->count % inputs || out->dims[out->rank - 1] != outputs || out->count / outputs != in->count / inputs)
    return false;
  const value_t *bias = node->operands == 3 ? operand(graph, node, 2) : NULL;
  return bias == NULL || (bias->constant != NULL && bias->rank == 1 && bias->count == outputs);
}

static bool broadcast_fits(const graph_t *graph, const node_t *node) {
  if (node->operands != 2) return false;
  const value_t *in[2] = {operand(graph, node, 0), operand(graph, node, 1)}, *out = result(graph, node);
  if (out->rank != (in[0]->rank > in[1]->rank ? in[0]->rank : in[1]->rank)) return false;
  for (uint32_t i = 0; i < out->rank; i++) {
    size_t size = 1;
    for (int k = 0; k < 2; k++) {
      uint32_t missing = out->rank - in[k]->rank;
      size_t own = i < missing ? 1 : in[k]->dims[i - missing];
      if (own != 1 && size != 1 && own != size) return false;
      size = own > size ? own : size;
    }
    if (out->dims[i] != size) return false;
  }
  return true;
}

/* params: same, kernel [2], stride [2]. */
static bool pool_fits(const graph_t *graph, const node_t *node) {
  if (node->operands != 1 || !in_range(node->params, 1, 0, 1) || !in_range(node->params + 1, 4, 1, 1 << 15))
    return false;
  const value_t *in = operand(graph, node, 0), *out = result(graph, node);
  size_t kernel[2] = {(size_t)node->params[1], (size_t)node->params[2]};
  int32_t dilation[2] = {1, 1};
  return windows_fit(in, out, kernel, node->params + 3, dilation, node->params[0]) && in->dims[3] == out->dims[3];
}

/* params: before [6], after [6]. */
static bool pad_fits(const value_t *in, const value_t *out, const node_t *node) {
  if (in->rank != out->rank || !in_range(node->params, 2 * MAX_DIMS, 0, 1 << 24)) return false;
  for (uint32_t i = 0; i < in->rank; i++)
    if (out->dims[i] != in->dims[i] + (size_t)node->params[i] + (size_t)node->params[i + MAX_DIMS]) return false;
  return true;
}

/* params: begin [6], step [6]. */
static bool slice_fits(const value_t *in, const value_t *out, const node_t *node) {
  if (in->rank != out->rank) return false;
  for (uint32_t i = 0; i < in->rank; i++) {
    int32_t begin = node->params[i], step = node->params[i + MAX_DIMS];
    if (begin < 0 || step < 1 || (uint64_t)begin + (uint64_t)(out->dims[i] - 1) * (uint64_t)step >= in->dims[i])
      return false;
  }
  return true;
}

/* params: the input axis of each output axis. */
static bool transpose_fits(const value_t *in, const value_t *out, const node_t *node) {
  uint32_t seen = 0;
  if (in->rank != out->rank || !in_range(node->params, (int)in->rank, 0, (int32_t)in->rank - 1)) return false;
  for (uint32_t i = 0; i < in->rank; i++) {
    seen |= 1u << node->params[i];
    if (out->dims[i] != in->dims[node->params[i]]) return false;
  }
  return seen == (1u << in->rank) - 1;
}

/* params: axis. */
static bool concatenation_fits(const graph_t *graph, const node_t *node) {
  const value_t *out = result(graph, node);
  uint32_t axis = (uint32_t)node->params[0];
  if (axis >= out->rank || node->operands == 0) return false;
  size_t total = 0;
  for (uint32_t k = 0; k < node->operands; k++) {
    const value_t *in = operand(graph, node, k);
    if (in->rank != out->rank || in->type != out->type || !is_activation(in)) return false;
    for (uint32_t i = 0; i < out->rank; i++)
      if (i != axis && in->dims[i] != out->dims[i]) return false;
    if ((total += in->dims[axis]) > out->dims[axis]) return false;
  }
  return total == out->dims[axis];
}

/* params: a bit for each axis that is averaged over. */
static bool mean_fits(const value_t *in, const value_t *out, const node_t *node) {
  size_t left = 1;
  if (in->rank == 0 || node->params[0] < 1 || node->params[0] >= 1 << in->rank) return false;
  for (uint32_t i = 0; i < in->rank; i++)
    if (!(node->params[0] >> i & 1)) left *= in->dims[i];
  if (in->count / left > 1 << 23) return false; /* the sum of that many codes fits 32 bits */
  return out->count == left && in->type == out->type && (in->type == INT8 || in->type == FLOAT32);
}

static bool node_fits(const graph_t *graph, const node_t *node) {
  const value_t *in = operand(graph, node, 0), *out = result(graph, node);
  bool one = node->operands == 1, same = in->type == out->type;
  if (!is_activation(in) || !is_activation(out)) return false;
  switch (node->kind) {
    case CONVOLUTION: return convolution_fits(graph, node, false);
    case DEPTHWISE_CONVOLUTION: return convolution_fits(graph, node, true);
    case FULLY_CONNECTED: return dense_fits(graph, node);
    case ADD:
    case SUBTRACT:
    case MULTIPLY: return broadcast_fits(graph, node) && is_activation(operand(graph, node, 1));
    case GLOBAL_AVERAGE_POOL:
      return one && same && in->rank == 4 && out->rank >= 1 && out->dims[out->rank - 1] == in->dims[3] &&
             out->count == in->dims[0] * in->dims[3];
    case AVERAGE_POOL:
    case MAX_POOL: return same && pool_fits(graph, node);
    case AVERAGE_POOL_INT8:
      /* the sum of that many codes fits 32 bits */
      return same && in->type == INT8 && pool_fits(graph, node) && in_range(node->params + 5, 2, -128, 127) &&
             node->params[1] * node->params[2] <= 1 << 23;
    case PAD: return one && same && pad_fits(in, out, node);
    case FILL_PAD:
      return one && same && pad_fits(in, out, node) && node->minimum >= -3.4e38f && node->minimum <= 3.4e38f &&
             (in->type == FLOAT32 || (node->minimum >= -128 && node->minimum <= 255));
    case RESHAPE: return one && same && in->count == out->count;
    case RESIZE_BILINEAR:
      return one && same && in->rank == 4 && out->rank == 4 && in->dims[0] == out->dims[0] &&
             in->dims[3] == out->dims[3];
    case CONVERT: return one && same_shape(in, out);
    case SOFTMAX: return one && same && same_shape(in, out) && in->rank > 0;
    case CLAMP:
    case LOGISTIC:
    case LEAKY_RELU:
    case HARD_SWISH: return one && same && same_shape(in, out);
    case TANH: return one && same && same_shape(in, out) && in->type == FLOAT32;
    case TABLE: {
      const value_t *table = node->operands == 2 ? operand(graph, node, 1) : NULL;
      return table != NULL && table->type == RAW && table->count == 512 && table->constant != NULL &&
             same_shape(in, out) && is_8_bit(in) && is_8_bit(out);
    }
    case FLIP_SIGN: return one && same_shape(in, out) && is_8_bit(in) && is_8_bit(out);
    case SOFTMAX_INT8:
      return one && same && same_shape(in, out) && in->type == INT8 && in->rank > 0 && isfinite(node->minimum) &&
             node->minimum > 0;
    case MEAN: return one && mean_fits(in, out, node);
    case CONCATENATION: return concatenation_fits(graph, node);
    case TRANSPOSE: return one && same && transpose_fits(in, out, node);
    case SLICE: return one && same && slice_fits(in, out, node);
    default: return false;
  }
}

static void check_node(const graph_t *graph, uint32_t index, const char *path) {
  const node_t *node = &graph->nodes[index];
  if (node->operands == 0 || !node_fits(graph, node))
    fail("%s: node %u of kind %u has operands that do not fit", path, index, node->kind);
}

#endif
