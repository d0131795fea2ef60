// The example of docs/HERDS.md, over ioredis: many readers of one cold key, one fetch.

import { Redis } from 'ioredis';
import { REDIS_PORT, life, same } from './check.mjs';

let fetches = 0;

async function fetchIt(key) {
  fetches++;
  await new Promise((resolve) => setTimeout(resolve, 100));
  return 'from the origin';
}

async function cached(r, key, ttl = 60) {
  const reply = await r.call('GETLEASE', key, 'WAIT', 2000);
  const lease = {};
  for (let i = 0; i < reply.length; i += 2) lease[reply[i]] = reply[i + 1];
  if (lease.state === 'live' || lease.state === 'negative') return lease.value;
  const value = await fetchIt(key);
  if (lease.state === 'granted') await r.call('SETLEASE', key, lease.token, value, 'EX', ttl);
  return value;
}

await life(async function oneFetch() {
  // A request that waits holds up what its connection sent behind it: one connection for each reader.
  const clients = Array.from({ length: 20 }, () => new Redis(REDIS_PORT));
  const got = await Promise.all(clients.map((r) => cached(r, 'page:1')));
  same('values', new Set(got).size, 1);
  same('fetches', fetches, 1);
  clients.forEach((r) => r.disconnect());
});
