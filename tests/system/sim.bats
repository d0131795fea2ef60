#!/usr/bin/env bats
# corral-sim: the formats it reads, what it says about bad ones, and what it writes.

load helper

sim()
{
    "$CORRAL_BIN/corral-sim" --quiet "$@"
}

# ratio POLICY: its miss ratio at the first size, from a table on stdin.
ratio()
{
    awk -v p="$1" '$1 == p { sub(/\*/, "", $2); print $2; exit }'
}

setup()
{
    cd "$BATS_TEST_TMPDIR" || return 1
    # Keys 1 to 50, popular ones first, then all in turn: 3000 requests.
    awk 'BEGIN { srand(1); for (i = 0; i < 3000; i++) print i % 3 ? 1 + int(50 * rand() * rand()) : 1 + i % 50 }' >keys
}

@test "one trace in many forms gives one result" {
    awk '{ print NR, $1, 10 }' keys >trace.tr
    { echo time,key,size; awk '{ print NR "," $1 ",10" }' keys; } >trace.csv
    awk '{ print NR "\t" $1 "\t10" }' keys >bare.tsv
    awk '{ print $1, 1, 0, NR - 1 }' keys >trace.lis
    awk '{ print NR ",key" $1 ",4,6,1,get,0" }' keys >twitter.csv
    expected=$(sim keys --sizes 10 --policies lru,arc | ratio lru)
    [ -n "$expected" ]
    for trace in trace.tr trace.csv trace.lis twitter.csv; do
        [ "$(sim $trace --sizes 10 --by objects --policies lru | ratio lru)" = "$expected" ]
    done
    [ "$(sim bare.tsv --columns time,key,size --sizes 10 --by objects --policies lru | ratio lru)" = "$expected" ]
    [ "$(sim trace.tr --sizes 100 --policies lru | ratio lru)" = "$expected" ] # ten objects of ten bytes
    [ "$(sim - --sizes 10 --policies lru <keys | ratio lru)" = "$expected" ]
    gzip -k keys
    [ "$(sim keys.gz --sizes 10 --policies lru | ratio lru)" = "$expected" ]
    zstd -q keys
    [ "$(sim - --sizes 10 --policies lru <keys.zst | ratio lru)" = "$expected" ]
}

@test "records of libCacheSim's oracleGeneral are read" {
    # u32 time, u64 key, u32 size, i64 next: keys 1 2 1, little endian
    for key in 1 2 1; do
        printf '\001\000\000\000'
        printf "\\00$key\\000\\000\\000\\000\\000\\000\\000\\012\\000\\000\\000"
        printf '\377\377\377\377\377\377\377\377'
    done >trace.oracleGeneral
    [ "$(sim trace.oracleGeneral --sizes 100% --policies lru | ratio lru)" = 0.6667 ]
    head -c 60 trace.oracleGeneral >short
    run sim short
    [ "$status" -eq 1 ]
    [[ "$output" == *"short:3: column 12: the file ends in the middle of a record"* ]]
}

@test "nobody misses less than who knows the future, and a loop is where recency fails" {
    for i in 1 2 3 4 5 6 7 8 9 10; do seq 1 100; done >loop
    sim loop --sizes 99 --policies lru,lirs,belady >table
    [ "$(ratio lru <table)" = 1.0000 ]
    # 100 first misses, and one a round after that, were it not for the 99th place
    awk -v l="$(ratio lirs <table)" -v b="$(ratio belady <table)" 'BEGIN { exit !(b <= l && l < .2 && b >= .1) }'
}

@test "what has expired is a miss of its own kind, deletes and writes count as such" {
    # a is stored for 10 s; it is read at 5 (hit) and 20 (expired, stored again for 10 s), and
    # at 21 (hit); b is written, read, deleted, read.
    cat >ops.csv <<'END'
time,key,size,op,ttl
0,a,10,set,10
5,a,10,get,0
20,a,10,get,0
21,a,10,get,0
22,b,10,set,0
23,b,10,get,0
24,b,10,delete,0
25,b,10,get,0
END
    sim ops.csv --sizes 1000 --policies lru --out out >table
    grep -q "8 requests (5 reads), 2 distinct keys" table
    [ "$(ratio lru <table)" = 0.4000 ]
    grep -q "misses of expired keys: 0.2000 of reads" table
    grep -q '^lru,1000,[0-9.]*,5,2,1,' out/report.csv
}

