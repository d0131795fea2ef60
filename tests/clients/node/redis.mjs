// node-redis: a cache life, in both protocol versions and with its client-side cache.
//
//     redis.mjs 2|3

import { RESP_TYPES, createClient } from 'redis';
import { BINARY, KEY, LARGE, REDIS_PORT, between, eventually, life, rejects, same } from './check.mjs';

const RESP = Number(process.argv[2]);
const options = { url: `redis://127.0.0.1:${REDIS_PORT}`, RESP, name: 'node-redis' };
const open = async (more) => {
  const client = createClient({ ...options, ...more });
  client.on('error', (error) => same('no error', error, null));
  return client.connect();
};
const r = await open();

await life(
  async function oneKey() {
    same('set with a ttl', await r.set('one', 'value', { expiration: { type: 'EX', value: 100 } }), 'OK');
    between('ttl', await r.ttl('one'), 99, 100);
    same('get', await r.get('one'), 'value');
    same('get of a missing key', await r.get('nowhere'), null);
    same('set nx on what is there', await r.set('one', 'other', { condition: 'NX' }), null);
    same('set keepttl get', await r.set('one', 'two', { expiration: 'KEEPTTL', GET: true }), 'value');
    between('the ttl was kept', await r.pTTL('one'), 90000, 100000);
    same('getex', await r.getEx('one', { type: 'PX', value: 50000 }), 'two');
    same('getdel', await r.getDel('one'), 'two');
    same('exists', await r.exists('one'), 0);
    same('del', await r.del(['one', 'nowhere']), 0);
  },
  async function manyKeys() {
    same('mset', await r.mSet({ a: '1', b: '2', c: '3' }), 'OK');
    same('mget', await r.mGet(['a', 'nowhere', 'c']), ['1', null, '3']);
    same('msetnx on what is there', Number(await r.mSetNX({ c: '4', d: '4' })), 0);
    await Promise.all(Array.from({ length: 300 }, (_, i) => r.set(`scan:${i}`, String(i))));
    const found = new Set();
    for await (const keys of r.scanIterator({ MATCH: 'scan:*', COUNT: 50 })) keys.forEach((key) => found.add(key));
    same('scan', found.size, 300);
    same('unlink', await r.unlink([...found]), 300);
  },
  async function counters() {
    same('incr', await r.incr('n'), 1);
    same('incrby', await r.incrBy('n', 41), 42);
    same('decrby', await r.decrBy('n', 2), 40);
    same('incrbyfloat', await r.incrByFloat('n', 0.5), '40.5');
    same('append', await r.append('text', 'abc'), 3);
    await rejects('incr of a text', r.incr('text'), /ERR value is not an integer or out of range/);
  },
  async function transactions() {
    await r.set('stock', '5');
    same('multi', await r.multi().decr('stock').get('stock').exec(), [4, '4']);
    const other = await open();
    await r.watch('stock');
    await other.set('stock', '100');
    await rejects('exec after a change by somebody else', r.multi().decr('stock').exec(), /watched keys/);
    same('the change is theirs', await r.get('stock'), '100');
    await other.close();
  },
  async function pipelines() {
    const got = await Promise.all(Array.from({ length: 1000 }, (_, i) => [r.set(`p:${i}`, `${i}`), r.get(`p:${i}`)]).flat());
    same('pipeline of 2000', got, Array.from({ length: 1000 }, (_, i) => ['OK', `${i}`]).flat());
  },
  async function anyBytes() {
    await r.set(KEY, LARGE);
    same('large value', await r.get(KEY), LARGE);
    await r.set(BINARY, BINARY);
    const raw = r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    same('binary key and value', await raw.get(BINARY), BINARY);
  },
  async function databases() {
    const other = await open({ database: 1 });
    await r.set('here', '0');
    same('another database has other keys', await other.get('here'), null);
    await other.close();
  },
  async function publishing() {
    const other = await open();
    const heard = [];
    await other.subscribe('news', (text, channel) => heard.push([channel, text]));
    await other.pSubscribe('n*', (text, channel) => heard.push([channel, text]));
    same('publish', await r.publish('news', KEY), 2);
    await eventually('heard', () => heard.length === 2);
    same('what', heard, [['news', KEY], ['news', KEY]]);
    if (RESP === 3) same('commands while subscribed', await other.get('nowhere'), null);
    await other.unsubscribe();
    await other.pUnsubscribe();
    await other.close();
  },
  async function clientSideCache() {
    if (RESP !== 3) return;
    const cached = await open({ clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: 'LRU' } });
    await r.set('near', '1');
    same('asked', await cached.get('near'), '1');
    same('from the copy', await cached.get('near'), '1');
    await r.set('near', '2');
    await eventually('the copy was taken back', async () => (await cached.get('near')) === '2');
    await cached.close();
  },
  async function askingTheNode() {
    same('ping', await r.ping(), 'PONG');
    same('info', (await r.info()).includes('redis_version:'), true);
    same('client name', await r.clientGetName(), 'node-redis');
    same('client info', (await r.clientInfo()).name, 'node-redis');
    same('config get', 'maxmemory' in (await r.configGet('maxmemory')), true);
    same('command', (await r.commandInfo(['get']))[0].arity, 2);
    same('flushall', await r.flushAll(), 'OK');
    same('dbsize', await r.dbSize(), 0);
    await r.close();
  },
);
