# frozen_string_literal: true

# Notes what is not as it should be, and tells it all at the end.

REDIS_PORT = Integer(ENV.fetch('REDIS_PORT'))
MEMCACHE_PORT = Integer(ENV.fetch('MEMCACHE_PORT'))

# All 256 bytes: zero, CR LF and what is no UTF-8 among them.
BINARY = ((0..255).map(&:chr).join.b * 4).freeze
LARGE = ('0123456789abcdef' * 60_000).freeze # 960 kB, within memcached's 1 MB
KEY = 'ключ:größe:鍵'

$failed = 0

def short(value)
  text = value.inspect
  text.length < 200 ? text : "#{text[0, 200]}... (#{text.length} characters)"
end

def same(what, got, want)
  return if got == want

  $failed += 1
  puts "#{what}: got #{short(got)}, wanted #{short(want)}"
end

def between(what, got, low, high)
  same(what, got, low..high) unless (low..high).cover?(got)
end

def raises(what, kind)
  got = yield
rescue kind => e
  e.message
else
  same(what, got, kind)
end

# One part of the life; that it fails does not keep the rest from running.
def chapter(name)
  yield
rescue StandardError, NotImplementedError => e
  $failed += 1
  puts "#{name}: #{e.full_message(highlight: false)}"
end

def needs(package)
  yield
rescue LoadError => e
  puts "#{e.message}: install #{package}"
  exit 77
end

at_exit { exit 1 if $failed.positive? && !$! }
