/* load_request.h - requests, built from pieces prepared once.
 *
 * All keys and values of a load have one size, so a request is fixed text with
 * keys and a value dropped in, and its length is known beforehand. */
#ifndef CORRAL_BENCH_LOAD_REQUEST_H
#define CORRAL_BENCH_LOAD_REQUEST_H

#include "bench/load_data.h"
#include "bench/load_reply.h"

struct request_form;

struct expiry_wish {
    uint32_t seconds; /* from the write; 0 = none */
    uint64_t at;      /* Unix time; 0 = none. Wins over seconds. */
};

/* Looks at `data` for as long as it lives. `multiget` keys per get. NULL when memory is short. */
struct request_form *request_form_new(enum load_protocol protocol, const struct load_data *data,
                                      uint32_t multiget, struct expiry_wish expiry);
void request_form_free(struct request_form **f);

/* Bytes of one get (of `multiget` keys) or one set. */
size_t request_get_size(const struct request_form *f);
size_t request_set_size(const struct request_form *f);

/* Writes one request and returns the byte after it. */
uint8_t *request_put_get(const struct request_form *f, const uint32_t *ids, uint8_t *to);
uint8_t *request_put_set(const struct request_form *f, uint32_t id, uint8_t *to);

#endif
