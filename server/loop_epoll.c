#include "server/loop.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/check.h"

struct loop {
    int fd;
    bool cut;
    struct epoll_event found[LOOP_EVENTS_MAX];
};

struct loop *loop_new(void)
{
    struct loop *loop = malloc(sizeof *loop);

    if (loop == NULL)
        return NULL;
    loop->cut = false;
    if ((loop->fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop **loop)
{
    if (*loop == NULL)
        return;
    close((*loop)->fd);
    free(*loop);
    *loop = NULL;
}

static bool control(struct loop *loop, int verb, int fd, unsigned events, struct loop_source *source)
{
    struct epoll_event event = {.data.ptr = source};

    if (events & LOOP_READ)
        event.events |= EPOLLIN;
    if (events & LOOP_WRITE)
        event.events |= EPOLLOUT;
    if (events & LOOP_HANGUP)
        event.events |= EPOLLRDHUP;
    return epoll_ctl(loop->fd, verb, fd, &event) == 0;
}

bool loop_add(struct loop *loop, int fd, unsigned events, struct loop_source *source)
{
    return control(loop, EPOLL_CTL_ADD, fd, events, source);
}

bool loop_change(struct loop *loop, int fd, unsigned events, struct loop_source *source)
{
    return control(loop, EPOLL_CTL_MOD, fd, events, source);
}

void loop_remove(struct loop *loop, int fd)
{
    control(loop, EPOLL_CTL_DEL, fd, 0, NULL);
}

int loop_wait(struct loop *loop, int timeout_ms)
{
    int n = epoll_wait(loop->fd, loop->found, LOOP_EVENTS_MAX, timeout_ms);

    CHECK(n >= 0 || errno == EINTR);
    return n > 0 ? n : 0;
}

static unsigned events_of(const struct epoll_event *found)
{
    unsigned events = 0;

    if (found->events & EPOLLIN)
        events |= LOOP_READ;
    if (found->events & EPOLLOUT)
        events |= LOOP_WRITE;
    if (found->events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
        events |= LOOP_BROKEN;
    return events;
}

static void prepare_group(const struct epoll_event *group, unsigned n, enum loop_round round)
{
    for (unsigned i = 0; i < n; i++) {
        struct loop_source *source = group[i].data.ptr;

        if (source->prepare != NULL && group[i].events == EPOLLIN)
            source->prepare(source, round, i);
    }
}

void loop_cut(struct loop *loop)
{
    loop->cut = true;
}

void loop_run(struct loop *loop, int n)
{
    loop->cut = false;
    for (int done = 0; done < n && !loop->cut; done += LOOP_GROUP) {
        const struct epoll_event *group = &loop->found[done];
        unsigned len = n - done < LOOP_GROUP ? (unsigned)(n - done) : LOOP_GROUP;

        if (len > 1) {
            prepare_group(group, len, LOOP_FIRST);
            prepare_group(group, len, LOOP_SECOND);
        }
        for (unsigned i = 0; i < len; i++) {
            struct loop_source *source = group[i].data.ptr;

            source->ready(source, events_of(&group[i]));
        }
    }
}
