# frozen_string_literal: true

# What Rails.cache is: ActiveSupport's stores.
#
#     rails_cache.rb redis|memcached

require_relative 'check'
needs('ruby-activesupport') do
  require 'active_support'
  require 'active_support/cache'
  require 'active_support/core_ext/numeric/time'
end

cache =
  if ARGV[0] == 'redis'
    needs('ruby-redis') { require 'redis' }
    fail_loudly = ->(method:, returning:, exception:) { raise exception }
    ActiveSupport::Cache.lookup_store(:redis_cache_store, url: "redis://127.0.0.1:#{REDIS_PORT}/1",
                                                          namespace: 'app', error_handler: fail_loudly)
  else
    needs('ruby-dalli') { require 'dalli' }
    Dalli.logger.level = Logger::ERROR
    ActiveSupport::Cache.lookup_store(:mem_cache_store, "127.0.0.1:#{MEMCACHE_PORT}", namespace: 'app')
  end

chapter 'one key' do
  same 'fetch', cache.fetch('one', expires_in: 100.seconds) { { 'a' => [1, nil] } }, { 'a' => [1, nil] }
  same 'fetch again', cache.fetch('one') { 'never made' }, { 'a' => [1, nil] }
  same 'read of a missing key', cache.read('nowhere'), nil
  same 'exist?', cache.exist?('one'), true
  same 'write unless there', cache.write('one', 1, unless_exist: true) ? true : false, false
  same 'a nil is kept', [cache.write('nil', nil) ? true : false, cache.exist?('nil')], [true, true]
  same 'delete', cache.delete('one') ? true : false, true
  same 'after it', cache.read('one'), nil
  cache.write('race', 'x', expires_in: 60, race_condition_ttl: 5)
  same 'race_condition_ttl', cache.fetch('race', race_condition_ttl: 5) { 'y' }, 'x'
end

chapter 'many keys' do
  cache.write_multi({ 'a' => 1, 'b' => 'zwei' }, expires_in: 100)
  same 'read_multi', cache.read_multi('a', 'nowhere', 'b'), { 'a' => 1, 'b' => 'zwei' }
  same 'fetch_multi', cache.fetch_multi('a', 'c') { |key| "#{key} made" }, { 'a' => 1, 'c' => 'c made' }
  cache.delete_multi(%w[a b])
  same 'delete_multi', cache.read_multi('a', 'b', 'c').keys, ['c']
end

chapter 'counters' do
  cache.write('n', 10, raw: true)
  same 'increment', cache.increment('n', 5), 15
  same 'decrement', cache.decrement('n', 3), 12
end

chapter 'any bytes' do
  cache.write('binary', BINARY)
  same 'binary value', cache.read('binary'), BINARY
  cache.write('large', LARGE, compress: false)
  same 'large value', cache.read('large'), LARGE
  cache.write(KEY, 'x')
  same 'non-ascii key', cache.read(KEY), 'x'
  cache.write('k' * 3000, 'x')
  same 'a long key, hashed by the store', cache.read('k' * 3000), 'x'
end

chapter 'the end' do
  if ARGV[0] == 'redis'
    cache.write('user:1', 1)
    cache.delete_matched('user:*')
    same 'delete_matched', cache.read('user:1'), nil
  else
    same 'stats', cache.stats.values.first['curr_items'].to_i.positive?, true
  end
  cache.clear
  same 'clear', cache.read('large'), nil
end
