// Keyv and cache-manager over both protocols.

import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import KeyvMemcache from '@keyv/memcache';
import KeyvRedis from '@keyv/redis';
import { BINARY, KEY, LARGE, MEMCACHE_PORT, REDIS_PORT, life, same } from './check.mjs';

const stores = {
  redis: () => new KeyvRedis(`redis://127.0.0.1:${REDIS_PORT}/1`),
  memcached: () => new KeyvMemcache(`127.0.0.1:${MEMCACHE_PORT}`),
};
const open = (namespace) => {
  const keyv = new Keyv({ store: stores[process.argv[2]](), namespace });
  keyv.on('error', (error) => same('no error', error, null));
  return keyv;
};

const k = open('app');
const other = open('other');
const cache = createCache({ stores: [open('managed')] });

await life(
  async function oneKey() {
    same('set with a ttl', await k.set('one', { a: [1, null] }, 100000), true);
    same('get', await k.get('one'), { a: [1, null] });
    same('get of a missing key', await k.get('nowhere'), undefined);
    same('another namespace', await other.get('one'), undefined);
    same('has', await k.has('one'), true);
    same('delete', await k.delete('one'), true);
    same('after it', await k.get('one'), undefined);
    await k.set('soon', 1, 1000);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    same('after its ttl', await k.get('soon'), undefined);
  },
  async function manyKeys() {
    for (let i = 0; i < 50; i++) await k.set(`many:${i}`, i);
    const keys = Array.from({ length: 50 }, (_, i) => `many:${i}`);
    same('get of many', await k.get([...keys, 'nowhere']), [...keys.keys(), undefined]);
    same('delete of many', await k.delete(keys.slice(0, 10)), true);
    same('after it', (await k.get(keys)).filter((value) => value !== undefined).length, 40);
  },
  async function anyBytes() {
    await k.set('large', LARGE.slice(0, 500000));
    same('large value', await k.get('large'), LARGE.slice(0, 500000));
    await k.set('binary', BINARY);
    same('binary value', await k.get('binary'), BINARY);
    await k.set(KEY, 'x');
    same('non-ascii key', await k.get(KEY), 'x');
  },
  async function managed() {
    await cache.set('one', 'value', 100000);
    same('cache-manager get', await cache.get('one'), 'value');
    let made = 0;
    const make = async () => ++made;
    same('wrap', await cache.wrap('made', make, 100000), 1);
    same('wrap again', await cache.wrap('made', make, 100000), 1);
    await cache.mset([{ key: 'a', value: 1 }, { key: 'b', value: 2 }]);
    same('mget', await cache.mget(['a', 'b', 'nowhere']), [1, 2, undefined]);
    await cache.mdel(['a', 'b']);
    same('del', await cache.del('one'), true);
    same('after it', await cache.get('one'), undefined);
  },
  async function end() {
    await k.clear();
    same('clear', await k.get('large'), undefined);
    await k.disconnect();
    await other.disconnect();
    await cache.disconnect();
  },
);
