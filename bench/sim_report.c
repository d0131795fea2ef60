/* sim_report.c - one set of results, five ways to look at it.
 *
 * The HTML page carries its pictures inside and asks no network for anything.
 * Colours follow the reader's preference for light or dark. */
#include "bench/sim_report.h"
#include "bench/sim_belady.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct cell *cell_at(const struct sim_report *r, unsigned policy, unsigned size)
{
    return &r->cells[policy * r->sizes + size];
}

static const char *policy_name(const struct sim_report *r, unsigned policy)
{
    return cell_at(r, policy, 0)->type->name;
}

static bool knows_future(const struct cell *c)
{
    return c->type == &sim_belady || c->type == &sim_beladysize;
}

static const char *size_text(const struct sim_report *r, uint64_t size, char *to, size_t room)
{
    static const char *const units[] = {"", " KiB", " MiB", " GiB", " TiB"};
    double v = (double)size;
    unsigned u = 0;

    if (!r->by_bytes) {
        snprintf(to, room, "%llu", (unsigned long long)size);
        return to;
    }
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(to, room, v < 10 && u > 0 ? "%.2f%s" : "%.0f%s", v, units[u]);
    return to;
}

static double share(const struct sim_report *r, uint64_t size)
{
    double whole = r->by_bytes ? (double)r->trace->footprint : (double)r->trace->unique;

    return (double)size * r->sample / whole;
}

/* The lowest miss ratio at a size among policies that one can have. */
static double best_at(const struct sim_report *r, unsigned size)
{
    double best = 2;

    for (unsigned p = 0; p < r->policies; p++)
        if (cell_at(r, p, size)->done && !knows_future(cell_at(r, p, size)) &&
            cell_at(r, p, size)->miss_ratio < best)
            best = cell_at(r, p, size)->miss_ratio;
    return best;
}

static void print_matrix(const struct sim_report *r, const char *title, bool bytes)
{
    enum { ACROSS = 10 };
    char text[32];

    for (unsigned from = 0; from < r->sizes; from += ACROSS) {
        unsigned to = from + ACROSS < r->sizes ? from + ACROSS : r->sizes;

        printf("\n%-12s", title);
        for (unsigned s = from; s < to; s++)
            printf(" %10s", size_text(r, cell_at(r, 0, s)->capacity, text, sizeof(text)));
        printf("\n%-12s", "");
        for (unsigned s = from; s < to; s++)
            printf(" %9.2f%%", 100 * share(r, cell_at(r, 0, s)->capacity));
        printf("\n");
        for (unsigned p = 0; p < r->policies; p++) {
            printf("%-12s", policy_name(r, p));
            for (unsigned s = from; s < to; s++) {
                const struct cell *c = cell_at(r, p, s);
                bool best = !bytes && !knows_future(c) && c->done && c->miss_ratio <= best_at(r, s);

                if (c->done)
                    printf("    %.4f%c", bytes ? c->byte_miss_ratio : c->miss_ratio, best ? '*' : ' ');
                else
                    printf("  no memory");
            }
            printf("\n");
        }
    }
}

enum { SAMPLED_OBJECTS_MIN = 256 };

static double widest_error(const struct sim_report *r)
{
    double most = 0;

    for (unsigned i = 0; i < r->policies * r->sizes; i++)
        if (r->cells[i].error > most)
            most = r->cells[i].error;
    return most;
}

static double total_requests(const struct sim_report *r)
{
    return (double)r->trace->requests * r->policies * r->sizes;
}

/* Objects of average size that the smallest cache holds of the sample. */
static double fewest_objects(const struct sim_report *r)
{
    return share(r, cell_at(r, 0, 0)->capacity) * r->trace->unique;
}

