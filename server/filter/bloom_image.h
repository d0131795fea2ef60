/* bloom_image.h - a Bloom filter (bloom.h says of which kind) as an image (image.h
 * says who may read and write it), and how one travels in pieces.
 *
 *   head (48) | layer head (64) | blocks of 64 bytes | layer head | blocks | ...
 *
 * A layer is added by making a larger image; what was there keeps its place. In
 * memory from malloc, behind 16 bytes of something else, blocks of large filters
 * lie on cache lines.
 *
 * To travel, it is taken apart into the head of all (the head and all layer heads)
 * and parts, which are runs of blocks of one layer, numbered through all layers by
 * their bytes. A head that was loaded says "maybe" to everything until all parts
 * have been: "no" would not be certain. Whatever bytes a head and parts are made
 * of, loading reads and writes nothing outside of them and of the image; what a
 * filter that was loaded from garbage answers is garbage, but it is safe to ask. */
#ifndef CORRAL_FILTER_BLOOM_IMAGE_H
#define CORRAL_FILTER_BLOOM_IMAGE_H

#include "server/filter/bloom.h"
#include "server/filter/image.h"

struct bloom_image;

/* Bytes of an image for so many keys; 0: that cannot be. The arguments are bloom_new()'s. */
size_t bloom_image_size(uint64_t capacity, double error, unsigned expansion);
/* Makes one in so many bytes at a multiple of 8. */
void bloom_image_make(struct bloom_image *at, uint64_t capacity, double error, unsigned expansion);

bool bloom_image_maybe(const struct bloom_image *, uint64_t hash);
/* BLOOM_NO_MEMORY: it has to grow before. */
enum bloom_added bloom_image_add(struct bloom_image *, uint64_t hash);
/* Bytes of one that is a layer larger; 0: that cannot be. */
size_t bloom_image_grown_size(const struct bloom_image *);
/* Makes that, from one to which bloom_image_add() said BLOOM_NO_MEMORY. */
void bloom_image_grow(struct bloom_image *to, const struct bloom_image *from);
/* Forgets all, and all layers but the first; then it has fewer bytes than before. */
void bloom_image_clear(struct bloom_image *);

size_t bloom_image_bytes(const struct bloom_image *);
uint64_t bloom_image_items(const struct bloom_image *);
uint64_t bloom_image_capacity(const struct bloom_image *);
unsigned bloom_image_layers(const struct bloom_image *);
unsigned bloom_image_expansion(const struct bloom_image *);
double bloom_image_error(const struct bloom_image *);
double bloom_image_rate(const struct bloom_image *);
void bloom_image_check(const struct bloom_image *);

/* ---- travelling ---- */

enum { BLOOM_HEAD_MAX = 48 + BLOOM_LAYERS_MAX * 64 };

/* Writes the head of all; its length. */
size_t bloom_image_head(const struct bloom_image *, uint8_t to[BLOOM_HEAD_MAX]);
/* What the blocks of all layers have together. */
uint64_t bloom_image_parts(const struct bloom_image *);
/* The part that begins `at` < bloom_image_parts(), at most `most` bytes of it; *len is what it has.
 * Its bits may be being set: copy it by racy_read(). */
const uint8_t *bloom_image_part(const struct bloom_image *, uint64_t at, size_t most, size_t *len);

/* Bytes of the image that a head is for; 0: it is not a head. */
size_t bloom_image_sized(const uint8_t *head, size_t len);
/* Makes that image, with nothing in it yet. */
void bloom_image_load(struct bloom_image *to, const uint8_t *head, size_t len);
/* Whether parts are missing: those from *next on. */
bool bloom_image_is_loading(const struct bloom_image *, uint64_t *next);
/* The part that begins at *next. False: it is too long for its layer, or not a
 * number of blocks. */
bool bloom_image_load_part(struct bloom_image *, const uint8_t *part, size_t len);

#endif
