#include "server/cluster/forward.h"
#include "server/cluster/control.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/cluster/control_inside.h"
#include "server/log.h"

enum {
    STATUS_MS = 100,        /* how old figures may get while something happens */
    IDLE_MS = 1000,         /* and while nothing does */
    STATE_GAP_MS = 2000,    /* between two writings of the state file */
    GOODBYE_MS = 1000,      /* for a farewell to get around */
    LOOK_UP_MS = 30 * 1000, /* names of seeds */
};

static int64_t now_ms(void)
{
    return clock_ticks_ms();
}

static void id_text(const struct node_id *id, char text[NODE_ID_TEXT + 1])
{
    node_id_to_text(id, text);
    text[NODE_ID_TEXT] = '\0';
}

const struct node_id *control_self(const struct control *c)
{
    return &c->self;
}

const struct cluster_identity *control_identity(const struct control *c)
{
    return &c->identity;
}

struct secrets *control_secrets(const struct control *c)
{
    return c->secrets;
}

/* ---- seeds ---- */

/* What names and memory say: replaces what membership knew. */
static void tell_seeds(struct control *c)
{
    struct address all[SEEDS_MAX + MET_MAX + STATE_PEERS_MAX];
    size_t count = c->found_count;

    memcpy(all, c->found, count * sizeof *all);
    memcpy(all + count, c->state.peers, c->state.peer_count * sizeof *all);
    membership_seeds(cluster_membership(c->cluster), all, count + c->state.peer_count);
}

static void seeds_found(void *owner, const struct address *addresses, size_t count)
{
    struct control *c = owner;

    c->found_count = count < SEEDS_MAX + MET_MAX ? count : SEEDS_MAX + MET_MAX;
    memcpy(c->found, addresses, c->found_count * sizeof *addresses);
    tell_seeds(c);
}

static void look_up_seeds(struct control *c)
{
    const char *names[SEEDS_MAX + MET_MAX];
    size_t count = c->seed_count + c->met_count;

    for (size_t i = 0; i < count; i++)
        names[i] = c->seeds[i];
    if (!real_transport_seeds(c->transport, names, count, LOOK_UP_MS, seeds_found, c))
        log_event(LOG_LEVEL_WARNING, "cluster_seeds_not_looked_up", "reason=\"no memory or thread\"");
}

static void meet(struct control *c, const char *seed)
{
    char(*met)[SEED_TEXT_MAX] = c->seeds + c->seed_count;

    for (size_t i = 0; i < c->seed_count + c->met_count; i++) {
        if (strcmp(c->seeds[i], seed) == 0)
            return;
    }
    if (c->met_count == MET_MAX)
        memmove(met, met + 1, --c->met_count * sizeof *met);
    memcpy(met[c->met_count++], seed, SEED_TEXT_MAX);
    log_event(LOG_LEVEL_NOTICE, "cluster_meet", "addr=%s", seed);
    c->seeds_changed = true;
}

static bool read_seeds(struct control *c, const char *words, char *err, size_t err_len)
{
    char *copy = strdup(words), *rest = copy, *word;
    bool ok = copy != NULL;

    while (ok && (word = strsep(&rest, " ")) != NULL) {
        if (*word == '\0')
            continue;
        if (c->seed_count == SEEDS_MAX) {
            snprintf(err, err_len, "cluster-seeds: %d are enough to find a cluster by", SEEDS_MAX);
            ok = false;
        } else if (!whereabouts_seed(word, c->server->options.cluster_port, c->seeds[c->seed_count])) {
            snprintf(err, err_len, "cluster-seeds: %.100s is neither host nor host:port", word);
            ok = false;
        } else {
            c->seed_count++;
        }
    }
    free(copy);
    return ok;
}

/* ---- the state file ---- */

static void new_self(struct control *c)
{
    randombytes_buf(c->self.bytes, sizeof c->self.bytes);
}

/* Boots are seconds where they are higher: so they rise even when the last count was not written. */
static void remember_self(struct control *c)
{
    const char *path = c->server->options.cluster_config_file;
    uint64_t seconds = (uint64_t)time(NULL);
    char err[160];

    new_self(c);
    if (path[0] != '\0') {
        switch (state_read(path, &c->state, err, sizeof err)) {
        case STATE_READ: c->self = c->state.id; break;
        case STATE_NONE: break;
        case STATE_WRONG:
            log_event(
                LOG_LEVEL_WARNING, "cluster_file_refused",
                "path=%s reason=\"%s\": this node has a new id, and the file stays as it is; put it right "
                "or remove it",
                path, err);
            c->state = (struct state){.boots = 0};
            path = "";
            break;
        }
    }
    c->state_dirty = path[0] != '\0';
    c->state.id = c->self;
    c->state.boots = c->state.boots + 1 > seconds ? c->state.boots + 1 : seconds;
}

