/* load_herd_run.h - the herd itself: clients, a writer per kind of client, the origin between them.
 *
 * One thread, so that "acknowledged before" and "started after" have one
 * meaning: the order in which this thread saw them. */
#ifndef CORRAL_BENCH_LOAD_HERD_RUN_H
#define CORRAL_BENCH_LOAD_HERD_RUN_H

#include "bench/load_herd_options.h"
#include "bench/load_herd_truth.h"
#include "bench/load_histogram.h"

struct herd_finding {
    double seconds;
    uint64_t reads;        /* that ended with a value */
    uint64_t hits;         /* of those, values from the cache */
    uint64_t met;          /* of those, that fetched or came while the key was being filled */
    uint64_t avoided;      /* came while it was being filled, and did well without a fetch */
    uint64_t stale;        /* too old, and nothing said so */
    uint64_t marked_stale; /* too old, and marked as such by the server */
    uint64_t wrong;        /* never written, or not this key's */
    uint64_t late;         /* fills the server refused because their right was gone */
    uint64_t killed;
    uint64_t errors;     /* refusals, lost connections, answers that fit nothing */
    uint64_t unfinished; /* reads given up when the run had to end */
    uint64_t requests;   /* sent to the server by readers */
    struct herd_toll toll;
    struct histogram *all_waits; /* from the start of a read to its value, or to the end of the run */
    struct histogram *met_waits; /* of those that met a missing key */
    struct histogram *lags;      /* how late fetches ended because this program was busy */
    struct histogram *turns;     /* how long answers lay here before they were looked at; it owns all four */
    char complaint[160];         /* the first error's words, or "" */
};

/* False and a sentence in `why` when the server cannot be reached (any more). */
bool herd_run(const struct herd_options *o, struct herd_finding *f, char *why, size_t why_size);
void herd_finding_free(struct herd_finding *f);

#endif
