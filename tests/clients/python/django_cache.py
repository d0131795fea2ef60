"""Django's cache API and its sessions over one backend.

    django_cache.py pymemcache|pylibmc|django-redis
"""

import sys

import django
from django.conf import settings

from check import *

BACKENDS = {
    "pymemcache": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": f"127.0.0.1:{MEMCACHE_PORT}",
    },
    "pylibmc": {
        "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache",
        "LOCATION": f"127.0.0.1:{MEMCACHE_PORT}",
    },
    "django-redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{REDIS_PORT}/1",
        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
    },
}
settings.configure(
    CACHES={"default": {**BACKENDS[sys.argv[1]], "TIMEOUT": 300, "KEY_PREFIX": "site", "VERSION": 3}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="only a test",
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # after setup
from django.core.cache import cache


def one_key():
    cache.set("one", {"a": [1, None]}, 100)
    same("get", cache.get("one"), {"a": [1, None]})
    same("get of a missing key", cache.get("nowhere", "default"), "default")
    same("add to what is there", cache.add("one", 1), False)
    same("add", cache.add("new", 1, timeout=None), True)
    same("touch", cache.touch("one", 50), True)
    same("touch of a missing key", cache.touch("nowhere"), False)
    same("has_key", "one" in cache, True)
    same("get_or_set", cache.get_or_set("made", lambda: "here"), "here")
    same("delete", bool(cache.delete("one")), True)
    same("delete again", bool(cache.delete("one")), False)
    cache.set("gone", 1, 0)
    same("a timeout of 0", cache.get("gone"), None)


def many_keys():
    same("set_many", list(cache.set_many({"a": 1, "b": "zwei"}, timeout=60) or []), [])
    same("get_many", dict(cache.get_many(["a", "nowhere", "b"])), {"a": 1, "b": "zwei"})
    cache.delete_many(["a", "b"])
    same("delete_many", cache.get("a"), None)


def counters():
    cache.set("n", 10)
    same("incr", cache.incr("n", 5), 15)
    same("decr", cache.decr("n", 3), 12)
    # django-redis counts by a script; without scripts it gets and sets, and there is no ValueError.
    if sys.argv[1] != "django-redis":
        raises("incr of a missing key", ValueError, cache.incr, "nowhere")
    cache.set("v", "x")
    same("incr_version", cache.incr_version("v"), 4)
    same("get by version", cache.get("v", version=4), "x")


def any_bytes():
    cache.set("binary", BINARY)
    same("binary value", cache.get("binary"), BINARY)
    cache.set("large", LARGE[:500000])
    same("large value", cache.get("large"), LARGE[:500000])


def sessions():
    session = SessionStore()
    session["user"] = "grün"
    session.save()
    same("session", SessionStore(session.session_key)["user"], "grün")
    session.set_expiry(60)
    session.save()
    session.delete()
    same("deleted session", SessionStore(session.session_key).get("user"), None)


def only_redis():
    if sys.argv[1] != "django-redis":
        return
    between("ttl", cache.ttl("binary"), 290, 300)
    same("keys", sorted(cache.keys("bin*")), ["binary"])
    same("delete_pattern", cache.delete_pattern("bin*"), 1)
    same("set nx on what is there", bool(cache.set("made", 1, nx=True)), False)


def end():
    cache.clear()
    same("clear", cache.get("large"), None)
    cache.close()


life(one_key, many_keys, counters, any_bytes, sessions, only_redis, end)
