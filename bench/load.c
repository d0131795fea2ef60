/* load.c - corral-load: drives a cache server and tells what a request cost it.
 *
 * The same generator speaks every dialect at every server, so that a
 * comparison is fair: requests are fixed text with keys dropped in, answers
 * are parsed and counted, nothing is allocated per request.
 *
 *   options -> data, request form, pick table   what is sent
 *           -> one driver per thread            the connections
 *           -> phases: preload, measured        each run by all drivers at once
 *           -> report */
#include "bench/load_cpu.h"
#include "bench/load_drive.h"
#include "bench/load_herd.h"
#include "bench/load_host.h"
#include "bench/load_options.h"
#include "bench/load_replay.h"
#include "bench/load_report.h"
#include "bench/load_watch.h"
#include "server/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PRELOAD_PIPELINE = 64,
    PRELOAD_BATCH_BYTES = 256 * 1024 /* large values: fewer at once */
};

struct runner {
    pthread_t thread;
    struct driver *driver;
    const struct drive_phase *phase;
    bool ok;
};

struct load {
    struct load_options options;
    struct drive_setup setup;
    struct load_data *data;
    struct request_form *form;
    struct pick_table *picks;
    struct runner *runners; /* one per thread */
    struct load_finding preload;
    struct load_finding measured;
    char why[512];
};

static bool fail(struct load *load, const char *why)
{
    snprintf(load->why, sizeof load->why, "%s", why);
    return false;
}

static uint32_t preload_pipeline(const struct load *load)
{
    size_t fits = PRELOAD_BATCH_BYTES / request_set_size(load->form);

    if (fits < 1)
        return 1;
    return fits < PRELOAD_PIPELINE ? (uint32_t)fits : PRELOAD_PIPELINE;
}

static void *run_thread(void *arg)
{
    struct runner *runner = arg;

    runner->ok = driver_run(runner->driver, runner->phase);
    return NULL;
}

/* All drivers at once; the first one on this thread. */
static bool run_drivers(struct load *load, const struct drive_phase *phase)
{
    uint32_t threads = load->options.threads, started = 1;

    for (uint32_t i = 0; i < threads; i++)
        load->runners[i].phase = phase;
    while (started < threads &&
           pthread_create(&load->runners[started].thread, NULL, run_thread, &load->runners[started]) == 0)
        started++;
    if (started == threads)
        run_thread(&load->runners[0]);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(load->runners[i].thread, NULL);
    if (started < threads)
        return fail(load, "cannot start a thread");
    for (uint32_t i = 0; i < threads; i++)
        if (!load->runners[i].ok)
            return fail(load, driver_complaint(load->runners[i].driver));
    return true;
}

static void collect(struct load *load, const struct drive_phase *phase, struct load_finding *f)
{
    int64_t end_ns = phase->start_ns;

    for (uint32_t i = 0; i < load->options.threads; i++) {
        const struct drive_result *r = driver_result(load->runners[i].driver);

        f->requests += r->requests;
        f->unsent += r->unsent;
        f->tally.hits += r->tally.hits;
        f->tally.misses += r->tally.misses;
        f->tally.stored += r->tally.stored;
        f->tally.errors += r->tally.errors;
        f->tally.corrupt += r->tally.corrupt;
        histogram_merge(f->latency, driver_latency(load->runners[i].driver));
        if (r->end_ns > end_ns)
            end_ns = r->end_ns;
    }
    f->seconds = (double)(end_ns - phase->start_ns) / 1e9;
}

static bool run_phase(struct load *load, struct drive_phase *phase, struct load_finding *f)
{
    struct cpu_reading before, after;
    pid_t pid = load->options.pid;

    f->ran = true;
    f->has_cpu = pid > 0;
    f->latency = histogram_new();
    if (f->latency == NULL)
        return fail(load, "not enough memory");
    if (f->has_cpu && !cpu_read(pid, &before))
        return fail(load, "--pid: no such process");
    phase->start_ns = clock_ticks_ns();
    if (!run_drivers(load, phase))
        return false;
    if (f->has_cpu && !cpu_read(pid, &after))
        return fail(load, "--pid: the process is gone");
    if (f->has_cpu)
        f->cpu = cpu_between(&before, &after);
    collect(load, phase, f);
    return true;
}

