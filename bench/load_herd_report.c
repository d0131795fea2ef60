/* load_herd_report.c - prints a herd's findings. */
#include "bench/load_herd_report.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const CAUSES[HERD_CAUSES] = {
    [HERD_COLD] = "cold", [HERD_EXPIRED] = "expired", [HERD_UPDATED] = "updated"};

static double per(uint64_t amount, uint64_t of)
{
    return of > 0 ? (double)amount / (double)of : 0;
}

static struct herd_rounds all_rounds(const struct herd_toll *toll)
{
    struct herd_rounds sum = {0};

    for (int i = 0; i < HERD_CAUSES; i++) {
        sum.rounds += toll->by[i].rounds;
        sum.fetches += toll->by[i].fetches;
        if (toll->by[i].fetches_max > sum.fetches_max)
            sum.fetches_max = toll->by[i].fetches_max;
    }
    return sum;
}

static double ms_at(const struct histogram *h, double fraction)
{
    return (double)histogram_at(h, fraction) / 1e6;
}

/* ---- JSON --------------------------------------------------------------- */

static void print_json_rounds(const char *name, const struct herd_rounds *r)
{
    printf(",\"%srounds\":%" PRIu64 ",\"%sfetches\":%" PRIu64 ",\"%sfetches_per_round\":%.3f"
           ",\"%sfetches_max\":%" PRIu64,
           name, r->rounds, name, r->fetches, name, per(r->fetches, r->rounds), name, r->fetches_max);
}

static void print_json_waits(const char *name, const struct histogram *h)
{
    printf(",\"%sp50_ms\":%.3f,\"%sp99_ms\":%.3f,\"%smax_ms\":%.3f", name, ms_at(h, 0.5), name,
           ms_at(h, 0.99), name, (double)histogram_max(h) / 1e6);
}

static void print_json(const struct herd_options *o, const struct herd_finding *f)
{
    struct herd_rounds all = all_rounds(&f->toll);

    printf("{\"driver\":\"%s\",\"clients\":%" PRIu32 ",\"keys\":%" PRIu32 ",\"fill_ms\":%" PRIu64
           ",\"ttl_ms\":%" PRIu64 ",\"seed\":%" PRIu64,
           o->driver_text, o->clients, o->keys, o->fill_ms, o->plan.ttl_ms, o->seed);
    printf(",\"seconds\":%.3f,\"reads\":%" PRIu64 ",\"hits\":%" PRIu64 ",\"met\":%" PRIu64
           ",\"avoided\":%" PRIu64,
           f->seconds, f->reads, f->hits, f->met, f->avoided);
    print_json_rounds("", &all);
    for (int i = 0; i < HERD_CAUSES; i++) {
        char name[16];

        snprintf(name, sizeof name, "%s_", CAUSES[i]);
        print_json_rounds(name, &f->toll.by[i]);
    }
    printf(",\"peak\":%" PRIu64 ",\"key_peak\":%" PRIu64 ",\"changes\":%" PRIu64, f->toll.peak,
           f->toll.key_peak, f->toll.changes);
    printf(",\"stale\":%" PRIu64 ",\"marked_stale\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"late\":%" PRIu64
           ",\"killed\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"unfinished\":%" PRIu64 ",\"requests\":%" PRIu64,
           f->stale, f->marked_stale, f->wrong, f->late, f->killed, f->errors, f->unfinished, f->requests);
    print_json_waits("", f->all_waits);
    print_json_waits("met_", f->met_waits);
    print_json_waits("lag_", f->lags);
    print_json_waits("turn_", f->turns);
    printf("}\n");
}

/* ---- text --------------------------------------------------------------- */

static void print_rounds(const char *name, const struct herd_rounds *r)
{
    if (r->rounds > 0)
        printf("  %-16s %" PRIu64 " times: %" PRIu64 " fetches, %.2f each, at most %" PRIu64 "\n", name,
               r->rounds, r->fetches, per(r->fetches, r->rounds), r->fetches_max);
}

static void print_waits(const char *name, const struct histogram *h)
{
    printf("  %-16s p50 %.2f p99 %.2f max %.2f (%" PRIu64 " reads)\n", name, ms_at(h, 0.5), ms_at(h, 0.99),
           (double)histogram_max(h) / 1e6, histogram_count(h));
}

static void print_text(const struct herd_options *o, const struct herd_finding *f)
{
    struct herd_rounds all = all_rounds(&f->toll);

    printf("%s: %" PRIu32 " clients, %" PRIu32 " keys, fetch %" PRIu64 " ms, ttl %.3g s, %.3g changes/s\n",
           o->driver_text, o->clients, o->keys, o->fill_ms, (double)o->plan.ttl_ms / 1000, o->update_rate);
    printf("  reads            %" PRIu64 " in %.2f s, %" PRIu64
           " of them met a missing key; %.2f requests each\n",
           f->reads, f->seconds, f->met, per(f->requests, f->reads));
    print_rounds("key was missing", &all);
    for (int i = 0; i < HERD_CAUSES; i++)
        print_rounds(CAUSES[i], &f->toll.by[i]);
    printf("  fetches avoided  %" PRIu64 "\n", f->avoided);
    printf("  origin's peak    %" PRIu64 " fetches at once, %" PRIu64 " of one key\n", f->toll.peak,
           f->toll.key_peak);
    printf("  stale values     %" PRIu64 ", and %" PRIu64 " marked as such (%" PRIu64 " changes)\n", f->stale,
           f->marked_stale, f->toll.changes);
    printf("  late fills       %" PRIu64 " refused\n", f->late);
    if (f->killed > 0)
        printf("  fillers killed   %" PRIu64 "\n", f->killed);
    print_waits("wait ms", f->all_waits);
    print_waits("  if missing", f->met_waits);
    printf("  of it our own    p99 %.2f max %.2f at the end of a fetch\n", ms_at(f->lags, 0.99),
           (double)histogram_max(f->lags) / 1e6);
    printf("  beside it        p99 %.2f max %.2f from an answer's arrival until it was looked at\n",
           ms_at(f->turns, 0.99), (double)histogram_max(f->turns) / 1e6);
    printf("  errors           %" PRIu64 "%s%s, %" PRIu64 " wrong values, %" PRIu64 " reads unfinished\n",
           f->errors, f->complaint[0] != '\0' ? ", first: " : "", f->complaint, f->wrong, f->unfinished);
}

void herd_report(const struct herd_options *o, const struct herd_finding *f)
{
    if (o->json)
        print_json(o, f);
    else
        print_text(o, f);
}
