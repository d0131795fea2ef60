#include "cluster/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_is_v4(const struct address *address)
{
    return memcmp(address->ip, v4_mapped, sizeof v4_mapped) == 0;
}

bool address_parse(const char *text, struct address *out)
{
    const char *colon = strrchr(text, ':');
    char host[ADDRESS_TEXT_MAX];
    size_t len;
    char *end;
    unsigned long port;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return false;
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX)
        return false;
    len = (size_t)(colon - text);
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    out->port = (uint16_t)port;
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, out->ip) == 1;
    }
    memcpy(out->ip, v4_mapped, sizeof v4_mapped);
    return inet_pton(AF_INET, host, out->ip + sizeof v4_mapped) == 1;
}

void address_print(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];

    if (address_is_v4(address)) {
        inet_ntop(AF_INET, address->ip + sizeof v4_mapped, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, address->port);
    } else {
        inet_ntop(AF_INET6, address->ip, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, address->port);
    }
}