static void add_peers(struct control *c, struct state *to, bool dead)
{
    const struct record *r;
    uint32_t cursor = 0;

    while (to->peer_count < STATE_PEERS_MAX &&
           (r = membership_next(cluster_membership(c->cluster), &cursor)) != NULL) {
        if (!node_id_equals(&r->id, &c->self) && r->state != MEMBER_LEFT && (r->state == MEMBER_DEAD) == dead)
            to->peers[to->peer_count++] = r->address;
    }
}

/* Whether we know who is there, or who was: then it is in the list by that, or rightly not. */
static bool address_known(struct control *c, const struct address *address)
{
    const struct record *r;
    uint32_t cursor = 0;

    while ((r = membership_next(cluster_membership(c->cluster), &cursor)) != NULL) {
        if (address_equals(&r->address, address))
            return true;
    }
    return false;
}

/* The living first; then those that failed, as all may have failed at once; then those not heard of yet. */
static void gather_peers(struct control *c)
{
    struct state before = c->state, *s = &c->state;

    s->peer_count = 0;
    add_peers(c, s, false);
    add_peers(c, s, true);
    for (size_t i = 0; i < before.peer_count && s->peer_count < STATE_PEERS_MAX; i++) {
        if (!address_known(c, &before.peers[i]))
            s->peers[s->peer_count++] = before.peers[i];
    }
}

static void keep_state(struct control *c, int64_t now)
{
    if (!c->state_dirty || c->writer == NULL || now < c->state_due_ms)
        return;
    c->state_dirty = false;
    c->state_due_ms = now + STATE_GAP_MS;
    if (!c->left)
        gather_peers(c);
    state_writer_give(c->writer, &c->state);
}

/* Who is forgotten is not to be looked for where it was. */
static void drop_address(struct control *c, const struct address *address)
{
    char(*met)[SEED_TEXT_MAX] = c->seeds + c->seed_count, text[ADDRESS_TEXT_MAX];
    struct state *s = &c->state;
    size_t kept = 0;

    for (size_t i = 0; i < s->peer_count; i++) {
        if (!address_equals(&s->peers[i], address))
            s->peers[kept++] = s->peers[i];
    }
    s->peer_count = kept;
    address_print(address, text);
    kept = 0;
    for (size_t i = 0; i < c->met_count; i++) {
        if (strcmp(met[i], text) != 0)
            memmove(met[kept++], met[i], sizeof *met);
    }
    c->seeds_changed |= kept != c->met_count;
    c->met_count = kept;
}

/* ---- the thread ---- */

static void on_member(void *owner, enum member_event event, const struct record *record)
{
    struct control *c = owner;

    publish_log_member(event, record);
    if (event == MEMBER_REMOVED)
        drop_address(c, &record->address);
    c->members_changed = true;
    c->state_dirty = true;
}

static void reload(struct control *c)
{
    const char *path = c->server->options.cluster_secret_file;
    char err[160];

    if (path[0] == '\0')
        return;
    if (secrets_load(c->secrets, path, err, sizeof err)) {
        uint32_t ids[KEYS_MAX];
        size_t count = keyring_list(secrets_ring(c->secrets), ids);

        log_event(LOG_LEVEL_NOTICE, "cluster_secret_read", "keys=%zu used=%08x", count, ids[0]);
    } else {
        log_event(LOG_LEVEL_WARNING, "cluster_secret_refused",
                  "path=%s reason=\"%s\": the keys known before stay", path, err);
    }
}

static void forget(struct control *c, const struct node_id *id)
{
    char text[NODE_ID_TEXT + 1];

    id_text(id, text);
    if (!membership_forget(cluster_membership(c->cluster), id))
        log_event(LOG_LEVEL_NOTICE, "cluster_not_forgotten", "node=%s: it is there, or unknown", text);
}

static void leave(struct control *c)
{
    if (c->left)
        return;
    c->left = true;
    cluster_leave(c->cluster);
}

static void drain(struct control *c)
{
    int seconds = option_live(&c->server->options, cluster_drain_timeout);

    if (c->drain_until_ms != 0 || c->left)
        return;
    c->drain_until_ms = now_ms() + (int64_t)seconds * 1000;
    log_event(LOG_LEVEL_NOTICE, "cluster_draining", "limit_s=%d", seconds);
    cluster_drain(c->cluster);
}

