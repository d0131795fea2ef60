#include "server/origin/backend.h"

#include "config.h"

struct backend *backend_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                            size_t value_max)
{
#ifdef CORRAL_CURL
    if (rule->kind == ORIGIN_HTTP)
        return backend_http_new(rule, loop, timers, value_max);
#endif
    return backend_resp_new(rule, loop, timers, value_max);
}

void backend_free(struct backend **backend)
{
    if (*backend != NULL)
        (*backend)->type->free(*backend);
    *backend = NULL;
}

void backend_start(struct backend *backend, struct call *call)
{
    backend->type->start(backend, call);
}

void backend_cancel(struct backend *backend, struct call *call)
{
    if (call->handle != NULL)
        backend->type->cancel(backend, call);
    call->handle = NULL;
}
