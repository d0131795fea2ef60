// ioredis: a cache life, in both protocol versions.
//
//     ioredis.mjs 2|3

import Redis from 'ioredis';
import { BINARY, KEY, LARGE, REDIS_PORT, between, eventually, life, rejects, same } from './check.mjs';

const options = {
  host: '127.0.0.1',
  port: REDIS_PORT,
  protocol: Number(process.argv[2]),
  connectTimeout: 10000,
  connectionName: 'ioredis',
};
const r = new Redis(options);

await life(
  async function oneKey() {
    same('set with a ttl', await r.set('one', 'value', 'EX', 100), 'OK');
    between('ttl', await r.ttl('one'), 99, 100);
    same('get', await r.get('one'), 'value');
    same('get of a missing key', await r.get('nowhere'), null);
    same('set nx on what is there', await r.set('one', 'other', 'PX', 1000, 'NX'), null);
    same('setex', await r.setex('two', 100, 'x'), 'OK');
    same('getex', await r.getex('two', 'PERSIST'), 'x');
    same('getdel', await r.getdel('two'), 'x');
    same('exists', await r.exists('one', 'two'), 1);
    same('del', await r.del('one', 'two'), 1);
  },
  async function manyKeys() {
    same('mset', await r.mset({ a: 1, b: 2, c: 3 }), 'OK');
    same('mget', await r.mget('a', 'nowhere', 'c'), ['1', null, '3']);
    await r.mset(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`scan:${i}`, i])));
    const found = new Set();
    for await (const keys of r.scanStream({ match: 'scan:*', count: 50 })) keys.forEach((key) => found.add(key));
    same('scan', found.size, 300);
    same('unlink', await r.unlink(...found), 300);
  },
  async function counters() {
    same('incr', await r.incr('n'), 1);
    same('incrby', await r.incrby('n', 41), 42);
    same('decrby', await r.decrby('n', 2), 40);
    same('incrbyfloat', await r.incrbyfloat('n', 0.5), '40.5');
    same('append', await r.append('text', 'abc'), 3);
    await rejects('incr of a text', r.incr('text'), /ERR value is not an integer or out of range/);
  },
  async function transactions() {
    await r.set('stock', 5);
    same('multi', await r.multi().decr('stock').get('stock').exec(), [[null, 4], [null, '4']]);
    const other = new Redis(options);
    await r.watch('stock');
    await other.set('stock', 100);
    same('exec after a change by somebody else', await r.multi().decr('stock').exec(), null);
    same('the change is theirs', await r.get('stock'), '100');
    other.disconnect();
  },
  async function pipelines() {
    const pipe = r.pipeline();
    for (let i = 0; i < 1000; i++) pipe.set(`p:${i}`, i).get(`p:${i}`);
    const got = await pipe.exec();
    same('pipeline of 2000', got.length, 2000);
    same('its end', got.slice(-2), [[null, 'OK'], [null, '999']]);
    const auto = new Redis({ ...options, enableAutoPipelining: true });
    const gets = await Promise.all(Array.from({ length: 500 }, (_, i) => auto.get(`p:${i}`)));
    same('automatic pipeline', gets, Array.from({ length: 500 }, (_, i) => String(i)));
    auto.disconnect();
  },
  async function anyBytes() {
    await r.set(KEY, LARGE);
    same('large value', await r.get(KEY), LARGE);
    await r.set(BINARY, BINARY);
    same('binary key and value', await r.getBuffer(BINARY), BINARY);
  },
  async function databases() {
    const other = new Redis({ ...options, db: 1, keyPrefix: 'app:' });
    await r.set('app:here', 0);
    same('another database has other keys', await other.get('here'), null);
    await other.set('here', 1);
    same('and the first keeps its own', await r.get('app:here'), '0');
    other.disconnect();
  },
  async function publishing() {
    const other = new Redis(options);
    const heard = [];
    other.on('message', (channel, text) => heard.push([channel, text]));
    other.on('pmessage', (pattern, channel, text) => heard.push([pattern, channel, text]));
    same('subscribe', await other.subscribe('news', 'more'), 2);
    same('psubscribe', await other.psubscribe('n*'), 3);
    same('publish', await r.publish('news', KEY), 2);
    await eventually('heard', () => heard.length === 2);
    same('what', heard, [['news', KEY], ['n*', 'news', KEY]]);
    same('unsubscribe of one', await other.unsubscribe('more'), 2);
    other.disconnect();
  },
  async function askingTheNode() {
    same('ping', await r.ping(), 'PONG');
    same('info', (await r.info()).includes('redis_version:'), true);
    same('client name', await r.client('GETNAME'), 'ioredis');
    same('client list', (await r.client('LIST')).includes('name=ioredis'), true);
    same('flushall', await r.flushall(), 'OK');
    same('dbsize', await r.dbsize(), 0);
    same('quit', await r.quit(), 'OK');
  },
);
