/* A graph as a sequence of steps: an XNNPACK runtime for operations in a row that XNNPACK has, a plain operation else.
 */
#ifndef EDGEQ_XNNPACK_STEPS_H
#define EDGEQ_XNNPACK_STEPS_H

#include <xnnpack.h>

#include "xnnpack_graph.h"
#include "xnnpack_plain.h"

typedef struct {
  uint32_t first, end;   /* nodes */
  xnn_runtime_t runtime; /* or NULL: one plain node */
  void *own;             /* memory of a plain node, or NULL */
} step_t;

typedef struct {
  step_t *steps;
  uint32_t count;
} plan_t;

static void check(enum xnn_status status, const char *path, const char *what, uint32_t node, uint32_t kind) {
  if (status != xnn_status_success)
    fail("%s: XNNPACK refuses %s (node %u of kind %u, status %d)", path, what, node, kind, (int)status);
}

static uint32_t define_value(xnn_subgraph_t subgraph, const value_t *value, uint32_t external, uint32_t flags,
                             const char *path, uint32_t index) {
  static const enum xnn_datatype types[] = {
      [FLOAT32] = xnn_datatype_fp32, [INT8] = xnn_datatype_qint8,          [UINT8] = xnn_datatype_quint8,
      [INT32] = xnn_datatype_qint32, [CHANNEL_INT8] = xnn_datatype_qcint8, [CHANNEL_INT32] = xnn_datatype_qcint32,
      [RAW] = xnn_datatype_invalid};
  uint32_t id = XNN_INVALID_VALUE_ID;
  enum xnn_datatype type = types[value->type];
  enum xnn_status status;
  if (value->scales != NULL)
    status =
        xnn_define_channelwise_quantized_tensor_value(subgraph, type, value->scales, value->rank, value->channel_axis,
                                                      value->dims, value->constant, external, flags, &id);
  else if (value->type == FLOAT32)
    status = xnn_define_tensor_value(subgraph, type, value->rank, value->dims, value->constant, external, flags, &id);
  else
    status = xnn_define_quantized_tensor_value(subgraph, type, value->zero_point, value->scale, value->rank,
                                               value->dims, value->constant, external, flags, &id);
  check(status, path, "a value", index, value->type);
  return id;
}

/* TFLite's SAME padding in front of and behind an axis. Written out, because the flag of XNNPACK of 2022 goes wrong
 * where a kernel is smaller than its stride. */
static void same_pads(const value_t *in, const value_t *out, size_t height, size_t width, const int32_t *stride,
                      const int32_t *dilation, uint32_t pads[4]) {
  const size_t kernel[2] = {height, width};
  for (int i = 0; i < 2; i++) {
    size_t size = in->dims[i + 1],
           reach = (out->dims[i + 1] - 1) * (size_t)stride[i] + (kernel[i] - 1) * (size_t)dilation[i] + 1;
    size_t total = reach > size ? reach - size : 0;
    pads[i == 0 ? 0 : 3] = (uint32_t)(total / 2); /* XNNPACK's order: top, right, bottom, left */
    pads[i == 0 ? 2 : 1] = (uint32_t)(total - total / 2);
  }
}

