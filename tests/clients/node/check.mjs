// Notes what is not as it should be, and tells it all at the end.

import { inspect, isDeepStrictEqual } from 'node:util';

export const REDIS_PORT = Number(process.env.REDIS_PORT);
export const MEMCACHE_PORT = Number(process.env.MEMCACHE_PORT);

// All 256 bytes: zero, CR LF and what is no UTF-8 among them.
export const BINARY = Buffer.concat(Array(4).fill(Uint8Array.from({ length: 256 }, (_, i) => i)));
export const LARGE = '0123456789abcdef'.repeat(60000); // 960 kB, within memcached's 1 MB
export const KEY = 'ключ:größe:鍵';

let failed = 0;

export function same(what, got, want) {
  if (isDeepStrictEqual(got, want)) return;
  failed++;
  console.log(`${what}: got ${short(got)}, wanted ${short(want)}`);
}

export function between(what, got, low, high) {
  if (!(got >= low && got <= high)) same(what, got, `${low} to ${high}`);
}

export async function rejects(what, promise, why) {
  try {
    same(what, await promise, why);
  } catch (error) {
    if (!why.test(String(error.message))) same(what, error, why);
  }
}

export async function eventually(what, condition) {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  same(what, false, true);
}

function short(value) {
  const text = inspect(value, { maxStringLength: 100, maxArrayLength: 10, compact: true, breakLength: Infinity });
  return text.length < 400 ? text : `${text.slice(0, 400)}...`;
}

// Runs the functions one after the other; one that fails does not keep the rest from running.
export async function life(...chapters) {
  for (const chapter of chapters) {
    try {
      await chapter();
    } catch (error) {
      failed++;
      console.log(`${chapter.name}: ${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
}
