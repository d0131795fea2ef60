#include "server/clients.h"

#include <pthread.h>
#include <stdlib.h>

#include "server/check.h"

struct clients {
    pthread_mutex_t lock;
    struct session *first, *last;
    uint64_t last_id;
};

struct clients *clients_new(void)
{
    struct clients *clients = calloc(1, sizeof *clients);

    if (clients != NULL)
        pthread_mutex_init(&clients->lock, NULL);
    return clients;
}

void clients_free(struct clients **clients)
{
    if (*clients == NULL)
        return;
    CHECK((*clients)->first == NULL);
    pthread_mutex_destroy(&(*clients)->lock);
    free(*clients);
    *clients = NULL;
}

void clients_name(struct clients *clients, struct session *session)
{
    clients_lock(clients);
    session->id = ++clients->last_id;
    clients_unlock(clients);
}

void clients_add(struct clients *clients, struct session *session)
{
    clients_lock(clients);
    session->id = ++clients->last_id;
    session->next = NULL;
    session->prev = clients->last;
    if (clients->last != NULL)
        clients->last->next = session;
    else
        clients->first = session;
    clients->last = session;
    clients_unlock(clients);
}

void clients_remove(struct clients *clients, struct session *session)
{
    clients_lock(clients);
    if (session->prev != NULL)
        session->prev->next = session->next;
    else
        clients->first = session->next;
    if (session->next != NULL)
        session->next->prev = session->prev;
    else
        clients->last = session->prev;
    clients_unlock(clients);
}

void clients_lock(struct clients *clients)
{
    pthread_mutex_lock(&clients->lock);
}

void clients_unlock(struct clients *clients)
{
    pthread_mutex_unlock(&clients->lock);
}

struct session *clients_first(struct clients *clients)
{
    return clients->first;
}
