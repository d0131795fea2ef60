/* load_watch.c - asks for the number of items: DBSIZE, or stats' curr_items. */
#include "bench/load_watch.h"

#include "bench/load_cpu.h"
#include "server/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX_BYTES = 32 * 1024, ANSWER_TIMEOUT_MS = 10000, ASK_EVERY_MS = 10 };

static bool is_whole(enum load_protocol protocol, const char *text)
{
    if (protocol == LOAD_RESP)
        return strstr(text, "\r\n") != NULL;
    return strstr(text, "\r\nEND\r\n") != NULL || strncmp(text, "END\r\n", 5) == 0 ||
           strncmp(text, "ERROR", 5) == 0;
}

static bool ask(int fd, enum load_protocol protocol, char *text, size_t size, char *why, size_t why_size)
{
    const char *question = protocol == LOAD_RESP ? "*1\r\n$6\r\nDBSIZE\r\n" : "stats\r\n";
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    size_t len = 0;

    if (send(fd, question, strlen(question), MSG_NOSIGNAL) != (ssize_t)strlen(question)) {
        snprintf(why, why_size, "cannot ask the server: %s", strerror(errno));
        return false;
    }
    while (len < size - 1) {
        ssize_t got;

        if (poll(&wait, 1, ANSWER_TIMEOUT_MS) == 0) {
            snprintf(why, why_size, "the server does not say how many items it holds");
            return false;
        }
        got = recv(fd, text + len, size - 1 - len, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
        text[len] = '\0';
        if (is_whole(protocol, text))
            return true;
    }
    snprintf(why, why_size, "the server closed the connection");
    return false;
}

static bool count_items(int fd, enum load_protocol protocol, long long *items, char *why, size_t why_size)
{
    char text[ANSWER_MAX_BYTES];
    const char *at = text;

    if (!ask(fd, protocol, text, sizeof text, why, why_size))
        return false;
    if (protocol != LOAD_RESP)
        at = strstr(text, "STAT curr_items ");
    if (at != NULL && sscanf(at, protocol == LOAD_RESP ? ":%lld" : "STAT curr_items %lld", items) == 1)
        return true;
    snprintf(why, why_size, "not a number of items: %.40s", text);
    return false;
}

bool watch_count_items(const struct load_options *o, char *why, size_t why_size)
{
    int fd = net_connect(&o->server, why, why_size);
    long long items;
    bool ok;

    if (fd < 0)
        return false;
    ok = count_items(fd, o->protocol, &items, why, why_size);
    if (ok)
        printf("%lld\n", items);
    close(fd);
    return ok;
}

struct watch {
    int fd;
    double began, from, ended; /* seconds of Unix time */
    struct cpu_reading cpu_began, cpu_from, cpu_ended;
    long long items_at_from, items;
};

static double unix_seconds(void)
{
    return (double)clock_now_us() / 1e6;
}

static bool watch_until(struct watch *w, const struct load_options *o, double until, char *why,
                        size_t why_size)
{
    do {
        poll(NULL, 0, ASK_EVERY_MS);
        if (!count_items(w->fd, o->protocol, &w->items, why, why_size))
            return false;
    } while (w->items > 0 && unix_seconds() < until);
    return true;
}

static void print_finding(const struct watch *w, const struct load_options *o)
{
    struct cpu_spent idle = cpu_between(&w->cpu_began, &w->cpu_from);
    struct cpu_spent busy = cpu_between(&w->cpu_from, &w->cpu_ended);
    double idle_rate = w->from > w->began ? idle.total_ns / (w->from - w->began) : 0;
    double took = w->ended - w->from;

    if (!o->json) {
        printf("items            %lld when waiting began, %lld at its end\n", w->items_at_from, w->items);
        printf("seconds          %.3f\n", took);
        if (o->pid > 0)
            printf("server CPU ms    %.1f beyond an idle rate of %.1f a second\n",
                   (busy.total_ns - idle_rate * took) / 1e6, idle_rate / 1e6);
        return;
    }
    printf("{\"empty\":%s,\"seconds\":%.3f,\"items_before\":%lld,\"items\":%lld",
           w->items == 0 ? "true" : "false", took, w->items_at_from, w->items);
    if (o->pid > 0)
        printf(",\"cpu_ms\":%.2f,\"idle_cpu_ms_per_second\":%.2f", (busy.total_ns - idle_rate * took) / 1e6,
               idle_rate / 1e6);
    printf("}\n");
}

bool watch_await_empty(const struct load_options *o, char *why, size_t why_size)
{
    struct watch w = {.began = unix_seconds()};
    bool ok = false;

    w.fd = net_connect(&o->server, why, why_size);
    if (w.fd < 0)
        return false;
    snprintf(why, why_size, "process %ld cannot be read", (long)o->pid);
    if (o->pid > 0 && !cpu_read(o->pid, &w.cpu_began))
        goto done;
    if (o->await_from > w.began && !watch_until(&w, o, o->await_from, why, why_size))
        goto done;
    w.from = unix_seconds();
    w.items_at_from = w.items;
    if (w.from < o->await_from) { /* nothing was there to wait for */
        snprintf(why, why_size, "the server was empty %.1f s before --await-from", o->await_from - w.from);
        goto done;
    }
    if (o->pid > 0 && !cpu_read(o->pid, &w.cpu_from))
        goto done;
    if (!watch_until(&w, o, w.from + o->await_seconds, why, why_size))
        goto done;
    w.ended = unix_seconds();
    if (o->pid > 0 && !cpu_read(o->pid, &w.cpu_ended))
        goto done;
    print_finding(&w, o);
    ok = true;
done:
    close(w.fd);
    return ok;
}
