/* load_herd.c - corral-load herd: what a cache does for its origin when everybody wants the same key.
 *
 *   options -> run: clients -> drivers (load_herd_read) -> the server
 *                      |---> the origin (load_herd_truth), which knows every version
 *           -> report */
#include "bench/load_herd.h"

#include "bench/load_herd_report.h"
#include "bench/load_host.h"

#include <stdio.h>

/* Stale values are a finding. Wrong ones, or no value at all, are not worth reporting on. */
static bool is_sound(const struct herd_finding *f, char *why, size_t why_size)
{
    if (f->wrong > 0)
        snprintf(why, why_size, "%llu values were not what had been written", (unsigned long long)f->wrong);
    else if (f->reads == 0)
        snprintf(why, why_size, "no read ended with a value%s%s", f->complaint[0] != '\0' ? ": " : "",
                 f->complaint);
    return f->wrong == 0 && f->reads > 0;
}

int herd_main(int argc, char **argv)
{
    struct herd_options options;
    struct herd_finding finding;
    char why[512] = "";
    bool ok;

    herd_options_read(&options, argc, argv);
    if (options.pin >= 0)
        host_pin_to(options.pin);
    host_allow_connections(options.clients);
    ok = herd_run(&options, &finding, why, sizeof why);
    if (ok && finding.reads > 0)
        herd_report(&options, &finding);
    ok = ok && is_sound(&finding, why, sizeof why);
    if (!ok)
        fprintf(stderr, "corral-load herd: %s\n", why);
    herd_finding_free(&finding);
    return ok ? 0 : 1;
}
