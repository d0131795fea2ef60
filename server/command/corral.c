/* corral.c - CORRAL, and the sections of INFO about shadows of the cache: which
 * policy auto follows and why, and what more or less memory would bring. */
#include "server/command/corral.h"

#include <stdarg.h>
#include <stdio.h>

#include "server/command/command.h"

struct lines {
    shadow_line *at;
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void say(struct lines *lines, const char *format, ...)
{
    va_list args;

    if (lines->count == SHADOW_LINES_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(lines->at[lines->count++], sizeof(shadow_line), format, args);
    va_end(args);
}

/* ---- eviction ---- */

static void say_why(struct lines *lines, const struct store_shadow_report *r)
{
    const struct auto_figures *a = &r->chosen;

    if (a->before == NULL)
        say(lines, "auto_why:nothing was better than %s by enough", a->now->name);
    else
        say(lines, "auto_why:%s missed %.1f%% less than %s in %.0f sampled reads", a->now->name,
            100 * a->margin, a->before->name, a->reads);
}

size_t eviction_lines(struct server *server, shadow_line at[SHADOW_LINES_MAX])
{
    struct store_shadow_report r;
    struct lines lines = {at, 0};

    store_shadow_report(server->store, &r);
    say(&lines, "eviction_policy:%s", r.policy);
    say(&lines, "eviction_handing_over:%llu", (unsigned long long)r.handing_over);
    say(&lines, "shadow_bytes:%llu", (unsigned long long)r.bytes);
    say(&lines, "shadow_sample_rate:%.6g", r.rate);
    say(&lines, "auto_enabled:%d", r.follows);
    if (!r.follows)
        return lines.count;
    say(&lines, "auto_switches:%llu", (unsigned long long)r.chosen.switches);
    say(&lines, "auto_epochs:%llu", (unsigned long long)r.chosen.epochs);
    say(&lines, "auto_best:%s", r.chosen.best->name);
    say(&lines, "auto_shards_to_change:%u", r.shards_to_change);
    say_why(&lines, &r);
    for (unsigned i = 0; i < STORE_AUTO_CANDIDATES; i++) {
        const struct shadow_figures *f = &r.candidates[i].figures;
        say(&lines, "auto_%s:sampled_hit_ratio=%.4f,error=%.4f,sampled_reads=%.0f,items=%llu,full=%d",
            r.candidates[i].policy, f->hit_ratio, f->error, f->reads, (unsigned long long)f->items, f->full);
    }
    return lines.count;
}

/* ---- the miss-ratio curve ---- */

static uint64_t memory_at(const struct server *server, double scale)
{
    return (uint64_t)((double)server_memory_limit(&server->options) * scale);
}

size_t mrc_lines(struct server *server, shadow_line at[SHADOW_LINES_MAX])
{
    struct store_shadow_report r;
    struct lines lines = {at, 0};

    store_shadow_report(server->store, &r);
    say(&lines, "mrc_enabled:%d", r.curve);
    if (!r.curve)
        return lines.count;
    say(&lines, "mrc_policy:%s", r.policy);
    say(&lines, "mrc_sample_rate:%.6g", r.rate);
    say(&lines, "mrc_sampled_reads:%.0f", r.points[0].figures.reads);
    for (unsigned i = 0; i < STORE_CURVE_POINTS; i++) {
        const struct shadow_figures *f = &r.points[i].figures;
        say(&lines, "mrc_%gx:memory=%llu,hit_ratio=%.4f,error=%.4f,full=%d", r.points[i].scale,
            (unsigned long long)memory_at(server, r.points[i].scale), f->hit_ratio, f->error, f->full);
    }
    return lines.count;
}

static void corral_mrc(struct exec *x, struct request *rq)
{
    struct store_shadow_report r;

    (void)rq;
    store_shadow_report(x->store, &r);
    if (!r.curve) {
        reply_error(x, "ERR There is no miss-ratio curve: CONFIG SET mrc-enabled yes");
        return;
    }
    reply_array(x, STORE_CURVE_POINTS);
    for (unsigned i = 0; i < STORE_CURVE_POINTS; i++) {
        reply_array(x, 2);
        reply_integer(x, (int64_t)memory_at(x->server, r.points[i].scale));
        reply_double(x, r.points[i].figures.hit_ratio);
    }
}

/* ---- the verbs ---- */

static const struct subcommand corral_subcommands[] = {
    {"mrc", "corral|mrc", 2, corral_mrc},
    {0},
};

static const char *const corral_help[] = {
    "MRC",
    "    Pairs of bytes of memory and the hit ratio to expect with them, if mrc-enabled.",
    NULL,
};

void cmd_corral(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"CORRAL", "corral|help", corral_subcommands, corral_help};

    command_family_run(x, rq, &family);
}
