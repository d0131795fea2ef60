# report.awk - the samples of one section as two tables.
#
#   awk -v columns="redis corral" -v pairs="corral/redis" -f bench/report.awk ROWS SAMPLES
#
# ROWS:    title TAB metric TAB target of each pair, separated by commas
# SAMPLES: title TAB round TAB contender TAB the JSON line of corral-load

BEGIN {
    FS = "\t"
    column_count = split(columns, column, " ")
    pair_count = split(pairs, pair, " ")
    label["corral"] = "Corral RESP"
    label["corral_text"] = "Corral text"
    label["corral_meta"] = "Corral meta"
    label["memcached_meta"] = "memcached meta"
    label["corral_one"] = "1 worker"
    label["corral_two"] = "2 workers"
    label["corral_unix"] = "Corral"
    label["redis_unix"] = "redis"
    label["memcached_unix"] = "memcached"
}

NR == FNR {
    title[++row_count] = $1
    metric[$1] = $2
    targets[$1] = $3
    next
}

{
    cpu[$1, $3, $2] = member($4, metric[$1])
    if ($2 > rounds)
        rounds = $2
    collect($1, $3, "cpu", member($4, metric[$1]))
    collect($1, $3, "user", member($4, "cpu_user_ns"))
    collect($1, $3, "system", member($4, "cpu_system_ns"))
    collect($1, $3, "ops", member($4, "ops_per_second"))
    collect($1, $3, "p50", member($4, "p50_us"))
    collect($1, $3, "p99", member($4, "p99_us"))
    collect($1, $3, "p999", member($4, "p999_us"))
    collect($1, $3, "max", member($4, "max_us"))
    collect($1, $3, "hits", member($4, "hits"))
    collect($1, $3, "misses", member($4, "misses"))
}

END {
    print_cpu()
    print ""
    print_rest()
}

function member(json, name,    at) {
    if (!match(json, "\"" name "\":[^,}]*"))
        return ""
    at = RSTART + length(name) + 3
    return substr(json, at, RSTART + RLENGTH - at)
}

function collect(row, contender, what, value) {
    samples[row, contender, what] = samples[row, contender, what] " " value
}

function median_of(text,    n, i, j, t, v) {
    n = split(text, v, " ")
    if (n == 0)
        return 0
    for (i = 2; i <= n; i++) {
        t = v[i] + 0
        for (j = i - 1; j >= 1 && v[j] + 0 > t; j--)
            v[j + 1] = v[j]
        v[j + 1] = t
    }
    return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}

function median(row, contender, what) {
    return median_of(samples[row, contender, what])
}

# The median over the rounds of the ratio within a round.
function paired_ratio(row, name,    side, r, text) {
    split(name, side, "/")
    for (r = 1; r <= rounds; r++)
        if (cpu[row, side[2], r] > 0)
            text = text " " cpu[row, side[1], r] / cpu[row, side[2], r]
    return median_of(text)
}

function name_of(contender) {
    return contender in label ? label[contender] : contender
}

function pair_name(name,    side) {
    split(name, side, "/")
    return name_of(side[1]) " / " name_of(side[2])
}

function print_cpu(    i, j, head, line, target, ratio, reach, reached) {
    head = "| server CPU, ns |"
    line = "|---|"
    for (j = 1; j <= column_count; j++) {
        head = head " " name_of(column[j]) " |"
        line = line "---|"
    }
    for (j = 1; j <= pair_count; j++) {
        head = head " " pair_name(pair[j]) " |"
        line = line "---|"
    }
    print head " reach | reached |"
    print line "---|---|"
    for (i = 1; i <= row_count; i++) {
        line = "| " title[i] " |"
        reach = reached = ""
        split(targets[title[i]], target, ",")
        for (j = 1; j <= column_count; j++)
            line = line sprintf(" %.0f |", median(title[i], column[j], "cpu"))
        for (j = 1; j <= pair_count; j++) {
            ratio = paired_ratio(title[i], pair[j])
            line = line sprintf(" %.2f |", ratio)
            if (target[j] != "-") {
                reach = reach (reach == "" ? "" : ", ") "<= " target[j]
                reached = reached (reached == "" ? "" : ", ") ((ratio > 0 && ratio <= target[j] + 0) ? "yes" : "no")
            }
        }
        print line " " (reach == "" ? "-" : reach) " | " (reached == "" ? "-" : reached) " |"
    }
}

function print_rest(    i, j, row, hits, asked) {
    print "| case | server | kops/s | user + system ns | hits | p50 us | p99 us | p99.9 us | max us |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= row_count; i++)
        for (j = 1; j <= column_count; j++) {
            row = title[i]
            hits = median(row, column[j], "hits")
            asked = hits + median(row, column[j], "misses")
            printf "| %s | %s | %.0f | %.0f + %.0f | %s | %.0f | %.0f | %.0f | %.0f |\n", row, name_of(column[j]),
                median(row, column[j], "ops") / 1000, median(row, column[j], "user"),
                median(row, column[j], "system"), (asked > 0 ? sprintf("%.0f %%", 100 * hits / asked) : "-"),
                median(row, column[j], "p50"), median(row, column[j], "p99"), median(row, column[j], "p999"),
                median(row, column[j], "max")
        }
}