void report_table(const struct sim_report *r)
{
    const struct sim_trace *t = r->trace;
    uint64_t expired = 0;
    double cpu = 0;

    printf("%s: %s, %llu requests (%llu reads), %u distinct keys", r->name, t->format,
           (unsigned long long)t->requests, (unsigned long long)t->reads, t->unique);
    if (t->has_sizes)
        printf(", %.1f MiB", (double)t->footprint / 1048576);
    printf("\n");
    if (r->sample < 1)
        printf("a sample of %.3g of the keys; 95 of 100 such samples come within %.4f or less of the whole "
               "trace\n",
               r->sample, widest_error(r));
    if (r->sample < 1 && fewest_objects(r) < SAMPLED_OBJECTS_MIN)
        printf("the smallest cache is simulated by one of %.0f objects: below some %d its error is larger "
               "than that\n",
               fewest_objects(r), SAMPLED_OBJECTS_MIN);
    print_matrix(r, "miss ratio", false);
    if (t->has_sizes)
        print_matrix(r, "by bytes", true);
    for (unsigned i = 0; i < r->policies * r->sizes; i++) {
        expired += r->cells[i].expired;
        cpu += r->cells[i].seconds;
    }
    printf("\n* lowest of those that do not know the future");
    if (t->has_ops)
        printf("; misses of expired keys: %.4f of reads, mean of all cells",
               (double)expired / ((double)t->reads * r->policies * r->sizes));
    printf("\nread in %.2f s; %.0f M simulated requests in %.2f s on %u threads, %.1f M/s per core\n",
           r->read_seconds, total_requests(r) / 1e6, r->run_seconds, r->threads,
           cpu > 0 ? total_requests(r) / cpu / 1e6 : 0);
}

/* ---- files ---- */

static FILE *create(const char *dir, const char *name)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    if (f == NULL)
        fprintf(stderr, "corral-sim: %s: %s\n", path, strerror(errno));
    return f;
}

/* False if anything since its creation could not be written. */
static bool done(FILE *f, const char *dir, const char *name)
{
    bool ok = ferror(f) == 0;

    ok = fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, "corral-sim: %s/%s could not be written\n", dir, name);
    return ok;
}

static void write_csv(FILE *f, const struct sim_report *r)
{
    fprintf(
        f,
        "policy,size,share,reads,misses,expired,miss_ratio,byte_miss_ratio,error,evicted,ns_per_request\n");
    for (unsigned i = 0; i < r->policies * r->sizes; i++) {
        const struct cell *c = &r->cells[i];

        if (c->done)
            fprintf(f, "%s,%llu,%.6f,%llu,%llu,%llu,%.6f,%.6f,%.6f,%llu,%.1f\n", c->type->name,
                    (unsigned long long)c->capacity, share(r, c->capacity), (unsigned long long)c->reads,
                    (unsigned long long)c->misses, (unsigned long long)c->expired, c->miss_ratio,
                    c->byte_miss_ratio, c->error, (unsigned long long)c->evicted,
                    c->seconds * 1e9 / (double)r->trace->requests);
    }
}

static void write_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        if ((unsigned char)*text < ' ')
            fprintf(f, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            fputc(*text, f);
    }
    fputc('"', f);
}

static void write_json(FILE *f, const struct sim_report *r)
{
    const struct sim_trace *t = r->trace;
    const char *comma = "";

    fprintf(f, "{\"trace\": ");
    write_quoted(f, r->name);
    fprintf(f,
            ", \"format\": \"%s\", \"requests\": %llu, \"reads\": %llu, \"keys\": %u, \"footprint\": %llu,\n"
            " \"by\": \"%s\", \"sample\": %.6f, \"cells\": [",
            t->format, (unsigned long long)t->requests, (unsigned long long)t->reads, t->unique,
            (unsigned long long)t->footprint, r->by_bytes ? "bytes" : "objects", r->sample);
    for (unsigned i = 0; i < r->policies * r->sizes; i++) {
        const struct cell *c = &r->cells[i];

        if (!c->done)
            continue;
        fprintf(f,
                "%s\n  {\"policy\": \"%s\", \"size\": %llu, \"miss_ratio\": %.6f, \"byte_miss_ratio\": %.6f, "
                "\"error\": %.6f, \"misses\": %llu, \"expired\": %llu, \"evicted\": %llu}",
                comma, c->type->name, (unsigned long long)c->capacity, c->miss_ratio, c->byte_miss_ratio,
                c->error, (unsigned long long)c->misses, (unsigned long long)c->expired,
                (unsigned long long)c->evicted);
        comma = ",";
    }
    fprintf(f, "\n]}\n");
}

/* ---- pictures ---- */

enum { WIDTH = 860, HEIGHT = 440, LEFT = 60, RIGHT = 150, TOP = 16, BOTTOM = 46, COLOURS = 16 };

