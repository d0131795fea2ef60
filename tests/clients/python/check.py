"""Notes what is not as it should be, and tells it all at the end."""

import os
import sys
import traceback

REDIS_PORT = int(os.environ["REDIS_PORT"])
MEMCACHE_PORT = int(os.environ["MEMCACHE_PORT"])

# All 256 bytes: zero, CR LF and what is no UTF-8 among them.
BINARY = bytes(range(256)) * 4
LARGE = b"0123456789abcdef" * 60000  # 960 kB, within memcached's 1 MB
KEY = "ключ:größe:鍵"

failed = 0


def same(what, got, want):
    global failed
    if got != want:
        failed += 1
        print(f"{what}: got {short(got)}, wanted {short(want)}")


def true(what, got):
    same(what, bool(got), True)


def between(what, got, low, high):
    global failed
    if not low <= got <= high:
        failed += 1
        print(f"{what}: got {got}, wanted {low} to {high}")


def raises(what, kind, deed, *args, **kwargs):
    try:
        got = deed(*args, **kwargs)
    except kind:
        return
    same(what, got, kind)


def short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}... ({len(text)} characters)"


def life(*chapters):
    """Runs the functions one after the other; one that fails does not keep the rest from running."""
    global failed
    for chapter in chapters:
        try:
            chapter()
        except Exception:
            failed += 1
            print(f"{chapter.__name__}:")
            traceback.print_exc(file=sys.stdout)
    sys.exit(1 if failed else 0)
