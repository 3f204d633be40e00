/* The operations that XNNPACK of 2022 does not have, in plain C. Where TFLite has a kernel of its own for one, this
 * gives the same bytes; the comments name it. */
#ifndef EDGEQ_XNNPACK_PLAIN_H
#define EDGEQ_XNNPACK_PLAIN_H

#include "xnnpack_graph.h"

enum { TABLE_BLOCK = 16, POOL_CHANNELS = 256 };

static const void *data_of(const value_t *value) { return value->constant != NULL ? value->constant : value->buffer; }

/* 8 bits to 8 bits by a table: the first 256 for whole blocks of 16, the next 256 for what is left. TFLite's NEON
 * requantization rounds ties up in whole blocks and away from zero in the rest (optimized_ops.h, Requantize). */
static void run_table(const uint8_t *in, const uint8_t *tables, uint8_t *out, size_t count) {
  size_t blocks = count / TABLE_BLOCK * TABLE_BLOCK;
  for (size_t i = 0; i < blocks; i++) out[i] = tables[in[i]];
  for (size_t i = blocks; i < count; i++) out[i] = tables[256 + in[i]];
}

static void run_flip_sign(const uint8_t *in, uint8_t *out, size_t count) {
  size_t words = count / 4, left = words * 4;
  for (size_t i = 0; i < words; i++) {
    uint32_t word;
    memcpy(&word, in + 4 * i, 4);
    word ^= 0x80808080u;
    memcpy(out + 4 * i, &word, 4);
  }
  for (; left < count; left++) out[left] = in[left] ^ 0x80;
}

/* TFLite's reference_ops/softmax and kernels/internal/common.h: exponentials from a table by the distance to the row's
 * largest code. */
static void *softmax_table(float scale, float beta) {
  float *table = allocate(256 * sizeof(float));
  for (int i = 0; i < 256; i++) table[255 - i] = expf(-scale * beta * (float)i);
  return table;
}

static void run_softmax(const int8_t *in, int8_t *out, size_t rows, size_t depth, const float *table) {
  for (size_t row = 0; row < rows; row++, in += depth, out += depth) {
    int largest = -128;
    for (size_t i = 0; i < depth; i++) largest = in[i] > largest ? in[i] : largest;
    const float *shifted = table + 255 - largest;
    float sum = 0;
    for (size_t i = 0; i < depth; i++) sum += shifted[in[i]];
    float factor = 1.0f / (sum * (1.0f / 256.0f));
    for (size_t i = 0; i < depth; i++) {
      int code = (int)(shifted[in[i]] * factor + 0.5f) - 128;
      out[i] = (int8_t)(code > 127 ? 127 : code);
    }
  }
}

static size_t same_before(size_t size, size_t output, size_t kernel, size_t stride, bool same) {
  size_t reach = (output - 1) * stride + kernel;
  return same && reach > size ? (reach - size) / 2 : 0;
}

/* TFLite's optimized_integer_ops::AveragePool: pads are left out, ties go away from zero.
 * params: same, kernel [2], stride [2], least and greatest code. */
static void run_average_pool(const value_t *in, const value_t *out, const node_t *node) {
  const size_t height = in->dims[1], width = in->dims[2], channels = in->dims[3];
  const size_t kernel[2] = {(size_t)node->params[1], (size_t)node->params[2]};
  const size_t stride[2] = {(size_t)node->params[3], (size_t)node->params[4]};
  const size_t top = same_before(height, out->dims[1], kernel[0], stride[0], node->params[0]);
  const size_t left = same_before(width, out->dims[2], kernel[1], stride[1], node->params[0]);
  const int8_t *data = data_of(in);
  int8_t *to = out->buffer;
  int32_t sums[POOL_CHANNELS];
  for (size_t n = 0; n < out->dims[0]; n++, data += height * width * channels)
    for (size_t y = 0; y < out->dims[1]; y++)
      for (size_t x = 0; x < out->dims[2]; x++, to += channels) {
        size_t y0 = y * stride[0] > top ? y * stride[0] - top : 0, y1 = y * stride[0] + kernel[0] - top;
        size_t x0 = x * stride[1] > left ? x * stride[1] - left : 0, x1 = x * stride[1] + kernel[1] - left;
        y1 = y1 < height ? y1 : height;
        x1 = x1 < width ? x1 : width;
        int32_t count = (int32_t)((y1 - y0) * (x1 - x0));
        for (size_t first = 0; first < channels; first += POOL_CHANNELS) {
          size_t some = channels - first < POOL_CHANNELS ? channels - first : POOL_CHANNELS;
          memset(sums, 0, some * sizeof *sums);
          for (size_t v = y0; v < y1; v++)
            for (size_t u = x0; u < x1; u++) {
              const int8_t *from = data + (v * width + u) * channels + first;
              for (size_t c = 0; c < some; c++) sums[c] += from[c];
            }
          for (size_t c = 0; c < some; c++) {
            int32_t mean = (sums[c] + (sums[c] > 0 ? count / 2 : -(count / 2))) / count;
            mean = mean < node->params[5] ? node->params[5] : mean > node->params[6] ? node->params[6] : mean;
            to[first + c] = (int8_t)mean;
          }
        }
      }
}

