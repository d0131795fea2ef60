# report-herd.awk - a table of medians, one row per contender, from lines "SERVER | CLIENTS <tab> JSON".
BEGIN {
    FS = "\t"
}

{
    if (!($1 in seen)) {
        seen[$1] = 1
        order[++rows] = $1
    }
    if ($2 == "")
        next
    runs = ++count[$1]
    line = substr($2, 2, length($2) - 2)
    members = split(line, member, ",")
    for (i = 1; i <= members; i++) {
        colon = index(member[i], ":")
        figure[$1, substr(member[i], 2, colon - 3), runs] = substr(member[i], colon + 1)
    }
}

function median(row, name,    n, i, j, t, v) {
    n = count[row]
    for (i = 1; i <= n; i++) {
        v[i] = figure[row, name, i] + 0
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
            t = v[j]
            v[j] = v[j - 1]
            v[j - 1] = t
        }
    }
    return n == 0 ? 0 : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

END {
    print "| server | clients | missing | fetches each (worst) | fetches avoided | origin's peak | stale values | late fills refused |" \
        " wait ms p50 | p99 | max | requests per read | errors |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= rows; i++) {
        row = order[i]
        if (count[row] == 0) {
            print "| " row " | failed | | | | | | | | | | |"
            continue
        }
        reads = median(row, "reads")
        printf "| %s | %d | %.2f (%d) | %d | %d | %d | %d | %.0f | %.0f | %.0f | %.2f | %d |\n", row,
            median(row, "rounds"), median(row, "fetches_per_round"), median(row, "fetches_max"),
            median(row, "avoided"), median(row, "peak"), median(row, "stale"), median(row, "late"),
            median(row, "met_p50_ms"), median(row, "met_p99_ms"), median(row, "met_max_ms"),
            (reads > 0 ? median(row, "requests") / reads : 0),
            median(row, "errors") + median(row, "wrong") + median(row, "unfinished")
    }
}
