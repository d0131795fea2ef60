# eviction.awk - the tables of eviction.sh. Of tab-separated lines
#   trace, RSS in MiB, contender, hit ratio, by bytes, RSS in KiB, items, refused, seconds, command
# One table of all traces, then one for each with all that was found.
{
    if (!($1 in rss)) {
        trace[++traces] = $1
        rss[$1] = $2
    }
    if (!($3 in known)) {
        contender[++contenders] = $3
        known[$3] = 1
    }
    hits[$1, $3] = $4
    line[$1, $3] = sprintf("| %s | %.4f | %.4f | %.1f | %d | %d | %.0f | `%s` |", label($3), $4, $5, $6 / 1024, $7, $8, $9, $10)
    if ($4 > best[$1])
        best[$1] = $4
}

function label(name)
{
    if (name ~ /^(redis|memcached)/)
        return name
    return "corral " name (name == first ? " (default)" : "")
}

END {
    printf "\n## Hit ratios\n\n| |"
    for (t = 1; t <= traces; t++)
        printf " %s, %d MiB |", trace[t], rss[trace[t]]
    printf "\n|---|"
    for (t = 1; t <= traces; t++)
        printf "---|"
    print ""
    for (c = 1; c <= contenders; c++) {
        printf "| %s |", label(contender[c])
        for (t = 1; t <= traces; t++) {
            if (!((trace[t], contender[c]) in hits)) {
                printf " - |"
                continue
            }
            ratio = hits[trace[t], contender[c]]
            printf ratio == best[trace[t]] ? " **%.4f** |" : " %.4f |", ratio
        }
        print ""
    }
    for (t = 1; t <= traces; t++) {
        printf "\n## %s, %d MiB\n\n", trace[t], rss[trace[t]]
        print "| | hit ratio | by bytes | RSS, MiB | items at the end | sets refused | seconds | command |"
        print "|---|---|---|---|---|---|---|---|"
        for (c = 1; c <= contenders; c++)
            if ((trace[t], contender[c]) in line)
                print line[trace[t], contender[c]]
    }
}
