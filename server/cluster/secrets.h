/* secrets.h - the keys by which the nodes of a cluster know each other, out of a file.
 *
 * The file has one key a line (base64 of 32 bytes, as `corral keygen` prints it); blank lines and lines that
 * begin with # are skipped. The first key is used, all of them are accepted. Keys are changed without a gap
 * in three steps, each on all nodes before the next: the new one in the second line, the new one in the
 * first, the old one out.
 *
 * One thread loads; it alone may look at the ring as it is. Others get copies. */
#ifndef CORRAL_SECRETS_H
#define CORRAL_SECRETS_H

#include "cluster/frame.h"

struct secrets;

/* Empty. NULL without memory or dice. */
struct secrets *secrets_new(void);
void secrets_free(struct secrets **secrets); /* wipes the keys */

/* Replaces what was there before by the file's keys. False: err says why, and nothing has changed. */
bool secrets_load(struct secrets *secrets, const char *path, char *err, size_t err_len);
/* A key that whoever knows the cluster's name can make as well: for nodes on loopback only. */
void secrets_derive(struct secrets *secrets, const char *cluster_name);

/* For the thread that loads; lives as long as the secrets. */
const struct keyring *secrets_ring(const struct secrets *secrets);

/* Any thread. The key in use, and its id. */
void secrets_current(struct secrets *secrets, uint32_t *id, uint8_t key[KEY_BYTES]);
/* False when there is no such key, or no longer. */
bool secrets_find(struct secrets *secrets, uint32_t id, uint8_t key[KEY_BYTES]);

/* What a cluster of that name seals along with all it says: packets of another one do not open. */
struct cluster_identity secrets_identity(const char *cluster_name);

#endif
