#!/usr/bin/env bats
# make install, into a folder of its own.

setup() { load helper; }

@test "make install puts programs, manual page, sample and unit in place" {
    [ -e "$CORRAL_ROOT/config.mk" ] || skip "this tree is not configured"
    needs make
    if ! make -q -C "$CORRAL_ROOT" all; then
        skip "the programs are not up to date: installing would build them first"
    fi
    to=$BATS_TEST_TMPDIR/root
    make -C "$CORRAL_ROOT" install DESTDIR="$to" PREFIX=/usr SYSCONFDIR=/etc
    for program in corrald corral corral-load corral-sim; do
        [ -x "$to/usr/bin/$program" ]
    done
    "$to/usr/bin/corrald" --version
    grep -q '^\.TH' "$to/usr/share/man/man8/corrald.8"
    grep -q 'ExecStart=/usr/bin/corrald' "$to/usr/lib/systemd/system/corrald.service"
    run grep '@' "$to/usr/lib/systemd/system/corrald.service"
    [ "$status" -eq 1 ]
    grep -q maxmemory-policy "$to/etc/corral/corral.conf"

    # What the operator changed is never written over.
    echo "maxmemory 2gb" >"$to/etc/corral/corral.conf"
    make -C "$CORRAL_ROOT" install DESTDIR="$to" PREFIX=/usr SYSCONFDIR=/etc
    grep -qx "maxmemory 2gb" "$to/etc/corral/corral.conf"
    [ -e "$to/etc/corral/corral.conf.new" ]
}
