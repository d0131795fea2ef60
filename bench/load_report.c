/* load_report.c - prints findings. */
#include "bench/load_report.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    double fraction;
} PERCENTILES[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

enum { PERCENTILE_COUNT = sizeof PERCENTILES / sizeof PERCENTILES[0] };

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0;
}

static double keys_of(const struct load_finding *f)
{
    const struct reply_tally *t = &f->tally;

    return (double)(t->hits + t->misses + t->stored);
}

static const char *protocol_name(enum load_protocol protocol)
{
    switch (protocol) {
    case LOAD_RESP: return "resp";
    case LOAD_MEMCACHE: return "memcache";
    case LOAD_META: return "meta";
    }
    return "?";
}

/* Members of a JSON object, each preceded by a comma. */
static void print_json_finding(const char *prefix, const struct load_finding *f)
{
    const struct reply_tally *t = &f->tally;
    double requests = (double)f->requests;

    printf(",\"%srequests\":%" PRIu64 ",\"%sseconds\":%.4f,\"%sops_per_second\":%.0f", prefix, f->requests,
           prefix, f->seconds, prefix, per(requests, f->seconds));
    printf(",\"%skeys\":%.0f,\"%shits\":%" PRIu64 ",\"%smisses\":%" PRIu64 ",\"%sstored\":%" PRIu64, prefix,
           keys_of(f), prefix, t->hits, prefix, t->misses, prefix, t->stored);
    printf(",\"%serrors\":%" PRIu64 ",\"%scorrupt\":%" PRIu64 ",\"%sunsent\":%" PRIu64, prefix, t->errors,
           prefix, t->corrupt, prefix, f->unsent);
    if (f->has_cpu)
        printf(",\"%scpu_ns\":%.1f,\"%scpu_user_ns\":%.1f,\"%scpu_system_ns\":%.1f,\"%scpu_ns_per_key\":%.1f",
               prefix, per(f->cpu.total_ns, requests), prefix, per(f->cpu.user_ns, requests), prefix,
               per(f->cpu.system_ns, requests), prefix, per(f->cpu.total_ns, keys_of(f)));
    for (int i = 0; i < PERCENTILE_COUNT; i++)
        printf(",\"%s%s_us\":%.1f", prefix, PERCENTILES[i].name,
               (double)histogram_at(f->latency, PERCENTILES[i].fraction) / 1e3);
    printf(",\"%smax_us\":%.1f", prefix, (double)histogram_max(f->latency) / 1e3);
}

static void print_json(const struct load_options *o, const struct load_finding *preload,
                       const struct load_finding *measured)
{
    printf("{\"protocol\":\"%s\",\"connections\":%" PRIu32 ",\"pipeline\":%" PRIu32 ",\"multiget\":%" PRIu32
           ",\"threads\":%" PRIu32,
           protocol_name(o->protocol), o->connections, o->pipeline, o->multiget, o->threads);
    if (preload->ran)
        print_json_finding("preload_", preload);
    if (measured->ran)
        print_json_finding("", measured);
    printf("}\n");
}

static void print_text(const char *title, const struct load_finding *f)
{
    const struct reply_tally *t = &f->tally;
    double requests = (double)f->requests;

    printf("%s\n", title);
    printf("  requests         %" PRIu64 " in %.3f s, %.0f a second\n", f->requests, f->seconds,
           per(requests, f->seconds));
    printf("  keys             %" PRIu64 " hit, %" PRIu64 " missing, %" PRIu64 " stored\n", t->hits,
           t->misses, t->stored);
    printf("  errors           %" PRIu64 " refused, %" PRIu64 " wrong values", t->errors, t->corrupt);
    if (f->unsent > 0)
        printf(", %" PRIu64 " never sent: the server is slower than --rate", f->unsent);
    printf("\n");
    if (f->has_cpu)
        printf("  server CPU       %.0f ns a request (user %.0f, system %.0f), %.0f ns a key\n",
               per(f->cpu.total_ns, requests), per(f->cpu.user_ns, requests), per(f->cpu.system_ns, requests),
               per(f->cpu.total_ns, keys_of(f)));
    printf("  latency us      ");
    for (int i = 0; i < PERCENTILE_COUNT; i++)
        printf(" %s %.1f", PERCENTILES[i].name,
               (double)histogram_at(f->latency, PERCENTILES[i].fraction) / 1e3);
    printf(" max %.1f\n", (double)histogram_max(f->latency) / 1e3);
}

void load_report(const struct load_options *o, const struct load_finding *preload,
                 const struct load_finding *measured)
{
    if (o->json) {
        print_json(o, preload, measured);
        return;
    }
    if (preload->ran)
        print_text("preload", preload);
    if (measured->ran)
        print_text("measured", measured);
}
