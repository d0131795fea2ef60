// ioredis: a cache life in a cluster of three, by a client that knows the slots.
//
// REDIS_PORT is the cluster-client-port of one node.

import Redis from 'ioredis';
import { BINARY, KEY, LARGE, REDIS_PORT, life, rejects, same } from './check.mjs';

const c = new Redis.Cluster([{ host: '127.0.0.1', port: REDIS_PORT }], { redisOptions: { connectTimeout: 10000 } });

await life(
  async function nodes() {
    await c.ping();
    same('masters', c.nodes('master').length, 3);
  },
  async function oneKey() {
    for (let i = 0; i < 300; i++) same('set', await c.set(`key:${i}`, i, 'EX', 100), 'OK');
    const got = await Promise.all(Array.from({ length: 300 }, (_, i) => c.get(`key:${i}`)));
    same('get', got, Array.from({ length: 300 }, (_, i) => String(i)));
    same('get of a missing key', await c.get('nowhere'), null);
    same('binary', [await c.set(KEY, BINARY), await c.getBuffer(KEY)], ['OK', BINARY]);
    same('large', [await c.set('large', LARGE), await c.get('large')], ['OK', LARGE]);
    const sizes = await Promise.all(c.nodes('master').map((node) => node.dbsize()));
    same('dbsize', sizes.reduce((a, b) => a + b), 302);
    same('each node has some', Math.min(...sizes) > 50, true);
  },
  async function manyKeys() {
    same('mset with tags', await c.mset({ '{t}a': 1, '{t}b': 2 }), 'OK');
    same('mget with tags', await c.mget('{t}b', '{t}nowhere', '{t}a'), ['2', null, '1']);
    await rejects('several slots', c.mget('foo', 'bar'), /CROSSSLOT|same slot/);
    same('rename', [await c.rename('{t}a', '{t}c'), await c.get('{t}c')], ['OK', '1']);
    same('del', await c.del('{t}b', '{t}c'), 2);
  },
  async function pipelines() {
    const answers = await c.pipeline().set('{p}1', 1).incr('{p}1').get('{p}1').exec();
    same('pipeline', answers, [[null, 'OK'], [null, 2], [null, '2']]);
    same('multi', await c.multi().set('{p}2', 1).incr('{p}2').exec(), [[null, 'OK'], [null, 2]]);
  },
  async function theEnd() {
    await Promise.all(c.nodes('master').map((node) => node.flushall()));
    same('nothing left', await c.get('key:1'), null);
    await c.quit();
  },
);
