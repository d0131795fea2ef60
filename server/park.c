#include "server/park.h"

#include "server/check.h"
#include "server/push.h"
#include "server/server.h"

bool exec_may_park(const struct exec *x)
{
    return !x->alone && !(x->session->modes & SESSION_MULTI);
}

void exec_park(struct exec *x, span most)
{
    struct session *s = x->session;

    CHECK(exec_may_park(x) && (s->outcome == PARK_FRESH || s->outcome == PARK_WOKEN));
    if (push_of(x) == NULL) /* so that a letter finds it */
        return;
    if (s->outcome == PARK_FRESH)
        s->park_until = most.ms > 0 ? after(x->now, most) : (instant){0};
    s->parked = PARK_WAITING;
}
