/* item.c - laying an item out. */
#include "server/store/item.h"

#include "server/check.h"

static bool expiry_fits(instant expires, int64_t base)
{
    return expires.ms > base && expires.ms - base <= UINT32_MAX;
}

void item_plan(struct item_plan *plan, int64_t base)
{
    uint32_t overhead = ITEM_HEADER;

    plan->flags &= ITEM_BLOB;
    plan->meta &= ~ITEM_META_EXPIRY;
    if (plan->expires.ms != 0 && !expiry_fits(plan->expires, base))
        plan->meta |= ITEM_META_EXPIRY;
    if (plan->key.len >= ITEM_KEY_LONG)
        overhead += 4;
    if (plan->meta != 0) {
        plan->flags |= ITEM_HAS_META;
        overhead += item_meta_size(plan->meta);
    }
    if (plan->client_flags != 0) {
        plan->flags |= ITEM_HAS_FLAGS;
        overhead += 4;
    }
    if (plan->cas != 0) {
        plan->flags |= ITEM_HAS_CAS;
        overhead += 8;
    }
    plan->size = item_round(overhead + (uint32_t)(plan->key.len + plan->head.len + plan->tail.len));
}

static uint8_t *put32(uint8_t *to, uint32_t v)
{
    racy_store32(to, v);
    return to + 4;
}
static uint8_t *put64(uint8_t *to, uint64_t v)
{
    racy_write(to, &v, sizeof v);
    return to + 8;
}
static uint8_t *put_bytes(uint8_t *to, struct slice s)
{
    if (s.len != 0)
        racy_write(to, s.data, s.len);
    return to + s.len;
}

void item_write(uint8_t *to, const struct item_plan *plan, int64_t base)
{
    uint32_t value_len = (uint32_t)(plan->head.len + plan->tail.len);
    uint8_t *at = to;

    CHECK(value_len <= ITEM_VALUE_MAX && plan->key.len <= STORE_KEY_MAX);
    at = put32(at, word0_make((uint32_t)plan->key.len, value_len, plan->flags));
    if (plan->expires.ms != 0 && !(plan->meta & ITEM_META_EXPIRY))
        at = put32(at, (uint32_t)(plan->expires.ms - base));
    else
        at = put32(at, 0);
    if (plan->key.len >= ITEM_KEY_LONG)
        at = put32(at, (uint32_t)plan->key.len);
    if (plan->flags & ITEM_HAS_META)
        at = put32(at, plan->meta);
    if (plan->meta & ITEM_META_EXPIRY)
        at = put64(at, (uint64_t)plan->expires.ms);
    if (plan->meta & ITEM_META_GRACE) {
        at = put32(at, plan->herd.grace_ms);
        at = put32(at, plan->herd.fill_ms);
    }
    if (plan->meta & ITEM_META_LEASE) {
        at = put64(at, plan->herd.token);
        at = put64(at, (uint64_t)plan->herd.granted.ms << STORE_LEASE_BITS | plan->herd.length_ms);
    }
    if (plan->flags & ITEM_HAS_FLAGS)
        at = put32(at, plan->client_flags);
    if (plan->flags & ITEM_HAS_CAS)
        at = put64(at, plan->cas);
    at = put_bytes(at, plan->key);
    at = put_bytes(at, plan->head);
    put_bytes(at, plan->tail);
}
