#include "server/cluster/whereabouts.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENT_PORT_ABOVE = 10000, PORT_MAX = 65535 };

int whereabouts_link_port(const struct options *o)
{
    return o->cluster_link_port != 0 ? o->cluster_link_port : o->cluster_port + 1;
}

int whereabouts_client_port(const struct options *o)
{
    if (o->cluster_client_port != 0)
        return o->cluster_client_port;
    return o->port != 0 ? o->port + CLIENT_PORT_ABOVE : 0;
}

/* ---- addresses ---- */

static bool from_sockaddr(const struct sockaddr *from, struct address *out)
{
    if (from->sa_family == AF_INET) {
        *out = (struct address){.ip = {[10] = 0xff, [11] = 0xff}};
        memcpy(out->ip + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        *out = (struct address){.port = 0};
        memcpy(out->ip, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    }
    return from->sa_family == AF_INET || from->sa_family == AF_INET6;
}

static bool is_loopback(const struct address *a)
{
    static const uint8_t one[16] = {[15] = 1};

    return address_is_v4(a) ? a->ip[12] == 127 : memcmp(a->ip, one, sizeof one) == 0;
}

static bool is_wildcard(const struct address *a)
{
    static const uint8_t zero[16] = {0};

    return memcmp(a->ip + 12, zero, 4) == 0 && (address_is_v4(a) || memcmp(a->ip, zero, 16) == 0);
}

/* An address, or a name that has one. */
static bool look_up(const char *host, struct address *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    bool ok = getaddrinfo(host, NULL, &hints, &list) == 0 && from_sockaddr(list->ai_addr, out);

    if (list != NULL)
        freeaddrinfo(list);
    return ok;
}

static bool on_this_machine(const struct address *a)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return true; /* then bind() will say */
    for (const struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        struct address one;

        found = i->ifa_addr != NULL && from_sockaddr(i->ifa_addr, &one) &&
                memcmp(one.ip, a->ip, sizeof one.ip) == 0;
    }
    freeifaddrs(all);
    return found;
}

static bool is_link_local(const struct address *a)
{
    return !address_is_v4(a) && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* The first that others can reach, of the wildcard's kind; of :: also IPv4, but rather not. */
static bool reachable_one(bool v4, struct address *out)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return false;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        struct address one;

        if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) || !from_sockaddr(i->ifa_addr, &one) ||
            is_loopback(&one) || is_link_local(&one) || (found && address_is_v4(&one) != v4) ||
            (v4 && !address_is_v4(&one)))
            continue;
        if (!found || address_is_v4(out) != v4)
            *out = one;
        found = true;
    }
    freeifaddrs(all);
    return found;
}

/* ---- bind ---- */

struct bound {
    struct address first;
    bool some, loopback; /* all of them are on loopback */
};

static bool take_word(const char *word, struct bound *bound, char *err, size_t err_len)
{
    bool optional = word[0] == '-';
    const char *host = word + optional;
    struct address a;

    if (strcmp(host, "*") == 0)
        host = "0.0.0.0";
    if (!look_up(host, &a)) {
        snprintf(err, err_len, "bind: %s is no address of this machine", host);
        return optional;
    }
    if (optional && !is_wildcard(&a) && !on_this_machine(&a))
        return true;
    if (!bound->some || (is_loopback(&bound->first) && !is_loopback(&a)))
        bound->first = a; /* others reach us there, if anywhere */
    bound->loopback &= is_loopback(&a);
    bound->some = true;
    return true;
}

static bool read_bind(const char *bind, struct bound *bound, char *err, size_t err_len)
{
    char *words = strdup(bind), *rest = words, *word;
    bool ok = words != NULL;

    *bound = (struct bound){.loopback = true};
    while (ok && (word = strsep(&rest, " ")) != NULL) {
        if (*word != '\0')
            ok = take_word(word, bound, err, err_len);
    }
    free(words);
    if (ok && !bound->some)
        snprintf(err, err_len, "bind: a node of a cluster needs an address for its cluster-port");
    return ok && bound->some;
}

