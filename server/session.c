#include "server/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK(field) atomic_load_explicit(&s->field, memory_order_relaxed)

bool session_init(struct session *s, enum dialect dialect, int fd, const char *address,
                  const char *local_address, instant now)
{
    *s = (struct session){.dialect = dialect, .resp = 2, .fd = fd, .created = now};
    atomic_init(&s->last_active_ms, now.ms);
    atomic_init(&s->queued, -1);
    atomic_init(&s->redirect_shown, -1);
    atomic_init(&s->shown, address[0] == '/' ? SHOWN_UNIX : 0);
    s->address = strdup(address);
    s->local_address = strdup(local_address);
    if (s->address != NULL && s->local_address != NULL)
        return true;
    session_free(s);
    return false;
}

void session_end_producer(struct session *s)
{
    if (s->producer != NULL)
        s->producer->free(s->producer);
    s->producer = NULL;
}

void session_free(struct session *s)
{
    char **owned[] = {&s->name, &s->lib_name, &s->lib_version, &s->address, &s->local_address};

    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        free(*owned[i]);
        *owned[i] = NULL;
    }
    session_end_producer(s);
}

bool session_set_text(char **field, const uint8_t *text, size_t len)
{
    char *copy = NULL;

    if (len > 0) {
        if ((copy = malloc(len + 1)) == NULL)
            return false;
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    free(*field);
    *field = copy;
    return true;
}

static const char *or_nothing(const char *text)
{
    return text != NULL ? text : "";
}

static void write_flags(unsigned shown, char flags[sizeof SESSION_SHOWN_LETTERS])
{
    size_t n = 0;

    for (size_t i = 0; SESSION_SHOWN_LETTERS[i] != '\0'; i++) {
        if (shown & 1u << i)
            flags[n++] = SESSION_SHOWN_LETTERS[i];
    }
    if (n == 0)
        flags[n++] = 'N';
    flags[n] = '\0';
}

size_t session_line(const struct session *s, instant now, char *line, size_t cap)
{
    const char *command = LOOK(last_command);
    size_t out = LOOK(output_bytes), queued_bytes = LOOK(queued_bytes);
    int32_t queued = LOOK(queued);
    char flags[sizeof SESSION_SHOWN_LETTERS];

    write_flags(LOOK(shown) | (queued >= 0 ? SHOWN_MULTI : 0), flags);
    int n = snprintf(
        line, cap,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%d sub=%u psub=%u ssub=%u "
        "multi=%d qbuf=%zu qbuf-free=0 argv-mem=0 multi-mem=%zu rbs=0 rbp=0 obl=0 oll=%d omem=%zu "
        "tot-mem=%zu events=%s cmd=%s user=default redir=%lld resp=%d lib-name=%s lib-ver=%s%s\n",
        (unsigned long long)s->id, s->address, s->local_address, s->fd, or_nothing(s->name),
        (long long)since(now, s->created).ms / 1000,
        (long long)since(now, (instant){LOOK(last_active_ms)}).ms / 1000, flags, s->db,
        LOOK(subscriptions[0]), LOOK(subscriptions[1]), LOOK(subscriptions[2]), queued, LOOK(input_bytes),
        queued_bytes, out > 0, out, LOOK(input_bytes) + queued_bytes + out, out > 0 ? "rw" : "r",
        command != NULL ? command : "NULL", (long long)LOOK(redirect_shown), s->resp, or_nothing(s->lib_name),
        or_nothing(s->lib_version), s->dialect == DIALECT_MEMCACHE ? " dialect=memcached" : "");

    if (n < 0)
        return 0;
    if ((size_t)n < cap)
        return (size_t)n;
    line[cap - 2] = '\n';
    return cap - 1;
}