static enum xnn_status define_node(xnn_subgraph_t subgraph, const graph_t *graph, const node_t *node,
                                   const uint32_t *ids) {
  const int32_t *p = node->params;
  const value_t *in = operand(graph, node, 0), *filter = node->operands > 1 ? operand(graph, node, 1) : NULL;
  uint32_t x = ids[graph->operands[node->first_operand]], y = ids[node->output];
  uint32_t w = node->operands > 1 ? ids[graph->operands[node->first_operand + 1]] : XNN_INVALID_VALUE_ID;
  uint32_t b = node->operands > 2 ? ids[graph->operands[node->first_operand + 2]] : XNN_INVALID_VALUE_ID;
  const value_t *out = result(graph, node);
  const int32_t undilated[2] = {1, 1};
  uint32_t pad[4] = {0, 0, 0, 0};
  if ((node->kind == CONVOLUTION || node->kind == DEPTHWISE_CONVOLUTION) && p[0])
    same_pads(in, out, filter->dims[1], filter->dims[2], p + 1, p + 3, pad);
  if ((node->kind == AVERAGE_POOL || node->kind == MAX_POOL) && p[0])
    same_pads(in, out, (size_t)p[1], (size_t)p[2], p + 3, undilated, pad);
  float low = node->minimum, high = node->maximum;
  switch (node->kind) {
    case CONVOLUTION:
      return xnn_define_convolution_2d(subgraph, pad[0], pad[1], pad[2], pad[3], (uint32_t)filter->dims[1],
                                       (uint32_t)filter->dims[2], (uint32_t)p[1], (uint32_t)p[2], (uint32_t)p[3],
                                       (uint32_t)p[4], (uint32_t)p[5], filter->dims[3], filter->dims[0] / (size_t)p[5],
                                       low, high, x, w, b, y, 0);
    case DEPTHWISE_CONVOLUTION:
      return xnn_define_depthwise_convolution_2d(subgraph, pad[0], pad[1], pad[2], pad[3], (uint32_t)filter->dims[1],
                                                 (uint32_t)filter->dims[2], (uint32_t)p[1], (uint32_t)p[2],
                                                 (uint32_t)p[3], (uint32_t)p[4], (uint32_t)p[5], in->dims[3], low, high,
                                                 x, w, b, y, 0);
    case FULLY_CONNECTED: {
      bool flat = in->dims[in->rank - 1] == filter->dims[1];
      return xnn_define_fully_connected(subgraph, low, high, x, w, b, y, flat ? 0 : XNN_FLAG_TENSORFLOW_RESHAPE_2D);
    }
    case ADD: return xnn_define_add2(subgraph, low, high, x, w, y, 0);
    case SUBTRACT: return xnn_define_subtract(subgraph, low, high, x, w, y, 0);
    case MULTIPLY: return xnn_define_multiply2(subgraph, low, high, x, w, y, 0);
    case GLOBAL_AVERAGE_POOL: return xnn_define_global_average_pooling_2d(subgraph, low, high, x, y, 0);
    case AVERAGE_POOL:
      return xnn_define_average_pooling_2d(subgraph, pad[0], pad[1], pad[2], pad[3], (uint32_t)p[1], (uint32_t)p[2],
                                           (uint32_t)p[3], (uint32_t)p[4], low, high, x, y, 0);
    case MAX_POOL:
      return xnn_define_max_pooling_2d(subgraph, pad[0], pad[1], pad[2], pad[3], (uint32_t)p[1], (uint32_t)p[2],
                                       (uint32_t)p[3], (uint32_t)p[4], 1, 1, low, high, x, y, 0);
    case PAD: {
      size_t before[MAX_DIMS], after[MAX_DIMS];
      for (int i = 0; i < MAX_DIMS; i++) before[i] = (size_t)p[i], after[i] = (size_t)p[i + MAX_DIMS];
      return xnn_define_static_constant_pad(subgraph, before, after, 0.0f, x, y, 0);
    }
    case RESHAPE: return xnn_define_static_reshape(subgraph, out->rank, out->dims, x, y, 0);
    case RESIZE_BILINEAR: {
      uint32_t flags = p[0] ? XNN_FLAG_ALIGN_CORNERS : p[1] ? 0 : XNN_FLAG_TENSORFLOW_LEGACY_MODE;
      return xnn_define_static_resize_bilinear_2d(subgraph, out->dims[1], out->dims[2], x, y, flags);
    }
    case CLAMP: return xnn_define_clamp(subgraph, low, high, x, y, 0);
    case LOGISTIC: return xnn_define_sigmoid(subgraph, x, y, 0);
    case SOFTMAX: return xnn_define_softmax(subgraph, x, y, 0);
    case CONVERT: return xnn_define_convert(subgraph, x, y, 0);
    case LEAKY_RELU: return xnn_define_leaky_relu(subgraph, low, x, y, 0);
    case HARD_SWISH: return xnn_define_hardswish(subgraph, x, y, 0);
    default: return xnn_status_unsupported_parameter;
  }
}

/* The runtime of the nodes of a step; values with a buffer are its inputs and outputs. */
static xnn_runtime_t make_runtime(const graph_t *graph, const step_t *step, pthreadpool_t threads, const char *path) {
  const header_t *n = &graph->counts;
  uint32_t *ids = allocate(n->values * sizeof *ids), *used = allocate(n->values * sizeof *used), count = 0;
  uint8_t *flags = allocate(n->values);
  for (uint32_t i = step->first; i < step->end; i++) {
    const node_t *node = &graph->nodes[i];
    for (uint32_t k = 0; k <= node->operands; k++) {
      uint32_t index = k < node->operands ? graph->operands[node->first_operand + k] : node->output;
      if (!flags[index]) used[count++] = index;
      if (k == node->operands) flags[index] = XNN_VALUE_FLAG_EXTERNAL_OUTPUT;
      else if (!flags[index]) flags[index] = XNN_VALUE_FLAG_EXTERNAL_INPUT;
    }
  }
  struct xnn_external_value *outside = allocate(count * sizeof *outside);
  uint32_t outsiders = 0, next = 0;
  for (uint32_t i = 0; i < count; i++) outsiders += graph->values[used[i]].buffer != NULL;
  xnn_subgraph_t subgraph = NULL;
  check(xnn_create_subgraph(outsiders, 0, &subgraph), path, "a subgraph", step->first, 0);
  for (uint32_t i = 0; i < count; i++) {
    value_t *value = &graph->values[used[i]];
    bool external = value->buffer != NULL;
    ids[used[i]] = define_value(subgraph, value, external ? next : XNN_INVALID_VALUE_ID, external ? flags[used[i]] : 0,
                                path, used[i]);
    if (external) outside[next] = (struct xnn_external_value){ids[used[i]], value->buffer}, next++;
  }
  for (uint32_t i = step->first; i < step->end; i++)
    check(define_node(subgraph, graph, &graph->nodes[i], ids), path, "an operation", i, graph->nodes[i].kind);
  xnn_runtime_t runtime = NULL;
  check(xnn_create_runtime_v2(subgraph, threads, 0, &runtime), path, "operations from", step->first,
        graph->nodes[step->first].kind);
  check(xnn_setup_runtime(runtime, outsiders, outside), path, "the shapes from", step->first,
        graph->nodes[step->first].kind);
  xnn_delete_subgraph(subgraph);
  free(outside), free(flags), free(used), free(ids);
  return runtime;
}

