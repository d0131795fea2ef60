// Valkey GLIDE, whose core is Rust: a cache life.

import { Batch, Decoder, GlideClient, ProtocolVersion, TimeUnit } from '@valkey/valkey-glide';
import { BINARY, KEY, LARGE, REDIS_PORT, between, eventually, life, rejects, same } from './check.mjs';

const heard = [];
const open = (more) =>
  GlideClient.createClient({
    addresses: [{ host: '127.0.0.1', port: REDIS_PORT }],
    requestTimeout: 10000,
    clientName: 'glide',
    ...more,
  });
const r = await open();

await life(
  async function oneKey() {
    same('set with a ttl', await r.set('one', 'value', { expiry: { type: TimeUnit.Seconds, count: 100 } }), 'OK');
    between('ttl', await r.ttl('one'), 99, 100);
    same('get', await r.get('one'), 'value');
    same('get of a missing key', await r.get('nowhere'), null);
    same('set nx on what is there', await r.set('one', 'other', { conditionalSet: 'onlyIfDoesNotExist' }), null);
    same('getex', await r.getex('one', { expiry: 'persist' }), 'value');
    same('getdel', await r.getdel('one'), 'value');
    same('exists', await r.exists(['one', 'nowhere']), 0);
    same('del', await r.del(['one', 'nowhere']), 0);
  },
  async function manyKeys() {
    same('mset', await r.mset({ a: '1', b: '2', c: '3' }), 'OK');
    same('mget', await r.mget(['a', 'nowhere', 'c']), ['1', null, '3']);
    same('msetnx on what is there', await r.msetnx({ c: '4', d: '4' }), false);
    await r.mset(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`scan:${i}`, `${i}`])));
    const found = new Set();
    let at = '0';
    do {
      const [next, keys] = await r.scan(at, { match: 'scan:*', count: 50 });
      keys.forEach((key) => found.add(key));
      at = next;
    } while (at !== '0');
    same('scan', found.size, 300);
    same('unlink', await r.unlink([...found]), 300);
  },
  async function counters() {
    same('incr', await r.incr('n'), 1);
    same('incrby', await r.incrBy('n', 41), 42);
    same('decrby', await r.decrBy('n', 2), 40);
    same('incrbyfloat', await r.incrByFloat('n', 0.5), 40.5);
    same('append', await r.append('text', 'abc'), 3);
    same('getrange', await r.getrange('text', 1, -1), 'bc');
    await rejects('incr of a text', r.incr('text'), /value is not an integer or out of range/);
  },
  async function transactions() {
    await r.set('stock', '5');
    same('atomic batch', await r.exec(new Batch(true).decr('stock').get('stock'), true), [4, '4']);
    const other = await open();
    await r.watch(['stock']);
    await other.set('stock', '100');
    same('exec after a change by somebody else', await r.exec(new Batch(true).decr('stock'), true), null);
    same('the change is theirs', await r.get('stock'), '100');
    other.close();
  },
  async function pipelines() {
    const batch = new Batch(false);
    for (let i = 0; i < 1000; i++) batch.set(`p:${i}`, `${i}`).get(`p:${i}`);
    const got = await r.exec(batch, true);
    same('pipeline of 2000', got, Array.from({ length: 1000 }, (_, i) => ['OK', `${i}`]).flat());
  },
  async function anyBytes() {
    await r.set(KEY, LARGE);
    same('large value', await r.get(KEY), LARGE);
    await r.set(BINARY, BINARY);
    same('binary key and value', await r.get(BINARY, { decoder: Decoder.Bytes }), BINARY);
  },
  async function databases() {
    const other = await open({ databaseId: 1, protocol: ProtocolVersion.RESP2 });
    await r.set('here', '0');
    same('another database has other keys', await other.get('here'), null);
    other.close();
  },
  async function publishing() {
    const other = await open({
      pubsubSubscriptions: {
        channelsAndPatterns: { [0]: new Set(['news']), [1]: new Set(['n*']) }, // exact, pattern
        callback: (message) => heard.push(String(message.message)),
      },
    });
    same('publish', await r.publish(KEY, 'news'), 2);
    await eventually('heard', () => heard.length === 2);
    same('what', heard, [KEY, KEY]);
    other.close();
  },
  async function askingTheNode() {
    same('ping', await r.ping(), 'PONG');
    same('info', String(await r.info()).includes('redis_version:'), true);
    same('client name', await r.clientGetName(), 'glide');
    same('config get', 'maxmemory' in (await r.configGet(['maxmemory'])), true);
    same('time', (await r.time()).length, 2);
    same('flushall', await r.flushall(), 'OK');
    same('dbsize', await r.dbsize(), 0);
    r.close();
  },
);
