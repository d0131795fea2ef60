#include "server/park.h"

#include "server/check.h"
#include "server/push.h"
#include "server/server.h"
#include "server/worker.h"

bool exec_may_park(const struct exec *x)
{
    return !x->alone && !x->worker->finishing && !(x->session->modes & SESSION_MULTI);
}

void exec_park(struct exec *x, span most)
{
    exec_park_look(x, most, (instant){0});
}

void exec_park_look(struct exec *x, span most, instant look)
{
    struct session *s = x->session;

    CHECK(exec_may_park(x) && (s->outcome == PARK_FRESH || s->outcome == PARK_WOKEN));
    if (push_of(x) == NULL) /* so that a letter finds it */
        return;
    if (s->outcome == PARK_FRESH)
        s->parked_first = x->now;
    s->park_until = most.ms > 0 ? after(s->parked_first, most) : (instant){0};
    s->park_look = look;
    s->parked = PARK_WAITING;
}
