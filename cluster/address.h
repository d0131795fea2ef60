/* address.h - where a node can be reached: an IP address and a port. IPv4 is
 * written as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), so that there is one kind. */
#ifndef CORRAL_ADDRESS_H
#define CORRAL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct address {
    uint8_t ip[16];
    uint16_t port; /* as a number, not in network order */
};

enum { ADDRESS_TEXT_MAX = 56 }; /* "[ipv6]:port" and the NUL */

static inline bool address_equals(const struct address *a, const struct address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}
bool address_is_v4(const struct address *);
/* "10.0.0.1:7000" or "[fd00::1]:7000", numbers only. False when it is neither. */
bool address_parse(const char *text, struct address *out);
void address_print(const struct address *, char text[ADDRESS_TEXT_MAX]);

#endif
