/* image.h - a filter as one run of bytes: what the store keeps of it.
 *
 * An image holds no pointer and looks the same wherever it lies, so a growing one
 * is copied, a copied one is copied, and a Bloom filter's travels between nodes.
 * Its first word says what it is, and in which layout. It lies at a multiple of
 * 8 bytes.
 *
 * Who writes holds the shard's lock. Who reads a Bloom filter need not: what is
 * changed in place are single bits, which only ever get set, and counters, each by
 * one relaxed atomic store; sizes and layout never change, as a filter that grows
 * is a new image. So a reader who races a writer sees of each bit what was there
 * before or after. A key whose addition was acknowledged has all its bits set
 * already, and is never denied; of a key that is being added the answer may be
 * either, and both are right. So readers pin the image instead of locking, and
 * writers do not wait for them. A quotient filter moves slots when it is changed:
 * of it only the first word may be read without the lock. */
#ifndef CORRAL_FILTER_IMAGE_H
#define CORRAL_FILTER_IMAGE_H

#include <stdint.h>

/* In the byte order of the machine, so that an image from another kind of machine is none. */
enum image_kind {
    IMAGE_BLOOM = 0x016d6c62,    /* "blm" 1 */
    IMAGE_QUOTIENT = 0x01666f71, /* "qof" 1 */
};

/* Of an image, or of its first four bytes. */
static inline enum image_kind image_kind(const void *image)
{
    return *(const enum image_kind *)image;
}

#endif