static const char style[] =
    "<style>.ink{fill:#222;font:12px system-ui,sans-serif}.rule{stroke:#ccc;stroke-width:1}"
    ".curve{fill:none;stroke-width:2}.bar{fill:#4477aa}g.p:hover .curve{stroke-width:5}"
    ".future{stroke-dasharray:6 4}"
    "@media(prefers-color-scheme:dark){.ink{fill:#ddd}.rule{stroke:#444}.bar{fill:#88bbee}}</style>\n";

static const char *const colours[COLOURS] = {"#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
                                             "#ee7733", "#0077bb", "#33bbee", "#cc3311", "#009988", "#bb5566",
                                             "#997700", "#6699cc", "#997766", "#999999"};

/* Where a value from low to high stands on an axis of so many pixels. */
static double on_axis(double value, double low, double high, double pixels)
{
    return high > low ? (value - low) / (high - low) * pixels : pixels / 2;
}

static void begin_picture(FILE *f, const char *label)
{
    fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n%s",
        WIDTH, HEIGHT, label, style);
}

static void write_ratio_axis(FILE *f, double high)
{
    for (unsigned i = 0; i <= 5; i++) {
        double y = HEIGHT - BOTTOM - on_axis(i / 5.0, 0, 1, HEIGHT - TOP - BOTTOM);

        fprintf(f, "<line class=\"rule\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT,
                y, y);
        fprintf(f, "<text class=\"ink\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.2f</text>\n", LEFT - 6,
                y + 4, high * i / 5.0);
    }
}

static void write_curves(FILE *f, const struct sim_report *r, bool bytes)
{
    double low = log((double)cell_at(r, 0, 0)->capacity),
           high = log((double)cell_at(r, 0, r->sizes - 1)->capacity);
    double top = 0;
    char text[32];

    for (unsigned i = 0; i < r->policies * r->sizes; i++)
        top = fmax(top, bytes ? r->cells[i].byte_miss_ratio : r->cells[i].miss_ratio);
    top = ceil(top * 20) / 20;
    begin_picture(f, bytes ? "byte miss ratio by cache size" : "miss ratio by cache size");
    write_ratio_axis(f, top);
    for (unsigned s = 0; s < r->sizes; s++) {
        double x = LEFT + on_axis(log((double)cell_at(r, 0, s)->capacity), low, high, WIDTH - LEFT - RIGHT);

        fprintf(f, "<line class=\"rule\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", x, x, TOP,
                HEIGHT - BOTTOM);
        if (r->sizes <= 8 || s % (r->sizes / 6) == 0)
            fprintf(f, "<text class=\"ink\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>", x,
                    HEIGHT - BOTTOM + 18, size_text(r, cell_at(r, 0, s)->capacity, text, sizeof(text)));
    }
    fprintf(f, "<text class=\"ink\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">cache size, %s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, r->by_bytes ? "bytes" : "objects");
    for (unsigned p = 0; p < r->policies; p++) {
        const char *colour = colours[p % COLOURS];
        int y = TOP + 10 + (int)p * 20;

        fprintf(f, "<g class=\"p\"><polyline class=\"curve%s\" stroke=\"%s\" points=\"",
                knows_future(cell_at(r, p, 0)) ? " future" : "", colour);
        for (unsigned s = 0; s < r->sizes; s++) {
            const struct cell *c = cell_at(r, p, s);
            double ratio = bytes ? c->byte_miss_ratio : c->miss_ratio;

            if (c->done)
                fprintf(f, "%.1f,%.1f ",
                        LEFT + on_axis(log((double)c->capacity), low, high, WIDTH - LEFT - RIGHT),
                        HEIGHT - BOTTOM - on_axis(ratio, 0, top, HEIGHT - TOP - BOTTOM));
        }
        fprintf(f, "\"/>\n");
        for (unsigned s = 0; s < r->sizes; s++) {
            const struct cell *c = cell_at(r, p, s);
            double ratio = bytes ? c->byte_miss_ratio : c->miss_ratio;

            if (c->done)
                fprintf(f,
                        "<circle r=\"3\" fill=\"%s\" cx=\"%.1f\" cy=\"%.1f\"><title>%s at %s: "
                        "%.4f</title></circle>",
                        colour, LEFT + on_axis(log((double)c->capacity), low, high, WIDTH - LEFT - RIGHT),
                        HEIGHT - BOTTOM - on_axis(ratio, 0, top, HEIGHT - TOP - BOTTOM), c->type->name,
                        size_text(r, c->capacity, text, sizeof(text)), ratio);
        }
        fprintf(f, "<line class=\"curve\" stroke=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", colour,
                WIDTH - RIGHT + 14, WIDTH - RIGHT + 36, y - 4, y - 4);
        fprintf(f, "<text class=\"ink\" x=\"%d\" y=\"%d\">%s</text></g>\n", WIDTH - RIGHT + 42, y,
                policy_name(r, p));
    }
    fprintf(f, "</svg>\n");
}

