// node's memcached, which speaks text: a cache life.

import { promisify } from 'node:util';
import Memcached from 'memcached';
import { BINARY, KEY, LARGE, MEMCACHE_PORT, life, rejects, same } from './check.mjs';

const m = new Memcached(`127.0.0.1:${MEMCACHE_PORT}`, { timeout: 10000, retries: 0, poolSize: 4 });
const call = (verb, ...words) => promisify(m[verb]).apply(m, words);

await life(
  async function oneKey() {
    same('set with a ttl', await call('set', 'one', 'value', 100), true);
    same('get', await call('get', 'one'), 'value');
    same('get of a missing key', await call('get', 'nowhere'), undefined);
    await rejects('add to what is there', call('add', 'one', 'x', 0), /not stored/);
    same('replace', await call('replace', 'one', 'two', 0), true);
    same('append', await call('append', 'one', '+'), true);
    same('prepend', await call('prepend', 'one', '-'), true);
    same('get the whole', await call('get', 'one'), '-two+');
    same('touch', await call('touch', 'one', 50), true);
    same('del', await call('del', 'one'), true);
    same('del again', await call('del', 'one'), false);
  },
  async function manyKeys() {
    const keys = Array.from({ length: 500 }, (_, i) => `many:${i}`);
    await Promise.all(keys.map((key, i) => call('set', key, i, 100)));
    same('getMulti', await call('getMulti', [...keys, 'nowhere']), Object.fromEntries(keys.map((key, i) => [key, i])));
  },
  async function counters() {
    same('incr of a missing key', await call('incr', 'n', 1), false);
    await call('set', 'n', 10, 0);
    same('incr', await call('incr', 'n', 5), 15);
    same('decr stops at zero', await call('decr', 'n', 100), 0);
  },
  async function compareAndSwap() {
    await call('set', 'swap', 'a', 0);
    const { swap, cas } = await call('gets', 'swap');
    same('gets', swap, 'a');
    same('cas', await call('cas', 'swap', 'b', cas, 0), true);
    same('cas with a token of the past', await call('cas', 'swap', 'c', cas, 0), false);
  },
  async function anyBytes() {
    await call('set', 'large', LARGE, 0);
    same('large value', await call('get', 'large'), LARGE);
    await call('set', 'binary', BINARY, 0);
    same('binary value', await call('get', 'binary'), BINARY);
    await call('set', 'object', { a: [1, null, KEY] }, 0);
    same('object', await call('get', 'object'), { a: [1, null, KEY] });
    await call('set', KEY, 'x', 0);
    same('non-ascii key', await call('get', KEY), 'x');
  },
  async function askingTheNode() {
    same('version', (await call('version')).length, 1);
    same('stats', (await call('stats'))[0].curr_items > 0, true);
    same('flush', await call('flush'), [true]);
    same('nothing left', await call('get', 'large'), undefined);
    m.end();
  },
);