/* Memory for the values that are not constant and that more than one step, or the outside, sees. */
static void make_buffers(graph_t *graph, const uint32_t *step_of_node, const char *path) {
  const header_t *n = &graph->counts;
  uint32_t *home = allocate(n->values * sizeof *home);
  bool *shared = allocate(n->values);
  memset(home, 0xff, n->values * sizeof *home);
  for (uint32_t i = 0; i < n->inputs; i++) shared[graph->inputs[i]] = true;
  for (uint32_t i = 0; i < n->outputs; i++) shared[graph->outputs[i]] = true;
  for (uint32_t i = 0; i < n->nodes; i++) {
    const node_t *node = &graph->nodes[i];
    home[node->output] = step_of_node[i];
    if (node->kind > XNNPACK_END) shared[node->output] = true;
    for (uint32_t k = 0; k < node->operands; k++) {
      uint32_t index = graph->operands[node->first_operand + k];
      if (home[index] != step_of_node[i]) shared[index] = true;
    }
  }
  uint64_t total = 0;
  for (uint32_t i = 0; i < n->values; i++) {
    if (!shared[i] || graph->values[i].constant != NULL) continue;
    total += graph->values[i].bytes;
    if (total > MAX_VALUE_BYTES) fail("%s: the values between the steps are larger than 1 GiB", path);
    graph->values[i].buffer = allocate(graph->values[i].bytes);
  }
  free(shared), free(home);
}

static plan_t make_plan(graph_t *graph, pthreadpool_t threads, const char *path) {
  uint32_t nodes = graph->counts.nodes;
  plan_t plan = {.steps = allocate(nodes * sizeof(step_t)), .count = 0};
  uint32_t *step_of_node = allocate(nodes * sizeof *step_of_node);
  for (uint32_t i = 0; i < nodes; i++) {
    bool joins = i > 0 && graph->nodes[i].kind < XNNPACK_END && graph->nodes[i - 1].kind < XNNPACK_END;
    if (!joins) plan.steps[plan.count++] = (step_t){.first = i};
    plan.steps[plan.count - 1].end = i + 1;
    step_of_node[i] = plan.count - 1;
  }
  make_buffers(graph, step_of_node, path);
  free(step_of_node);
  for (uint32_t i = 0; i < plan.count; i++) {
    step_t *step = &plan.steps[i];
    const node_t *node = &graph->nodes[step->first];
    if (node->kind < XNNPACK_END) step->runtime = make_runtime(graph, step, threads, path);
    else if (node->kind == SOFTMAX_INT8) step->own = softmax_table(operand(graph, node, 0)->scale, node->minimum);
    else if (node->kind == MEAN) step->own = allocate(result(graph, node)->count * 4);
  }
  return plan;
}

static void run_plan(const graph_t *graph, const plan_t *plan) {
  for (uint32_t i = 0; i < plan->count; i++) {
    const step_t *step = &plan->steps[i];
    if (step->runtime == NULL) run_plain(graph, &graph->nodes[step->first], step->own);
    else if (xnn_invoke_runtime(step->runtime) != xnn_status_success) fail("XNNPACK fails at node %u", step->first);
  }
}

static void free_plan(graph_t *graph, plan_t *plan) {
  for (uint32_t i = 0; i < plan->count; i++) {
    if (plan->steps[i].runtime != NULL) xnn_delete_runtime(plan->steps[i].runtime);
    free(plan->steps[i].own);
  }
  free(plan->steps);
  for (uint32_t i = 0; i < graph->counts.values; i++) free(graph->values[i].buffer);
  free(graph->values);
  free(graph->content);
}

#endif