/* The elements of a block of up to six dimensions from one place to another, in whole rows where both lie in rows. */
static void copy_block(uint8_t *to, const size_t *to_strides, const uint8_t *from, const size_t *from_strides,
                       const size_t *dims, uint32_t rank, size_t element) {
  if (rank == 0) {
    memcpy(to, from, element);
    return;
  }
  if (rank == 1 && to_strides[0] == element && from_strides[0] == element) {
    memcpy(to, from, dims[0] * element);
    return;
  }
  if (rank == 1 && element == 1) {
    for (size_t i = 0; i < dims[0]; i++) to[i * to_strides[0]] = from[i * from_strides[0]];
    return;
  }
  for (size_t i = 0; i < dims[0]; i++)
    copy_block(to + i * to_strides[0], to_strides + 1, from + i * from_strides[0], from_strides + 1, dims + 1, rank - 1,
               element);
}

static void row_strides(const value_t *value, size_t element, size_t *strides) {
  size_t step = element;
  for (uint32_t i = value->rank; i-- > 0;) {
    strides[i] = step;
    step *= value->dims[i];
  }
}

static void run_concatenation(const graph_t *graph, const node_t *node) {
  const value_t *out = result(graph, node);
  size_t element = element_bytes(out->type), axis = (size_t)node->params[0], to_strides[MAX_DIMS], strides[MAX_DIMS];
  uint8_t *to = out->buffer;
  row_strides(out, element, to_strides);
  for (uint32_t k = 0; k < node->operands; k++) {
    const value_t *in = operand(graph, node, k);
    row_strides(in, element, strides);
    /* What lies behind the axis is one row in both. */
    size_t dims[MAX_DIMS];
    memcpy(dims, in->dims, sizeof dims);
    dims[axis] *= to_strides[axis];
    size_t bytes_to[MAX_DIMS], bytes_from[MAX_DIMS];
    memcpy(bytes_to, to_strides, sizeof bytes_to);
    memcpy(bytes_from, strides, sizeof bytes_from);
    bytes_to[axis] = bytes_from[axis] = 1;
    copy_block(to, bytes_to, data_of(in), bytes_from, dims, (uint32_t)axis + 1, 1);
    to += in->dims[axis] * to_strides[axis];
  }
}

static void run_transpose(const value_t *in, const value_t *out, const node_t *node) {
  size_t element = element_bytes(in->type), to[MAX_DIMS], from[MAX_DIMS], moved[MAX_DIMS];
  row_strides(out, element, to);
  row_strides(in, element, from);
  for (uint32_t i = 0; i < in->rank; i++) moved[i] = from[node->params[i]];
  copy_block(out->buffer, to, data_of(in), moved, out->dims, in->rank, element);
}

static void run_slice(const value_t *in, const value_t *out, const node_t *node) {
  size_t element = element_bytes(in->type), to[MAX_DIMS], from[MAX_DIMS], start = 0;
  row_strides(out, element, to);
  row_strides(in, element, from);
  for (uint32_t i = 0; i < in->rank; i++) {
    start += (size_t)node->params[i] * from[i];
    from[i] *= (size_t)node->params[i + MAX_DIMS];
  }
  copy_block(out->buffer, to, (const uint8_t *)data_of(in) + start, from, out->dims, in->rank, element);
}