/* Share of reads by the requests since the key was last asked for. */
static void write_reuse(FILE *f, const struct sim_report *r)
{
    const struct sim_trace *t = r->trace;
    unsigned bins = 1;
    uint64_t most = 1;

    for (unsigned i = 0; i < 64; i++) {
        if (t->reuse[i] > 0)
            bins = i + 1;
        if (t->reuse[i] > most)
            most = t->reuse[i];
    }
    begin_picture(f, "requests between two uses of a key");
    write_ratio_axis(f, (double)most / (double)(t->reads > 0 ? t->reads : 1));
    for (unsigned i = 0; i < bins; i++) {
        double wide = (double)(WIDTH - LEFT - RIGHT) / bins;
        double high = on_axis((double)t->reuse[i], 0, (double)most, HEIGHT - TOP - BOTTOM);

        fprintf(f,
                "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%llu and "
                "more: %llu reads</title></rect>",
                LEFT + wide * i + 1, HEIGHT - BOTTOM - high, wide - 2, high, 1ULL << i,
                (unsigned long long)t->reuse[i]);
        if (i % 4 == 0)
            fprintf(f, "<text class=\"ink\" x=\"%.1f\" y=\"%d\">%llu</text>\n", LEFT + wide * i,
                    HEIGHT - BOTTOM + 18, 1ULL << i);
    }
    fprintf(f,
            "<text class=\"ink\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">requests since the key's last "
            "use</text></svg>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
}

/* Reads of the key at each rank, both logarithmic: a straight line is a power law. */
static void write_popularity(FILE *f, const struct sim_report *r)
{
    const struct sim_trace *t = r->trace;
    double most = log10(fmax(t->popularity[0], 10)), ranks = log10(fmax(t->unique, 10));

    begin_picture(f, "reads of a key by its rank");
    for (unsigned i = 0; i <= (unsigned)most; i++) {
        double y = HEIGHT - BOTTOM - on_axis(i, 0, most, HEIGHT - TOP - BOTTOM);

        fprintf(f, "<line class=\"rule\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT,
                y, y);
        fprintf(f, "<text class=\"ink\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">1e%u</text>\n", LEFT - 6,
                y + 4, i);
    }
    for (unsigned i = 0; i <= (unsigned)ranks; i++)
        fprintf(f, "<text class=\"ink\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">1e%u</text>",
                LEFT + on_axis(i, 0, ranks, WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM + 18, i);
    fprintf(f, "<polyline class=\"curve\" stroke=\"%s\" points=\"", colours[0]);
    for (double rank = 1; rank <= t->unique; rank = ceil(rank * 1.08 + .01)) {
        uint32_t reads = t->popularity[(uint32_t)rank - 1];

        if (reads > 0)
            fprintf(f, "%.1f,%.1f ", LEFT + on_axis(log10(rank), 0, ranks, WIDTH - LEFT - RIGHT),
                    HEIGHT - BOTTOM - on_axis(log10(reads), 0, most, HEIGHT - TOP - BOTTOM));
    }
    fprintf(
        f,
        "\"/>\n<text class=\"ink\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">rank of the key</text></svg>\n",
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
}

static void write_escaped(FILE *f, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        default: fputc(*text, f);
        }
}

static void write_html_matrix(FILE *f, const struct sim_report *r, bool bytes)
{
    char text[32];

    fprintf(f, "<div class=\"wide\"><table><tr><th>policy</th>");
    for (unsigned s = 0; s < r->sizes; s++)
        fprintf(f, "<th>%s<br><small>%.2f %%</small></th>",
                size_text(r, cell_at(r, 0, s)->capacity, text, sizeof(text)),
                100 * share(r, cell_at(r, 0, s)->capacity));
    fprintf(f, "</tr>\n");
    for (unsigned p = 0; p < r->policies; p++) {
        fprintf(f, "<tr><th>%s</th>", policy_name(r, p));
        for (unsigned s = 0; s < r->sizes; s++) {
            const struct cell *c = cell_at(r, p, s);
            bool best = !bytes && !knows_future(c) && c->done && c->miss_ratio <= best_at(r, s);

            if (c->done)
                fprintf(f, "<td%s>%.4f</td>", best ? " class=\"best\"" : "",
                        bytes ? c->byte_miss_ratio : c->miss_ratio);
            else
                fprintf(f, "<td>-</td>");
        }
        fprintf(f, "</tr>\n");
    }
    fprintf(f, "</table></div>\n");
}

static void write_html(FILE *f, const struct sim_report *r)
{
    const struct sim_trace *t = r->trace;

    fputs("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
          "content=\"width=device-width\"><title>corral-sim: ",
          f);
    write_escaped(f, r->name);
    fputs("</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 "
          "1rem;"
          "color:#222;background:#fff}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
          "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid "
          "#ddd}th:first-child{text-align:left}"
          ".best{font-weight:700;color:#17692a}.wide{overflow-x:auto}svg{width:100%;height:auto}"
          "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}td,th{border-color:#444}"
          ".best{color:#7fd492}}</style>\n<h1>",
          f);
    write_escaped(f, r->name);
    fprintf(f, "</h1><p>%llu requests (%llu reads) of %u distinct keys, read as %s",
            (unsigned long long)t->requests, (unsigned long long)t->reads, t->unique, t->format);
    if (t->has_sizes)
        fprintf(f, "; all keys together %.1f MiB", (double)t->footprint / 1048576);
    fprintf(f, ". Caches are measured in %s.", r->by_bytes ? "bytes" : "objects");
    if (r->sample < 1)
        fprintf(f,
                " A sample of %.3g of the keys: 95 of 100 such samples come within %.4f or less of the whole "
                "trace.",
                r->sample, widest_error(r));
    fprintf(f, "</p>\n<h2>Misses per request</h2>\n");
    write_curves(f, r, false);
    fprintf(
        f,
        "<p>Bold: lowest at that size among policies that do not know the future; dashed curves do.</p>\n");
    write_html_matrix(f, r, false);
    if (t->has_sizes) {
        fprintf(f, "<h2>Bytes missed per byte asked for</h2>\n");
        write_curves(f, r, true);
        write_html_matrix(f, r, true);
    }
    fprintf(
        f, "<h2>Reuse</h2><p>Share of reads by how many requests ago their key was last used; first uses are "
           "not shown.</p>\n");
    write_reuse(f, r);
    fprintf(f, "<h2>Popularity</h2><p>Reads of each key, most popular first.</p>\n");
    write_popularity(f, r);
    fprintf(f, "</html>\n");
}

static void write_miss_ratio(FILE *f, const struct sim_report *r)
{
    write_curves(f, r, false);
}
static void write_byte_miss_ratio(FILE *f, const struct sim_report *r)
{
    write_curves(f, r, true);
}

bool report_write(const struct sim_report *r, const char *dir)
{
    static const struct {
        const char *name;
        void (*write)(FILE *f, const struct sim_report *r);
        bool needs_sizes;
    } files[] = {
        {"report.csv", write_csv, false},
        {"report.json", write_json, false},
        {"report.html", write_html, false},
        {"miss_ratio.svg", write_miss_ratio, false},
        {"reuse.svg", write_reuse, false},
        {"popularity.svg", write_popularity, false},
        {"byte_miss_ratio.svg", write_byte_miss_ratio, true},
    };

    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "corral-sim: %s: %s\n", dir, strerror(errno));
        return false;
    }
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        FILE *f;

        if (files[i].needs_sizes && !r->trace->has_sizes)
            continue;
        if ((f = create(dir, files[i].name)) == NULL)
            return false;
        files[i].write(f, r);
        if (!done(f, dir, files[i].name))
            return false;
    }
    return true;
}