/* When a whole cluster is stopped, all want to give and nobody takes. */
static bool somebody_takes(struct control *c)
{
    const struct record *r;
    uint32_t cursor = 0;

    while ((r = membership_next(cluster_membership(c->cluster), &cursor)) != NULL) {
        if (!node_id_equals(&r->id, &c->self) && r->state <= MEMBER_SUSPECT && r->weight > 0)
            return true;
    }
    return false;
}

static void follow_drain(struct control *c, int64_t now)
{
    bool gone = cluster_gone(c->cluster);

    if (c->drain_until_ms == 0 || (!gone && now < c->drain_until_ms && somebody_takes(c)))
        return;
    c->drain_until_ms = 0;
    log_event(gone ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "cluster_drained", "complete=%d", gone);
    if (gone)
        c->left = true;
    else
        leave(c);
    server_stop(c->server, false);
}

static void open_letter(struct control *c, const struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_MEET: meet(c, letter->seed); return;
    case LETTER_FORGET: forget(c, &letter->id); return;
    case LETTER_RELOAD: reload(c); return;
    case LETTER_DRAIN: drain(c); return;
    case LETTER_LEAVE: leave(c); return;
    case LETTER_VOUCH: membership_vouch(cluster_membership(c->cluster), &letter->id); return;
    case LETTER_LINK_REFUSED: membership_link_refused(cluster_membership(c->cluster), &letter->id); return;
    case LETTER_STOP: c->stop = true; return;
    }
}

static void open_letters(struct control *c)
{
    struct letter letters[LETTERS_MAX];
    size_t count = mailbox_take(c, letters);

    for (size_t i = 0; i < count; i++)
        open_letter(c, &letters[i]);
    for (unsigned word = 0; word < GRANULES_MAX / 64; word++) {
        /* Pairs with the release in control_pulled(). */
        uint64_t bits = atomic_exchange_explicit(&c->pulled[word], 0, memory_order_acquire);

        for (; bits != 0; bits &= bits - 1)
            cluster_pulled(c->cluster, (uint16_t)(word * 64 + (unsigned)__builtin_ctzll(bits)));
    }
}

static void show(struct control *c, int64_t now)
{
    if (c->members_changed) {
        c->members_changed = false;
        mailbox_show_members(c);
        c->next_status_ms = now;
    }
    if (now < c->next_status_ms)
        return;
    c->next_status_ms = now + STATUS_MS;
    mailbox_show_figures(c);
}

static void turn(struct control *c, int limit_ms)
{
    struct pollfd fds[] = {{.fd = c->eventfd, .events = POLLIN},
                           {.fd = real_transport_fd(c->transport), .events = POLLIN}};
    int64_t now;

    poll(fds, 2, limit_ms);
    if (fds[0].revents != 0)
        open_letters(c);
    real_transport_turn(c->transport, 0);
    if (c->seeds_changed) {
        c->seeds_changed = false;
        c->found_count = 0; /* those that are left are found again at once */
        tell_seeds(c);
        look_up_seeds(c);
    }
    now = now_ms();
    follow_drain(c, now);
    keep_state(c, now);
    show(c, now);
}

static void say_goodbye(struct control *c)
{
    int64_t until = now_ms() + GOODBYE_MS;

    leave(c);
    while (!cluster_gone(c->cluster) && now_ms() < until)
        turn(c, STATUS_MS);
}

static void *run(void *arg)
{
    struct control *c = arg;

    pthread_setname_np(pthread_self(), "control");
    while (!c->stop)
        turn(c, IDLE_MS);
    say_goodbye(c);
    return NULL;
}

/* ---- life ---- */

static bool open_secrets(struct control *c, char *err, size_t err_len)
{
    const struct options *o = &c->server->options;
    char why[160];

    if ((c->secrets = secrets_new()) == NULL)
        return false;
    if (o->cluster_secret_file[0] != '\0') {
        if (secrets_load(c->secrets, o->cluster_secret_file, why, sizeof why))
            return true;
        snprintf(err, err_len, "cluster-secret-file %.200s: %s", o->cluster_secret_file, why);
        return false;
    }
    if (!c->place.loopback) {
        snprintf(err, err_len,
                 "cluster-secret-file is needed where other machines can reach a node of a cluster: make one "
                 "with 'corral keygen >FILE', and give each node a copy; or bind to 127.0.0.1");
        return false;
    }
    secrets_derive(c->secrets, o->cluster_name);
    return true;
}

