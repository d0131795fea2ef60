// express-session over connect-redis: what a session store is asked for.

import { RedisStore } from 'connect-redis';
import session from 'express-session';
import { createClient } from 'redis';
import { KEY, REDIS_PORT, between, life, same } from './check.mjs';

const client = await createClient({ url: `redis://127.0.0.1:${REDIS_PORT}` }).connect();
const store = new RedisStore({ client, prefix: 'session:', ttl: 300 });
const call = (verb, ...words) =>
  new Promise((resolve, reject) => store[verb](...words, (error, got) => (error ? reject(error) : resolve(got))));

// One request through the middleware, without a web server: deed gets its session.
const handle = session({ store, secret: 'only a test', resave: false, saveUninitialized: false });
const request = (cookie, deed) =>
  new Promise((resolve, reject) => {
    const headers = {};
    const req = { url: '/', originalUrl: '/', headers: cookie ? { cookie } : {}, connection: {} };
    const res = {
      _implicitHeader() { this.writeHead(200); },
      getHeader: (name) => headers[name],
      setHeader: (name, value) => { headers[name] = value; },
      writeHead() {},
      write() {},
      end: () => resolve({ got: res.got, cookie: String(headers['Set-Cookie'] ?? cookie).split(';')[0] }),
    };
    handle(req, res, async (error) => {
      if (error) return reject(error);
      res.got = await deed(req);
      res.end();
    });
  });

await life(
  async function aVisit() {
    const first = await request(null, (req) => { req.session.user = KEY; });
    const second = await request(first.cookie, (req) => req.session.user);
    same('what the next request finds', second.got, KEY);
    same('sessions', await call('length'), 1);
    const ids = await call('ids');
    between('ttl', await client.ttl(`session:${ids[0]}`), 290, 300);
    await request(first.cookie, (req) => new Promise((resolve) => req.session.destroy(resolve)));
    same('after destroy', (await request(first.cookie, (req) => req.session.user)).got, undefined);
  },
  async function theStore() {
    await call('set', 'sid', { cookie: { maxAge: 100000 }, user: 1 });
    same('get', (await call('get', 'sid')).user, 1);
    await call('touch', 'sid', { cookie: {} });
    same('all', (await call('all')).length, 1);
    await call('clear');
    same('after clear', await call('length'), 0);
    await client.close();
  },
);