@test "a bad trace is refused with line and column" {
    refuses()
    {
        run sim "$@"
        [ "$status" -eq 1 ] || return 1
        [[ "$output" == *"$expected"* ]] || { echo "$output"; return 1; }
    }
    printf '1 7 100\n2 8 -5\n' >negative.tr
    expected="negative.tr:2: column 3: a size cannot be negative" refuses negative.tr
    printf 'time,key,size\n1,a,10\n2,b\n' >short.csv
    expected="short.csv:3: column 2: the line ends before all columns" refuses short.csv
    printf 'time,key,op\n1,a,frobnicate\n' >op.csv
    expected="op.csv:2: column 3: an operation is expected" refuses op.csv
    printf '1,2,3\n' >bare.csv
    expected="--columns time,key,-,size" refuses bare.csv
    : >empty
    expected="is empty" refuses empty
    gzip -c keys | head -c 300 >cut.gz
    expected="the compressed data ends too early" refuses cut.gz
    expected="No such file" refuses nowhere
    expected="is a directory" refuses .
    awk 'BEGIN { for (i = 0; i < 200000; i++) print i }' >many
    printf '1 7 100\n9223372036854775807 8 5\n' >late.tr
    expected="late.tr:2: column 1: a time is expected" refuses late.tr
    printf 'key,count\na,5\nb,5000000\n' >count.csv
    expected="count.csv:3: column 2: a count is expected, at most a million" refuses count.csv
    expected="many:11470: column 1: memory is short after 11469 distinct keys" refuses many --memory 1mb
    expected="look at a share of the keys with --sample 0.01" refuses many --memory 1mb
    run sim many --memory 1mb --sample 0.01 --policies lru
    [ "$status" -eq 0 ]
}

# What a shell or a container leaves of the memory is what may be taken.
@test "a thousand million keys in little memory are refused, or sampled, and nothing crashes" {
    run bash -c "ulimit -v 262144; seq 1 1000000000 | '$CORRAL_BIN/corral-sim' - --quiet"
    [ "$status" -eq 1 ]
    [[ "$output" == "corral-sim: stdin:"*": column 1: memory is short after "*" distinct keys"*"--sample 0.01" ]]
    run bash -c "ulimit -v 262144; seq 1 3000000 | '$CORRAL_BIN/corral-sim' - --quiet --sample 0.1 --policies lru,lirs"
    [ "$status" -eq 0 ]
    [[ "$output" == *"a sample of 0.1 of the keys"* ]]
}

@test "a sample states its error and keeps it" {
    awk 'BEGIN { srand(3); for (i = 0; i < 200000; i++) print 1 + int(20000 * rand() * rand()) }' >large
    whole=$(sim large --policies lru --sizes 2000 | ratio lru)
    sim large --policies lru --sizes 2000 --sample 0.2 >table
    grep -q "a sample of 0.2 of the keys; 95 of 100 such samples come within" table
    error=$(sed -n 's/.* come within \([0-9.]*\) .*/\1/p' table)
    awk -v w="$whole" -v s="$(ratio lru <table)" -v e="$error" \
        'BEGIN { exit !(e > 0 && e < .05 && s - w <= e && w - s <= e) }'
}