/* What the others are told. */
static bool choose_told(const struct options *o, const struct address *listen, struct address *told,
                        char *err, size_t err_len)
{
    if (o->cluster_announce_ip[0] != '\0') {
        if (look_up(o->cluster_announce_ip, told) && !is_wildcard(told))
            return true;
        snprintf(err, err_len, "cluster-announce-ip: %.100s is no address that others could reach",
                 o->cluster_announce_ip);
        return false;
    }
    if (!is_wildcard(listen)) {
        *told = *listen;
        return true;
    }
    if (reachable_one(address_is_v4(listen), told))
        return true;
    snprintf(err, err_len,
             "bind stands for all addresses, and this machine has none but loopback: "
             "say with cluster-announce-ip by which one other nodes reach this one");
    return false;
}

/* ---- ports and names ---- */

static bool check_ports(const struct options *o, char *err, size_t err_len)
{
    if (whereabouts_link_port(o) > PORT_MAX) {
        snprintf(err, err_len, "cluster-link-port: %d, the port after cluster-port, is none: choose one",
                 whereabouts_link_port(o));
        return false;
    }
    if (whereabouts_client_port(o) > PORT_MAX) {
        snprintf(err, err_len, "cluster-client-port: port + %d = %d is no port: choose one",
                 CLIENT_PORT_ABOVE, whereabouts_client_port(o));
        return false;
    }
    return true;
}

static bool fill_services(const struct options *o, struct services *s, char *err, size_t err_len)
{
    struct in6_addr room;
    int client = o->cluster_announce_port != 0 ? o->cluster_announce_port : whereabouts_client_port(o);
    int link = o->cluster_announce_link_port != 0 ? o->cluster_announce_link_port : whereabouts_link_port(o);

    *s = (struct services){.port = (uint16_t)o->port,
                           .client_port = (uint16_t)client,
                           .memcache_port = (uint16_t)o->memcache_port,
                           .link_port = (uint16_t)link};
    if (inet_pton(AF_INET, o->announce_host, &room) == 1 || inet_pton(AF_INET6, o->announce_host, &room) == 1)
        return true; /* no name */
    if (!hostname_valid(o->announce_host)) {
        snprintf(err, err_len,
                 "announce-host: in a cluster it has at most %d bytes, letters, digits and ._- only",
                 HOSTNAME_MAX);
        return false;
    }
    snprintf(s->hostname, sizeof s->hostname, "%s", o->announce_host);
    return true;
}

bool whereabouts_find(const struct options *o, struct whereabouts *out, char *err, size_t err_len)
{
    struct bound bound;

    *out = (struct whereabouts){.loopback = false};
    if (!zone_valid(o->zone)) {
        snprintf(err, err_len, "zone: at most %d letters, digits and ._:/-", ZONE_MAX);
        return false;
    }
    if (!check_ports(o, err, err_len) || !fill_services(o, &out->services, err, err_len) ||
        !read_bind(o->bind, &bound, err, err_len) || !choose_told(o, &bound.first, &out->told, err, err_len))
        return false;
    out->listen = bound.first;
    out->listen.port = (uint16_t)o->cluster_port;
    out->told.port =
        (uint16_t)(o->cluster_announce_bus_port != 0 ? o->cluster_announce_bus_port : o->cluster_port);
    out->loopback = bound.loopback && is_loopback(&out->told);
    return true;
}

/* ---- seeds ---- */

/* Where the port's colon is, if there is one: an IPv6 address has others. */
static const char *port_of(const char *word)
{
    const char *colon = strrchr(word, ':');

    if (colon == NULL || (word[0] == '[' && strchr(word, ']') > colon))
        return NULL;
    return colon;
}

bool whereabouts_seed(const char *word, int port, char out[SEED_TEXT_MAX])
{
    const char *colon = port_of(word);
    size_t host = colon != NULL ? (size_t)(colon - word) : strlen(word);
    int len;

    if (colon != NULL) {
        char *end;
        unsigned long n = strtoul(colon + 1, &end, 10);

        if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || n == 0 || n > PORT_MAX)
            return false;
        port = (int)n;
    }
    if (host == 0 || (word[0] != '[' && memchr(word, ':', host) != NULL))
        return false;
    len = snprintf(out, SEED_TEXT_MAX, "%.*s:%d", (int)host, word, port);
    return len > 0 && len < SEED_TEXT_MAX;
}
