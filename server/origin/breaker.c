#include "server/origin/breaker.h"

#include "server/check.h"

bool breaker_asks(struct breaker *b, int64_t now_ms)
{
    if (b->state == BREAKER_OPEN && now_ms >= b->until_ms) {
        b->state = BREAKER_HALF_OPEN;
        b->probing = false;
    }
    switch (b->state) {
    case BREAKER_CLOSED: return true;
    case BREAKER_OPEN: return false;
    case BREAKER_HALF_OPEN:
        if (b->probing)
            return false;
        b->probing = true;
        return true;
    }
    CHECK_UNREACHABLE();
}

void breaker_succeeded(struct breaker *b)
{
    b->in_a_row = 0;
    if (b->state != BREAKER_HALF_OPEN)
        return; /* open: of before; the probe shall decide */
    b->state = BREAKER_CLOSED;
    b->probing = false;
    b->opened = 0;
}

void breaker_failed(struct breaker *b, int64_t now_ms, unsigned failures, int64_t open_ms)
{
    b->in_a_row++;
    if (b->state == BREAKER_OPEN || (b->state == BREAKER_CLOSED && b->in_a_row < failures))
        return;
    b->until_ms = now_ms + (open_ms << (b->opened < BREAKER_DOUBLINGS ? b->opened : BREAKER_DOUBLINGS));
    b->state = BREAKER_OPEN;
    b->probing = false;
    b->opened++;
    b->openings++;
}

void breaker_forgotten(struct breaker *b)
{
    b->probing = false;
}

const char *breaker_name(enum breaker_state state)
{
    switch (state) {
    case BREAKER_CLOSED: return "closed";
    case BREAKER_OPEN: return "open";
    case BREAKER_HALF_OPEN: return "half-open";
    }
    CHECK_UNREACHABLE();
}