@test "the report is one page that asks for no network" {
    sim keys --sizes curve --out out >table
    for file in report.html report.csv report.json miss_ratio.svg reuse.svg popularity.svg; do
        [ -s "out/$file" ]
    done
    ! grep -E 'src=|<script|<link|url\(' out/report.html
    [ "$(grep -o 'https\?://[^"]*' out/report.html | sort -u)" = http://www.w3.org/2000/svg ] # a name, not an address
    grep -q 'prefers-color-scheme' out/report.html
    grep -q '>wtinylfu<' out/report.html
    if command -v python3 >/dev/null; then
        python3 -m json.tool out/report.json >/dev/null
        python3 -c 'import sys, xml.dom.minidom as m; [m.parse(f) for f in sys.argv[1:]]' out/*.svg
    fi
}

@test "options that make no sense are said so" {
    for bad in "--policies mru" "--sizes 0%" "--sizes 5xb" "--by weight" "--sample 2" "--threads 0" "--frob 1" \
        "--columns time,size" "--format pdf"; do
        run sim keys $bad
        [ "$status" -eq 2 ]
        [[ "$output" == corral-sim:* ]]
    done
    run sim
    [ "$status" -eq 2 ]
    sim --help | grep -q belady
}

# Figures of libCacheSim (aa0fc40) for the traces that docs/EVICTION.md names.
@test "who knows the future misses what other simulators say" {
    traces=${CORRAL_TRACES:-$CORRAL_ROOT/../shared/traces}
    [ -d "$traces" ] || skip "no $traces: set CORRAL_TRACES to where the traces are"
    misses()
    {
        sim "$traces/$1" --policies belady --by objects --sizes "$2" | ratio belady
    }
    [ "$(misses cloudphysics_w92.tr.zst 489)" = 0.7927 ]
    [ "$(misses cloudphysics_w92.tr.zst 4897)" = 0.6290 ]
    [ "$(misses fixtures/cloudphysics_w92.oracleGeneral.zst 4897)" = 0.6290 ]
    [ "$(misses orm_busy.txt.zst 763)" = 0.1718 ]
    [ "$(misses orm_busy.txt.zst 7634)" = 0.0669 ]
    [ "$(misses scarab_recs.txt.zst 2583)" = 0.4665 ]
    [ "$(misses scarab_recs.txt.zst 25836)" = 0.2497 ]
    [ "$(misses arc_oltp.txt.zst 1868)" = 0.4024 ]
    [ "$(misses arc_oltp.txt.zst 18688)" = 0.2379 ]
    [ "$(misses fixtures/lirs_sprite.txt.zst 70)" = 0.5784 ]
    [ "$(misses fixtures/lirs_sprite.txt.zst 707)" = 0.0864 ]
    [ "$(misses fixtures/lirs_loop.txt.zst 1000)" = 0.0129 ]
}

# near TABLE "POLICY RATIO"...: what the table says is within .0003 of that.
near()
{
    table=$1
    shift
    for expected; do
        awk -v p="${expected% *}" -v r="${expected#* }" \
            '$1 == p { gsub(/\*/, ""); found = 1; off = $2 - r; if (off < 0) off = -off }
             END { exit !(found && off < .00031) }' "$table" || { echo "$expected?"; cat "$table"; return 1; }
    done
}

# Sizes in bytes: 64 MiB and a tenth of all. beladysize draws its victims from a
# sample, so it is near and not equal (.7116, .6034). arc's ghosts are bounded by
# bytes in a loop, the published one drops one ghost at each eviction: .8129, .7688.
@test "by bytes requests and bytes are missed as published" {
    traces=${CORRAL_TRACES:-$CORRAL_ROOT/../shared/traces}
    [ -d "$traces" ] || skip "no $traces: set CORRAL_TRACES to where the traces are"
    sim "$traces/cloudphysics_w92.tr.zst" --sizes 64mb >table
    sed '/^by bytes/,$d' table >requests
    sed '1,/^by bytes/d' table >bytes
    near requests "lru .8273" "slru .8073" "s3fifo .8126" "gdsf .8085" "arc .8155"
    near bytes "lru .9747" "s3fifo .9614" "gdsf .9748" "arc .9681" "belady .8676"
    awk -v b="$(ratio beladysize <requests)" 'BEGIN { exit !(b >= .7116 && b < .716) }'
    sim "$traces/cloudphysics_w92.tr.zst" --sizes 202976972 >table
    sed '/^by bytes/,$d' table >requests
    sed '1,/^by bytes/d' table >bytes
    near requests "lru .8097" "s3fifo .7356" "gdsf .7582" "arc .7763"
    near bytes "lru .9518" "s3fifo .8619" "gdsf .9509" "arc .9144" "belady .7320"
    awk -v b="$(ratio beladysize <requests)" 'BEGIN { exit !(b >= .6034 && b < .606) }'
}

# A ghost of fingerprints takes one key in thousands of millions for another one.
@test "policies that are compiled in miss what the server's own objects do" {
    traces=${CORRAL_TRACES:-$CORRAL_ROOT/../shared/traces}
    sim keys --sizes 10 >compiled
    sim keys --sizes 10 --as-served >served
    diff <(grep -v '^read in' compiled) <(grep -v '^read in' served)
    [ -d "$traces" ] || skip "no $traces: set CORRAL_TRACES to where the traces are"
    sim "$traces/arc_oltp.txt.zst" --sizes 1%,10% --out compiled.d >/dev/null
    sim "$traces/arc_oltp.txt.zst" --sizes 1%,10% --as-served --out served.d >/dev/null
    paste -d, <(cut -d, -f1,2,5 compiled.d/report.csv) <(cut -d, -f5 served.d/report.csv) |
        awk -F, 'NR > 1 && ($3 - $4 > 5 || $4 - $3 > 5) { print; bad = 1 } END { exit bad }'
}
