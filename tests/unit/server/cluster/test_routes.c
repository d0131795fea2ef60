/* test_routes.c - when routes_publish() has returned, nobody acts by older ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "server/cluster/routes.h"
#include "server/worker.h"

enum { WORKERS = 3, PUBLICATIONS = 2000, LOOKERS = 1 };

static struct server server;
static struct worker workers[WORKERS];
static struct worker *pointers[WORKERS];
static _Atomic bool stop;
static _Atomic uint64_t published; /* routes_publish() has returned with this version */
static _Atomic uint64_t batches;
static _Atomic uint64_t errors;

static const struct view *one_node(void)
{
    struct view_member member = {
        .id = {.bytes = {1}}, .state = VIEW_ACTIVE, .weight = 1, .ip_bytes = 4, .zone = "", .hostname = ""};
    struct view_parts parts = {.rules = {.granules = GRANULES_MIN, .headroom = HEADROOM_DEFAULT},
                               .members = &member,
                               .member_count = 1};
    enum view_fault fault;
    const struct view *view = view_new(&parts, &fault);

    assert_non_null(view);
    return view;
}

static int set_up(void **state)
{
    (void)state;
    memset(&server, 0, sizeof server);
    memset(workers, 0, sizeof workers);
    pthread_mutex_init(&server.routes_lock, NULL);
    for (unsigned i = 0; i < WORKERS; i++)
        pointers[i] = &workers[i];
    server.workers = pointers;
    server.workers_len = WORKERS;
    atomic_store(&stop, false);
    atomic_store(&published, 0);
    atomic_store(&batches, 0);
    return 0;
}

static int tear_down(void **state)
{
    const struct routes *last = atomic_load(&server.routes);

    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        routes_unpin(&workers[i].routes.routes);
    routes_unpin(&last);
    pthread_mutex_destroy(&server.routes_lock);
    return 0;
}

static struct routes *make(const struct view *view, uint16_t mark)
{
    struct routes *r = routes_new(view, 0);

    assert_non_null(r);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        r->holder[slot] = mark;
    return r;
}

static void new_routes_say_that_nobody_is_anywhere(void **state)
{
    const struct view *view = one_node();
    const struct routes *r = routes_new(view, 0);

    (void)state;
    assert_non_null(r);
    assert_int_equal(r->holder[0], ROUTE_NOBODY);
    assert_int_equal(r->source[GRANULES_MAX - 1], NOBODY);
    assert_int_equal(routes_granule(r, SLOTS - 1), GRANULES_MIN - 1);
    routes_unpin(&r);
    assert_null(r);
    routes_unpin(&r); /* twice does no harm */
    view_check(view); /* has a pin still: ours */
    view_unpin(&view);
}

static void a_batch_keeps_its_routes(void **state)
{
    const struct view *view = one_node();
    struct routes_user *user = &workers[0].routes;
    const struct routes *seen;

    (void)state;
    assert_null(routes_pin_current(&server));
    routes_enter(&server, user); /* before there are any: nothing to wait for */
    assert_null(user->routes);
    assert_int_equal(atomic_load(&user->acting_by), 0);
    routes_leave(user);

    routes_publish(&server, make(view, 1));
    routes_enter(&server, user);
    assert_int_equal(user->routes->version, 1);
    assert_int_equal(user->routes->holder[5], 1);
    routes_leave(user);
    routes_publish(&server, make(view, 2)); /* the worker is between batches */
    assert_int_equal(user->routes->holder[5], 1);
    routes_enter(&server, user);
    assert_int_equal(user->routes->version, 2);
    assert_int_equal(user->routes->holder[5], 2);
    routes_leave(user);

    seen = routes_pin_current(&server);
    assert_ptr_equal(seen, user->routes);
    routes_publish(&server, make(view, 3));
    assert_int_equal(seen->holder[0], 2);
    routes_unpin(&seen);
    view_unpin(&view);
}

/* A worker: batches with and without pauses between them. */
static void *work(void *arg)
{
    struct routes_user *user = &((struct worker *)arg)->routes;
    uint64_t last = 0;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t before = atomic_load(&published);

        routes_enter(&server, user);
        if (user->routes != NULL) {
            uint64_t version = user->routes->version;

            if (version < before || version < last || user->routes->holder[0] != (uint16_t)version ||
                user->routes->holder[SLOTS - 1] != (uint16_t)version)
                atomic_fetch_add(&errors, 1);
            /* What rule we are here for: in the middle of a batch no later version is through. */
            for (int i = 0; i < 20; i++)
                if (atomic_load(&published) > version)
                    atomic_fetch_add(&errors, 1);
            last = version;
        }
        routes_leave(user);
        if (atomic_fetch_add_explicit(&batches, 1, memory_order_relaxed) % 64 == 0)
            usleep(50);
    }
    return NULL;
}

/* INFO, from anywhere. */
static void *look(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        const struct routes *r = routes_pin_current(&server);

        if (r != NULL && r->holder[7] != (uint16_t)r->version)
            atomic_fetch_add(&errors, 1);
        routes_unpin(&r);
        usleep(20);
    }
    return NULL;
}

static void nobody_acts_by_older_ones(void **state)
{
    const struct view *view = one_node();
    pthread_t threads[WORKERS + LOOKERS];

    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (unsigned i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&threads[WORKERS + i], NULL, look, NULL), 0);
    for (uint64_t version = 1; version <= PUBLICATIONS; version++) {
        routes_publish(&server, make(view, (uint16_t)version));
        atomic_store(&published, version);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WORKERS + LOOKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&errors), 0);
    assert_true(atomic_load(&batches) > 0);
    view_unpin(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_routes_say_that_nobody_is_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_keeps_its_routes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_acts_by_older_ones, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