static bool open_transport(struct control *c, char *err, size_t err_len)
{
    struct real_options options = real_options_usual();
    char address[ADDRESS_TEXT_MAX];

    options.listen = c->place.listen;
    options.ring = secrets_ring(c->secrets);
    options.identity = c->identity;
    options.self = c->self;
    if ((c->transport = real_transport_new(&options)) != NULL)
        return true;
    address_print(&c->place.listen, address);
    if (errno == EADDRINUSE)
        snprintf(err, err_len,
                 "cluster-port %s is taken: stop the program that listens there, or choose another with "
                 "--cluster-port",
                 address);
    else
        snprintf(err, err_len, "cannot listen on cluster-port %s: %s", address, strerror(errno));
    return false;
}

static bool open_cluster(struct control *c)
{
    struct cluster_options options = cluster_lan();
    struct membership_self self = {.id = c->self,
                                   .boots = c->state.boots,
                                   .address = c->place.told,
                                   .weight = (uint16_t)c->server->options.weight,
                                   .services = c->place.services};

    snprintf(self.zone, sizeof self.zone, "%s", c->server->options.zone);
    memcpy(options.identity, c->identity.id, sizeof options.identity);
    options.epoch = (uint64_t)time(NULL) << 16;
    c->cluster = cluster_new(&options, &self, real_transport_seam(c->transport),
                             (struct cluster_hooks){c, publish_routes, on_member});
    if (c->cluster != NULL)
        real_transport_attach(c->transport, cluster_user(c->cluster));
    return c->cluster != NULL;
}

bool control_open(struct server *server, char *err, size_t err_len)
{
    const struct options *o = &server->options;
    struct control *c;

    if (!o->cluster_enabled)
        return true;
    if ((c = calloc(1, sizeof *c)) == NULL)
        return false;
    server->control = c;
    c->server = server;
    if (!mailbox_open(c))
        return false;
    if (o->cluster_name[0] == '\0') {
        snprintf(err, err_len, "cluster-name: a cluster needs a name");
        return false;
    }
    if (o->databases > FORWARD_VOID) {
        snprintf(err, err_len, "databases: a node of a cluster has %d at most", FORWARD_VOID);
        return false;
    }
    c->identity = secrets_identity(o->cluster_name);
    if (!whereabouts_find(o, &c->place, err, err_len) || !open_secrets(c, err, err_len) ||
        !read_seeds(c, o->cluster_seeds, err, err_len))
        return false;
    remember_self(c);
    return open_transport(c, err, err_len) && open_cluster(c);
}

bool control_start(struct server *server)
{
    struct control *c = server->control;
    char id[NODE_ID_TEXT + 1], address[ADDRESS_TEXT_MAX];

    if (c == NULL)
        return true;
    if (c->state_dirty && (c->writer = state_writer_new(server->options.cluster_config_file)) == NULL)
        return false;
    id_text(&c->self, id);
    address_print(&c->place.told, address);
    log_event(LOG_LEVEL_NOTICE, "cluster_started", "name=%s node=%s addr=%s boots=%llu seeds=%zu peers=%zu",
              server->options.cluster_name, id, address, (unsigned long long)c->state.boots, c->seed_count,
              c->state.peer_count);
    atomic_fetch_or_explicit(&server->modes, SERVER_CLUSTER, memory_order_relaxed);
    if (c->writer != NULL)
        state_writer_give(c->writer, &c->state);
    c->state_dirty = false;
    cluster_start(c->cluster);
    tell_seeds(c);
    if (c->seed_count > 0)
        look_up_seeds(c);
    mailbox_show_members(c);
    c->running = pthread_create(&c->thread, NULL, run, c) == 0;
    return c->running;
}

void control_stop(struct server *server)
{
    struct control *c = server->control;

    if (c == NULL)
        return;
    if (c->running) {
        while (!mailbox_put(c, &(struct letter){.kind = LETTER_STOP}))
            usleep(1000); /* it is being emptied */
        pthread_join(c->thread, NULL);
        c->running = false;
    }
    state_writer_free(&c->writer);
}

void control_free(struct server *server)
{
    struct control *c = server->control;

    server->control = NULL;
    if (c == NULL)
        return;
    cluster_free(&c->cluster);
    real_transport_free(&c->transport);
    secrets_free(&c->secrets);
    mailbox_close(c);
    free(c);
}
