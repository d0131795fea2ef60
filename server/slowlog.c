#include "server/slowlog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct slowlog {
    pthread_mutex_t lock;
    struct slowlog_entry *newest;
    size_t len, max;
    uint64_t next_id;
};

struct slowlog *slowlog_new(void)
{
    struct slowlog *log = calloc(1, sizeof *log);

    if (log != NULL)
        pthread_mutex_init(&log->lock, NULL);
    return log;
}

/* Keeps the newest n. Under the lock. */
static void keep(struct slowlog *log, size_t n)
{
    struct slowlog_entry **at = &log->newest, *next;

    if (log->len <= n)
        return;
    for (log->len = n; n > 0; n--)
        at = &(*at)->next;
    for (struct slowlog_entry *entry = *at; entry != NULL; entry = next) {
        next = entry->next;
        free(entry);
    }
    *at = NULL;
}

void slowlog_free(struct slowlog **log)
{
    if (*log == NULL)
        return;
    keep(*log, 0);
    pthread_mutex_destroy(&(*log)->lock);
    free(*log);
    *log = NULL;
}

void slowlog_set_max(struct slowlog *log, size_t entries)
{
    pthread_mutex_lock(&log->lock);
    log->max = entries;
    keep(log, entries);
    pthread_mutex_unlock(&log->lock);
}

/* ---- one entry: a block of memory, its texts behind it ---- */

enum { REMARK_MAX = 64 }; /* "... (123 more bytes)" */

/* Copies a text, with a zero byte for the readers of names. */
static char *append(char *to, const void *text, size_t len)
{
    if (len > 0)
        memcpy(to, text, len);
    to[len] = '\0';
    return to + len + 1;
}

static struct slice remark(char **at, const char *format, size_t n)
{
    char text[REMARK_MAX];
    const char *from = *at;
    int len = snprintf(text, sizeof text, format, n);

    *at = append(*at, text, len > 0 ? (size_t)len : 0);
    return (struct slice){(const uint8_t *)from, (size_t)(*at - from) - 1};
}

static struct slice shortened(char **at, struct slice word)
{
    const char *from = *at;
    size_t kept = word.len < SLOWLOG_WORD ? word.len : SLOWLOG_WORD;

    *at = append(*at, word.data, kept);
    if (word.len > kept) {
        *at -= 1; /* the remark goes on where the text ends */
        remark(at, "... (%zu more bytes)", word.len - kept);
    }
    return (struct slice){(const uint8_t *)from, (size_t)(*at - from) - 1};
}

static struct slowlog_entry *entry_new(const struct slow_request *r)
{
    unsigned words = r->argc < SLOWLOG_WORDS ? r->argc : SLOWLOG_WORDS,
             with_remark = words + (r->followers > 0);
    const char *name = r->name != NULL ? r->name : "";
    size_t texts = strlen(r->address) + strlen(name) + 2 + REMARK_MAX;
    struct slowlog_entry *e;
    char *at;

    for (unsigned i = 0; i < words; i++)
        texts += (r->argv[i].len < SLOWLOG_WORD ? r->argv[i].len : SLOWLOG_WORD) + REMARK_MAX;
    if ((e = malloc(sizeof *e + with_remark * sizeof *e->word + texts)) == NULL)
        return NULL;
    at = (char *)&e->word[with_remark];
    *e = (struct slowlog_entry){.seconds = r->seconds, .us = r->us, .words = with_remark, .address = at};
    at = append(at, r->address, strlen(r->address));
    e->name = at;
    at = append(at, name, strlen(name));
    for (unsigned i = 0; i < words; i++) {
        if (i + 1 == SLOWLOG_WORDS && r->argc > SLOWLOG_WORDS)
            e->word[i] = remark(&at, "... (%zu more arguments)", r->argc - SLOWLOG_WORDS + 1);
        else
            e->word[i] = shortened(&at, r->argv[i]);
    }
    if (r->followers > 0)
        e->word[words] = remark(&at, "... (%zu more requests)", r->followers);
    return e;
}

void slowlog_add(struct slowlog *log, const struct slow_request *request)
{
    struct slowlog_entry *entry = entry_new(request);

    if (entry == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    entry->id = log->next_id++;
    entry->next = log->newest;
    log->newest = entry;
    log->len++;
    keep(log, log->max);
    pthread_mutex_unlock(&log->lock);
}

/* ---- looking ---- */

size_t slowlog_len(struct slowlog *log)
{
    size_t len;

    pthread_mutex_lock(&log->lock);
    len = log->len;
    pthread_mutex_unlock(&log->lock);
    return len;
}

void slowlog_reset(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    keep(log, 0);
    pthread_mutex_unlock(&log->lock);
}

const struct slowlog_entry *slowlog_lock(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    return log->newest;
}

void slowlog_unlock(struct slowlog *log)
{
    pthread_mutex_unlock(&log->lock);
}
