// memjs, which speaks the binary protocol only: a cache life.

import memjs from 'memjs';
import { BINARY, KEY, LARGE, MEMCACHE_PORT, life, same } from './check.mjs';

const m = memjs.Client.create(`127.0.0.1:${MEMCACHE_PORT}`, { timeout: 10, retries: 0 });

await life(
  async function oneKey() {
    same('set with a ttl', await m.set('one', 'value', { expires: 100 }), true);
    same('get', String((await m.get('one')).value), 'value');
    same('get of a missing key', (await m.get('nowhere')).value, null);
    same('add to what is there', await m.add('one', 'x', {}), false);
    same('replace', await m.replace('one', 'two', {}), true);
    same('append', await m.append('one', '+'), true);
    // memjs 1.3.2 sends an append for its prepend.
    same('get the whole', String((await m.get('one')).value), 'two+');
    same('touch', await m.touch('one', 50), true);
    same('delete', await m.delete('one'), true);
    same('delete again', await m.delete('one'), false);
  },
  async function manyKeys() {
    const keys = Array.from({ length: 500 }, (_, i) => `many:${i}`);
    await Promise.all(keys.map((key, i) => m.set(key, String(i), {})));
    const got = await Promise.all(keys.map((key) => m.get(key)));
    same('500 gets at once', got.map(({ value }) => String(value)), keys.map((_, i) => String(i)));
  },
  async function counters() {
    same('increment with a beginning', await m.increment('n', 1, { initial: 10, expires: 100 }), { success: true, value: 10 });
    same('increment', await m.increment('n', 5, {}), { success: true, value: 15 });
    same('decrement stops at zero', await m.decrement('n', 100, {}), { success: true, value: 0 });
  },
  async function anyBytes() {
    await m.set('large', LARGE, {});
    same('large value', String((await m.get('large')).value), LARGE);
    await m.set('binary', BINARY, {});
    same('binary value', (await m.get('binary')).value, BINARY);
    await m.set(KEY, 'x', {});
    same('non-ascii key', String((await m.get(KEY)).value), 'x');
  },
  async function askingTheNode() {
    const figures = await new Promise((resolve, reject) =>
      m.stats((error, server, got) => (error ? reject(error) : resolve(got))));
    same('stats', Number(figures.curr_items) > 0, true);
    await new Promise((resolve, reject) => m.flush((error) => (error ? reject(error) : resolve())));
    same('nothing left', (await m.get('large')).value, null);
    m.quit();
  },
);
