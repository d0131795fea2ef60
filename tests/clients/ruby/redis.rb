# frozen_string_literal: true

# redis-rb: a cache life.

require_relative 'check'
needs('ruby-redis') { require 'redis' }

r = Redis.new(port: REDIS_PORT, timeout: 10, id: 'redis-rb')

chapter 'one key' do
  same 'set with a ttl', r.set('one', 'value', ex: 100), 'OK'
  between 'ttl', r.ttl('one'), 99, 100
  same 'get', r.get('one'), 'value'
  same 'get of a missing key', r.get('nowhere'), nil
  same 'set nx on what is there', r.set('one', 'other', nx: true), false
  same 'set get keepttl', r.set('one', 'two', get: true, keepttl: true), 'value'
  between 'the ttl was kept', r.pttl('one'), 90_000, 100_000
  same 'getex', r.getex('one', persist: true), 'two'
  same 'no ttl now', r.ttl('one'), -1
  same 'getdel', r.getdel('one'), 'two'
  same 'exists', r.exists?('one'), false
  same 'del', r.del('one'), 0
end

chapter 'many keys' do
  same 'mset', r.mset('a', 1, 'b', 2, 'c', 3), 'OK'
  same 'mget', r.mget('a', 'nowhere', 'c'), ['1', nil, '3']
  same 'mapped_mget', r.mapped_mget('a', 'b'), { 'a' => '1', 'b' => '2' }
  same 'msetnx on what is there', r.msetnx('c', 4, 'd', 4), false
  300.times { |i| r.set("scan:#{i}", i) }
  keys = r.scan_each(match: 'scan:*', count: 50).to_a.uniq
  same 'scan', keys.size, 300
  same 'unlink', r.unlink(*keys), 300
  same 'rename', r.rename('a', 'z'), 'OK'
end

chapter 'counters' do
  same 'incr', r.incr('n'), 1
  same 'incrby', r.incrby('n', 41), 42
  same 'decrby', r.decrby('n', 2), 40
  same 'incrbyfloat', r.incrbyfloat('n', 0.5), 40.5
  same 'append', r.append('text', 'abc'), 3
  same 'strlen', r.strlen('text'), 3
  same 'getrange', r.getrange('text', 1, -1), 'bc'
  same 'why not', raises('incr of a text', Redis::CommandError) { r.incr('text') },
       'ERR value is not an integer or out of range'
end

chapter 'transactions' do
  r.set('stock', 5)
  same 'multi', (r.multi { |t| t.decr('stock'); t.get('stock') }), [4, '4']
  other = Redis.new(port: REDIS_PORT)
  got = r.watch('stock') do
    other.set('stock', 100)
    r.multi { |t| t.decr('stock') }
  end
  same 'exec after a change by somebody else', got, nil
  same 'the change is theirs', r.get('stock'), '100'
  same 'unwatch', r.watch('stock') { r.unwatch }, 'OK'
  other.close
end

chapter 'pipelines' do
  got = r.pipelined { |p| 1000.times { |i| p.set("p:#{i}", i, px: 60_000); p.get("p:#{i}") } }
  same 'pipeline of 2000', got, (0...1000).flat_map { |i| ['OK', i.to_s] }
end

chapter 'any bytes' do
  r.set(KEY, LARGE)
  same 'large value', r.get(KEY), LARGE
  r.set(BINARY, BINARY)
  same 'binary key and value', r.get(BINARY).b, BINARY
end

chapter 'databases' do
  other = Redis.new(url: "redis://127.0.0.1:#{REDIS_PORT}/3")
  r.set('here', 0)
  same 'another database has other keys', other.get('here'), nil
  same 'move', r.move('here', 3), true
  same 'moved', other.get('here'), '0'
  other.close
end

chapter 'publishing' do
  heard = []
  other = Redis.new(port: REDIS_PORT, timeout: 10)
  other.subscribe('news') do |on|
    on.subscribe { r.publish('news', 'первая') }
    on.message do |channel, text|
      heard << [channel, text.dup.force_encoding('UTF-8')]
      other.unsubscribe
    end
  end
  same 'heard', heard, [%w[news первая]]
  other.close
end

chapter 'asking the node' do
  same 'ping', r.ping, 'PONG'
  same 'info', r.info.key?('redis_version'), true
  same 'time', r.time.size, 2
  same 'client list', r.client(:list).any? { |c| c['name'] == 'redis-rb' }, true
  same 'flushall', r.flushall, 'OK'
  same 'dbsize', r.dbsize, 0
  r.close
end