static bool run_phases(struct load *load)
{
    const struct load_options *o = &load->options;
    struct drive_phase preload = {
        .pipeline = preload_pipeline(load), .set_weight = 1, .sequential = true, .requests = o->keys};
    struct drive_phase measured = {.pipeline = o->pipeline,
                                   .get_weight = o->get_weight,
                                   .set_weight = o->set_weight,
                                   .sequential = o->sequential,
                                   .requests = o->requests,
                                   .seconds = o->seconds,
                                   .rate = o->rate};

    if (o->preload && !run_phase(load, &preload, &load->preload))
        return false;
    return (o->seconds <= 0 && o->requests == 0) || run_phase(load, &measured, &load->measured);
}

static bool build_load(struct load *load)
{
    const struct load_options *o = &load->options;
    uint32_t pipeline;

    load->data = load_data_new(o->key_prefix, o->keys, o->key_size, o->value_size);
    if (load->data == NULL)
        return fail(load, "not enough memory for the values");
    load->form = request_form_new(o->protocol, load->data, o->multiget, o->expiry);
    load->runners = calloc(o->threads, sizeof *load->runners);
    if (load->form == NULL || load->runners == NULL)
        return fail(load, "not enough memory");
    if (!o->sequential) {
        load->picks = pick_table_new(o->pick_kind, o->keys, o->zipf_exponent);
        if (load->picks == NULL)
            return fail(load, "not enough memory for the distribution's table");
    }
    pipeline = o->preload ? preload_pipeline(load) : 1;
    load->setup = (struct drive_setup){o, load->data, load->form, load->picks,
                                       pipeline > o->pipeline ? pipeline : o->pipeline};
    for (uint32_t i = 0; i < o->threads; i++) {
        load->runners[i].driver = driver_new(&load->setup, i, load->why, sizeof load->why);
        if (load->runners[i].driver == NULL)
            return false;
    }
    return true;
}

static void tear_down(struct load *load)
{
    for (uint32_t i = 0; load->runners != NULL && i < load->options.threads; i++)
        driver_free(&load->runners[i].driver);
    free(load->runners);
    histogram_free(&load->preload.latency);
    histogram_free(&load->measured.latency);
    pick_table_free(&load->picks);
    request_form_free(&load->form);
    load_data_free(&load->data);
}

/* Refusals do not stop a run (a full server may refuse on purpose), but nobody
 * should overlook them. Wrong values fail it: such a server's speed is no news. */
static bool judge(struct load *load)
{
    uint64_t errors = load->preload.tally.errors + load->measured.tally.errors;
    uint64_t corrupt = load->preload.tally.corrupt + load->measured.tally.corrupt;
    const char *complaint = "";

    for (uint32_t i = 0; i < load->options.threads && complaint[0] == '\0'; i++)
        complaint = driver_complaint(load->runners[i].driver);
    if (errors > 0)
        fprintf(stderr, "corral-load: the server refused %llu requests, the first with: %s\n",
                (unsigned long long)errors, complaint);
    if (corrupt == 0)
        return true;
    snprintf(load->why, sizeof load->why, "%llu values were not what had been written",
             (unsigned long long)corrupt);
    return false;
}

static bool drive(struct load *load)
{
    if (!build_load(load) || !run_phases(load))
        return false;
    load_report(&load->options, &load->preload, &load->measured);
    return judge(load);
}

static bool do_deed(struct load *load)
{
    switch (load->options.deed) {
    case DEED_DRIVE: return drive(load);
    case DEED_COUNT_ITEMS: return watch_count_items(&load->options, load->why, sizeof load->why);
    case DEED_AWAIT_EMPTY: return watch_await_empty(&load->options, load->why, sizeof load->why);
    case DEED_REPLAY: return replay_run(&load->options, load->why, sizeof load->why);
    }
    return false;
}

int main(int argc, char **argv)
{
    struct load load = {0};
    bool ok;

    if (argc > 1 && strcmp(argv[1], "herd") == 0)
        return herd_main(argc - 1, argv + 1);
    load_options_read(&load.options, argc, argv);
    if (load.options.pin >= 0)
        host_pin_to(load.options.pin);
    host_allow_connections(load.options.connections);
    ok = do_deed(&load);
    if (!ok && load.why[0] != '\0') /* what is wrong with a trace has been said */
        fprintf(stderr, "corral-load: %s\n", load.why);
    tear_down(&load);
    return ok ? 0 : 1;
}
