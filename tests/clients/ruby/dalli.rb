# frozen_string_literal: true

# Dalli 3.0, which speaks the binary protocol: a cache life.

require_relative 'check'
needs('ruby-dalli') { require 'dalli' }

Dalli.logger.level = Logger::FATAL
d = Dalli::Client.new("127.0.0.1:#{MEMCACHE_PORT}", socket_timeout: 10, namespace: 'app')

chapter 'one key' do
  same 'set with a ttl', d.set('one', { a: [1, nil] }, 100) ? true : false, true
  same 'get', d.get('one'), { a: [1, nil] }
  same 'get of a missing key', d.get('nowhere'), nil
  same 'add to what is there', d.add('one', 1), false
  same 'replace', d.replace('one', 'two') ? true : false, true
  same 'fetch', d.fetch('made', 100) { 'here' }, 'here'
  same 'and kept', d.get('made'), 'here'
  d.set('raw', 'x', 0, raw: true)
  same 'append', d.append('raw', '+'), true
  same 'prepend', d.prepend('raw', '-'), true
  same 'get the whole', d.get('raw', raw: true), '-x+'
  same 'touch', d.touch('one', 50), true
  same 'gat', d.gat('one', 50), 'two'
  same 'delete', d.delete('one'), true
  same 'delete again', d.delete('one') ? true : false, false
end

chapter 'many keys' do
  d.multi { 500.times { |i| d.set("many:#{i}", i, 100) } }
  keys = (0...500).map { |i| "many:#{i}" }
  same 'get_multi', d.get_multi(keys + ['nowhere']), keys.each_with_index.to_h
  d.multi { keys.first(10).each { |key| d.delete(key) } }
  same 'after quiet deletes', d.get_multi(keys).size, 490
end

chapter 'counters' do
  same 'incr of a missing key', d.incr('n', 1), nil
  same 'incr with a beginning', d.incr('n', 1, 100, 10), 10
  same 'incr', d.incr('n', 5), 15
  same 'decr stops at zero', d.decr('n', 100), 0
end

chapter 'compare and swap' do
  d.set('swap', 1)
  same 'cas', d.cas('swap') { |value| value + 1 } ? true : false, true
  same 'after it', d.get('swap'), 2
  got = d.cas('swap') do |value|
    d.set('swap', 100)
    value + 1
  end
  same 'cas after a change by somebody else', got ? true : false, false
  same 'cas of a missing key', d.cas('nowhere') { 1 }, nil
end

chapter 'any bytes' do
  d.set('large', LARGE, 0, compress: false)
  same 'large value', d.get('large'), LARGE
  d.set('binary', BINARY, 0, raw: true)
  same 'binary value', d.get('binary', raw: true).b, BINARY
  d.set(KEY, 'x')
  same 'non-ascii key', d.get(KEY), 'x'
  d.set('k' * 300, 'x')
  same 'a long key, hashed by the client', d.get('k' * 300), 'x'
end

chapter 'asking the node' do
  same 'version', d.version.values.all?, true
  same 'stats', d.stats.values.first['curr_items'].to_i.positive?, true
  same 'flush', d.flush.all?, true
  same 'nothing left', d.get('large'), nil
  d.close
end
