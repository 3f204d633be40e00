/* Runs graph files (edgeq/bench/xnnpack_graph.py) on XNNPACK of Debian 12: `xnnpack_runner JOBFILE`.
 *
 * A line of the job file, tab-separated: name, graph, samples, outputs, warm-up runs, measured runs, threads. Every
 * sample is run once and all outputs written; then the first sample is run for the measurement, each measured run
 * between two prctl() calls that QEMU's counting plugin watches for. A JSON line a job on stdout; an error is one line
 * on stderr. */
#include <sys/prctl.h>

#include "runner_protocol.h"
#include "xnnpack_checks.h"
#include "xnnpack_graph.h"
#include "xnnpack_steps.h"

typedef struct {
  const char *name, *model, *samples, *outputs;
  uint32_t warm_up, runs, threads;
} job_t;

static uint32_t read_number(const char *text, uint32_t least, uint32_t most, const char *what) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < least || value > most)
    fail("job file: %s must be %u to %u, not '%s'", what, least, most, text);
  return (uint32_t)value;
}

static job_t read_job(char *line) {
  char *fields[FIELDS];
  line[strcspn(line, "\r\n")] = 0;
  for (int i = 0; i < FIELDS; i++) {
    fields[i] = strsep(&line, "\t");
    if (fields[i] == NULL || *fields[i] == 0)
      fail("job file: a line of %d fields is wanted, field %d is missing", FIELDS, i + 1);
  }
  if (line != NULL) fail("job file: a line of %d fields is wanted, there are more", FIELDS);
  return (job_t){fields[0],
                 fields[1],
                 fields[2],
                 fields[3],
                 read_number(fields[4], 0, MAX_RUNS, "warm-up runs"),
                 read_number(fields[5], 0, MAX_RUNS, "measured runs"),
                 read_number(fields[6], 1, MAX_THREADS, "threads")};
}

static uint64_t total_bytes(const graph_t *graph, const uint32_t *indices, uint32_t count) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; i++) total += graph->values[indices[i]].bytes;
  return total;
}

static void load_sample(const graph_t *graph, FILE *file, const char *path) {
  for (uint32_t i = 0; i < graph->counts.inputs; i++) {
    value_t *value = &graph->values[graph->inputs[i]];
    if (fread(value->buffer, 1, value->bytes, file) != value->bytes) fail("%s: cannot be read", path);
  }
}

static uint64_t run_samples(const graph_t *graph, const plan_t *plan, const job_t *job) {
  FILE *file = fopen(job->samples, "rb"), *out = NULL;
  struct stat about;
  if (file == NULL || fstat(fileno(file), &about) != 0) fail("%s: cannot be read", job->samples);
  uint64_t size = total_bytes(graph, graph->inputs, graph->counts.inputs), bytes = (uint64_t)about.st_size;
  if (bytes == 0 || bytes % size)
    fail("%s: %llu bytes are no whole samples of %llu", job->samples, (unsigned long long)bytes,
         (unsigned long long)size);
  if ((out = fopen(job->outputs, "wb")) == NULL) fail("%s: cannot be written", job->outputs);
  for (uint64_t sample = 0; sample < bytes / size; sample++) {
    load_sample(graph, file, job->samples);
    run_plan(graph, plan);
    for (uint32_t i = 0; i < graph->counts.outputs; i++) {
      const value_t *value = &graph->values[graph->outputs[i]];
      if (fwrite(value->buffer, 1, value->bytes, out) != value->bytes) fail("%s: cannot be written", job->outputs);
    }
  }
  if (fclose(out) != 0) fail("%s: cannot be written", job->outputs);
  rewind(file);
  load_sample(graph, file, job->samples);
  fclose(file);
  return bytes / size;
}

static void run_job(const job_t *job, uint32_t region) {
  pthreadpool_t threads = job->threads > 1 ? pthreadpool_create(job->threads) : NULL;
  graph_t graph = read_graph(job->model);
  plan_t plan = make_plan(&graph, threads, job->model);
  uint64_t samples = run_samples(&graph, &plan, job), *times = allocate(job->runs * sizeof(uint64_t));
  for (uint32_t i = 0; i < job->warm_up; i++) run_plan(&graph, &plan);
  for (uint32_t i = 0; i < job->runs; i++) {
    uint64_t start = now_ns();
    prctl(MARKER, region, 1, 0, 0);
    run_plan(&graph, &plan);
    prctl(MARKER, region, 0, 0, 0);
    times[i] = now_ns() - start;
  }
  print_answer(job->name, samples, total_bytes(&graph, graph.inputs, graph.counts.inputs),
               total_bytes(&graph, graph.outputs, graph.counts.outputs), times, job->runs);
  fflush(stdout);
  free(times);
  free_plan(&graph, &plan);
  if (threads != NULL) pthreadpool_destroy(threads);
}

int main(int count, char **arguments) {
  if (count != 2) fail("usage: xnnpack_runner JOBFILE");
  FILE *file = fopen(arguments[1], "r");
  if (file == NULL) fail("%s: cannot be read", arguments[1]);
  if (xnn_initialize(NULL) != xnn_status_success) fail("XNNPACK does not support this processor");
  char *line = NULL;
  size_t room = 0;
  uint32_t jobs = 0;
  while (getline(&line, &room, file) > 0) {
    if (line[strspn(line, "\r\n")] == 0) continue;
    job_t job = read_job(line);
    run_job(&job, jobs++);
  }
  free(line);
  fclose(file);
  if (jobs == 0) fail("%s: has no job", arguments[1]);
  return 0;
}