/* PADV2; params: as of PAD; the number (a code, if 8 bits) to fill with is the node's minimum. */
static void run_fill_pad(const value_t *in, const value_t *out, const node_t *node) {
  size_t element = element_bytes(in->type), to[MAX_DIMS], from[MAX_DIMS], start = 0;
  row_strides(out, element, to);
  row_strides(in, element, from);
  for (uint32_t i = 0; i < in->rank; i++) start += (size_t)node->params[i] * to[i];
  if (in->type == FLOAT32)
    for (size_t i = 0; i < out->count; i++) ((float *)out->buffer)[i] = node->minimum;
  else memset(out->buffer, (int)node->minimum & 0xff, out->bytes);
  copy_block((uint8_t *)out->buffer + start, to, data_of(in), from, in->dims, in->rank, element);
}

/* A mean over any axes, rounded as current XNNPACK's reduce does on x86: the sum of the codes is scaled, and the zero
 * points come in as one float before rounding to even. XNNPACK of 2022 rounds before it adds the zero point, which
 * differs where that is odd. `sums` has room for as many 32-bit numbers as the output. */
static void run_mean(const value_t *in, const value_t *out, const node_t *node, void *sums) {
  const uint32_t rank = in->rank, last = rank - 1;
  const size_t depth = in->dims[last];
  const bool depth_kept = !(node->params[0] >> last & 1);
  size_t strides[MAX_DIMS] = {0}, step = depth_kept ? depth : 1, at[MAX_DIMS] = {0}, place = 0;
  for (uint32_t i = last; i-- > 0;)
    if (!(node->params[0] >> i & 1)) strides[i] = step, step *= in->dims[i];
  memset(sums, 0, out->count * 4);
  for (size_t start = 0; start < in->count; start += depth) {
    if (in->type == INT8) {
      const int8_t *row = (const int8_t *)data_of(in) + start;
      int32_t *to = (int32_t *)sums + place, total = 0;
      if (depth_kept)
        for (size_t c = 0; c < depth; c++) to[c] += row[c];
      else
        for (size_t c = 0; c < depth; c++) total += row[c];
      *to += total;
    } else {
      const float *row = (const float *)data_of(in) + start;
      float *to = (float *)sums + place, total = 0;
      if (depth_kept)
        for (size_t c = 0; c < depth; c++) to[c] += row[c];
      else
        for (size_t c = 0; c < depth; c++) total += row[c];
      *to += total;
    }
    for (uint32_t i = last; i-- > 0;) {
      place += strides[i];
      if (++at[i] < in->dims[i]) break;
      place -= strides[i] * in->dims[i];
      at[i] = 0;
    }
  }
  const int32_t many = (int32_t)(in->count / out->count);
  if (in->type == FLOAT32) {
    for (size_t i = 0; i < out->count; i++) ((float *)out->buffer)[i] = ((float *)sums)[i] / (float)many;
    return;
  }
  const float scale = in->scale / out->scale * (1.0f / (float)many);
  const float bias = (float)out->zero_point - (float)(in->zero_point * many) * scale;
  for (size_t i = 0; i < out->count; i++) {
    float code = rintf((float)((int32_t *)sums)[i] * scale + bias);
    ((int8_t *)out->buffer)[i] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
  }
}

static void run_tanh(const float *in, float *out, size_t count) {
  for (size_t i = 0; i < count; i++) out[i] = tanhf(in[i]);
}

/* `own` is memory of the node: the table of a softmax, the sums of a mean, else NULL. */
static void run_plain(const graph_t *graph, const node_t *node, void *own) {
  const value_t *in = operand(graph, node, 0), *out = result(graph, node);
  switch (node->kind) {
    case TABLE: run_table(data_of(in), operand(graph, node, 1)->constant, out->buffer, in->count); break;
    case FLIP_SIGN: run_flip_sign(data_of(in), out->buffer, in->count); break;
    case SOFTMAX_INT8: {
      size_t depth = in->dims[in->rank - 1];
      run_softmax(data_of(in), out->buffer, in->count / depth, depth, own);
      break;
    }
    case AVERAGE_POOL_INT8: run_average_pool(in, out, node); break;
    case MEAN: run_mean(in, out, node, own); break;
    case CONCATENATION: run_concatenation(graph, node); break;
    case TRANSPOSE: run_transpose(in, out, node); break;
    case SLICE: run_slice(in, out, node); break;
    case FILL_PAD: run_fill_pad(in, out, node); break;
    case TANH: run_tanh(data_of(in), out->buffer, in->count); break;
    default: fail("a node of kind %u is not known", node->kind);
  }
}

#endif
