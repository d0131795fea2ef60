# Corral's build, all of it. `make help` lists what it can do.
#
# A variant (release, debug, asan, tsan, fuzz) is an object folder and a set of
# flags; ./configure chooses the usual one, and `make VARIANT=debug` another.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all deps run test sim sim-long lint asan tsan fuzz bench bench-herd bench-cluster bench-eviction placement lab install \
        clean help

DEPS_BUILD = gcc libc6-dev make pkg-config libjemalloc-dev libxxhash-dev libhiredis-dev libcurl4-openssl-dev \
             libsodium-dev uthash-dev zlib1g-dev libzstd-dev
DEPS_TEST  = libcmocka-dev bats redis-server redis-tools memcached libmemcached-tools zstd \
             netcat-openbsd iproute2 nftables python3
# The libraries behind tests/clients; those of npm install themselves. What a release lacks is skipped.
DEPS_CLIENTS = python3-redis python3-pymemcache python3-pylibmc python3-django python3-django-redis \
               php-cli php-redis php-memcached ruby ruby-redis ruby-dalli ruby-activesupport \
               libredis-perl libcache-memcached-perl prometheus-redis-exporter
DEPS_TOOLS = clang clang-format clang-tidy cppcheck libclang-rt-14-dev

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | \
	    awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "  Variables: VARIANT=release|debug|asan|tsan  ONLY=part-of-a-test's-name"
	@echo "             PORT=6379 MEMCACHE_PORT=11211 NODES=3 ARGS='--name value' (run)  FUZZ_SECONDS=20  V=1"

# ---- dependencies -----------------------------------------------------

# Debian starts the services it installs; ours want the same ports. A runtime
# mask holds back those that were not there before, and they stay disabled.
deps: ## install what building, testing and linting need (apt on Debian and Ubuntu)
	@if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then \
	    echo "make deps knows Debian and Ubuntu only. Here, install what these packages hold:"; \
	    echo "  to build: $(DEPS_BUILD)"; \
	    echo "  to test:  $(DEPS_TEST)"; \
	    echo "  to test with other people's clients: $(DEPS_CLIENTS)"; \
	    echo "  to lint and fuzz: $(DEPS_TOOLS)"; \
	    exit 0; \
	fi; \
	absent() { \
	    for package; do \
	        [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || \
	            printf '%s ' $$package; \
	    done; \
	}; \
	needed=$$(absent $(DEPS_BUILD) $(DEPS_TEST)); \
	tools=$$(absent $(DEPS_CLIENTS) $(DEPS_TOOLS)); \
	[ -n "$$needed$$tools" ] || exit 0; \
	echo "Installing: $$needed$$tools"; \
	root=; \
	if [ "$$(id -u)" != 0 ]; then \
	    if ! command -v sudo >/dev/null; then \
	        echo "There is no sudo here. As root, run: apt-get install $$needed$$tools" >&2; \
	        exit 1; \
	    fi; \
	    root=sudo; \
	fi; \
	apt="$$root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q"; \
	$$apt update || exit 1; \
	for package in $$tools; do \
	    if apt-cache show $$package >/dev/null 2>&1; then \
	        needed="$$needed$$package "; \
	    else \
	        echo "This release has no $$package: going on without it."; \
	    fi; \
	done; \
	[ -n "$$needed" ] || exit 0; \
	held=; \
	if [ -d /run/systemd/system ]; then \
	    for service in redis-server memcached prometheus-redis-exporter; do \
	        case " $$needed" in *" $$service "*) held="$$held $$service" ;; esac; \
	    done; \
	fi; \
	[ -z "$$held" ] || $$root systemctl mask --runtime $$held; \
	$$apt install -y --no-install-recommends $$needed; \
	status=$$?; \
	if [ -n "$$held" ]; then \
	    $$root systemctl unmask --runtime $$held; \
	    $$root systemctl disable $$held; \
	fi; \
	[ $$status != 0 ] || [ ! -e config.mk ] || ./configure $(CONFIGURE_ARGUMENTS); \
	exit $$status

# ---- configuration ----------------------------------------------------

ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
include config.mk
endif

# Make brings what it includes up to date before any goal. So in `make deps run`
# the packages are there before ./configure looks, with -j as well.
config.mk: configure | $(if $(findstring n,$(filter-out -%,$(firstword $(MAKEFLAGS)))),,$(filter deps,$(MAKECMDGOALS)))
	./configure $(CONFIGURE_ARGUMENTS)

OBJ_release = obj
OBJ_debug   = obj-debug
OBJ_asan    = obj-asan
OBJ_tsan    = obj-tsan
OBJ_fuzz    = obj-fuzz
OBJ := $(OBJ_$(or $(VARIANT),release))
BIN := $(if $(filter obj,$(OBJ)),bin,$(OBJ)/bin)

FLAGS_release = -O2 -g
FLAGS_debug   = -O0 -g3
FLAGS_asan    = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan    = -O1 -g -fno-omit-frame-pointer -fsanitize=thread
FLAGS_fuzz    = -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                -fno-sanitize-recover=all
FLAGS := $(FLAGS_$(VARIANT))

ifneq ($(filter $(VARIANT),release debug asan tsan fuzz),$(VARIANT))
$(error There is no variant '$(VARIANT)': take release, debug, asan or tsan)
endif

WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
           -Wold-style-definition -Wpointer-arith -Wundef -Wvla \
           -Wformat-security -Wno-format-zero-length $(WERROR)
CPPFLAGS = -D_GNU_SOURCE -I. $(XXHASH_CFLAGS) $(CURL_CFLAGS) $(SODIUM_CFLAGS)
CFLAGS   = -std=gnu11 $(ARCH_FLAGS) -pthread $(WARNINGS) $(FLAGS) $(USER_CFLAGS)
LDFLAGS  = -pthread $(FLAGS) $(USER_LDFLAGS)
LIBS     = $(XXHASH_LIBS) $(SODIUM_LIBS) $(JEMALLOC_LIBS) -lm

# Sanitizers watch malloc, so they must be the ones who provide it.
ifneq ($(filter asan tsan fuzz,$(VARIANT)),)
CPPFLAGS += -DCORRAL_SANITIZED
JEMALLOC_LIBS =
endif
# Warnings are the usual compiler's business; clang's differ.
ifeq ($(VARIANT),fuzz)
CC = clang
WARNINGS = -w
endif

# ---- sources ----------------------------------------------------------

LIB_SOURCES  := $(sort $(filter-out server/main.c server/tool/%, \
                    $(wildcard protocol/*.c server/*.c server/*/*.c cluster/*.c)))
LIB_OBJECTS  := $(LIB_SOURCES:%.c=$(OBJ)/%.o)
LIB          := $(OBJ)/libcorral.a

# Each policy once more, with the simulator's host around it (bench/replay_compiled.c).
POLICIES     := $(shell sed -n 's/^EVICT_POLICY.\([a-z0-9_]*\),.*/\1/p' server/evict/policies.def)

NODE_OBJECTS := $(patsubst %.c,$(OBJ)/%.o,$(wildcard server/main.c))
TOOL_OBJECTS := $(patsubst %.c,$(OBJ)/%.o,$(wildcard server/tool/*.c))
LOAD_OBJECTS := $(patsubst %.c,$(OBJ)/%.o,$(wildcard bench/load*.c bench/trace*.c))
COMPILED     := $(POLICIES:%=$(OBJ)/bench/policies/%.o)
SIM_OBJECTS  := $(patsubst %.c,$(OBJ)/%.o,$(wildcard bench/sim*.c bench/trace*.c bench/replay.c)) $(COMPILED)
PROGRAMS     := $(if $(NODE_OBJECTS),$(BIN)/corrald) $(if $(TOOL_OBJECTS),$(BIN)/corral) \
                $(if $(LOAD_OBJECTS),$(BIN)/corral-load) $(if $(SIM_OBJECTS),$(BIN)/corral-sim)

# Every tests/unit/**/test_*.c is a program of its own.
TEST_SOURCES := $(sort $(wildcard tests/unit/test_*.c tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
TESTS        := $(TEST_SOURCES:tests/unit/%.c=$(OBJ)/tests/%)
TEST_SUPPORT := $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/unit/support/*.c))
# What fakes a network is there for unit tests, too; the stories make one program.
SIM_SUPPORT  := $(patsubst %.c,$(OBJ)/%.o,$(filter-out tests/sim/sim%,$(wildcard tests/sim/*.c)))
STORY_OBJECTS  := $(patsubst %.c,$(OBJ)/%.o,$(wildcard tests/sim/sim*.c))
SIM          := $(if $(STORY_OBJECTS),$(OBJ)/tests/sim/sim)
SYSTEM_TESTS := $(sort $(wildcard tests/system/*.bats tests/clients/*.bats))

FUZZ_NAMES   := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_TARGETS := $(FUZZ_NAMES:%=$(OBJ)/fuzz/%)
FUZZ_SECONDS ?= 20

# ---- building ---------------------------------------------------------

# One short line per step; `make V=1` shows the commands.
SAY = @$(if $(V),set -x,echo "  $(1)	$@"); 

all: $(PROGRAMS) ## build the programs into bin/

$(OBJ)/%.o: %.c config.mk
	@mkdir -p $(@D)
	$(call SAY,cc)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/bench/policies/%.o: bench/replay_compiled.c server/evict/%.c config.mk
	@mkdir -p $(@D)
	$(call SAY,cc)$(CC) -Ibench/dense $(CPPFLAGS) $(CFLAGS) $(if $(filter release,$(VARIANT)),-O3) -DPOLICY=$* -DPOLICY_SOURCE='"server/evict/$*.c"' -Devict_$*=compiled_$* \
	    -MMD -MP -c -o $@ $<

# Made anew, so that what left the sources leaves the archive.
$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	$(call SAY,ar)ar rcs $@ $^

$(BIN)/corrald: $(NODE_OBJECTS) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(HIREDIS_LIBS) $(LIBS)

$(BIN)/corral: $(TOOL_OBJECTS) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(HIREDIS_LIBS) $(LIBS)

$(BIN)/corral-load: $(LOAD_OBJECTS) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(ZLIB_LIBS) $(ZSTD_LIBS) $(LIBS)

$(BIN)/corral-sim: $(SIM_OBJECTS) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(ZLIB_LIBS) $(ZSTD_LIBS) $(LIBS)

# Goes into other people's programs, so it brings nothing along.
$(OBJ)/fast_clock.so: bench/fast_clock.c config.mk
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(CPPFLAGS) -std=gnu11 -O2 $(WARNINGS) -shared -fPIC -o $@ $<

$(OBJ)/tests/unit/%.o: CPPFLAGS += $(CMOCKA_CFLAGS)
$(TESTS): $(OBJ)/tests/%: $(OBJ)/tests/unit/%.o $(TEST_SUPPORT) $(SIM_SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(HIREDIS_LIBS) $(LIBS)

$(OBJ)/tests/bench/test_replay_compiled: $(COMPILED) $(OBJ)/bench/sim_belady.o $(OBJ)/bench/sim_optimum.o

$(SIM): $(STORY_OBJECTS) $(SIM_SUPPORT) $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(FUZZ_TARGETS): $(OBJ)/fuzz/%: $(OBJ)/tests/fuzz/fuzz_%.o $(LIB)
	@mkdir -p $(@D)
	$(call SAY,link)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

SIMULATOR = $(filter-out $(OBJ)/bench/sim.o $(OBJ)/bench/sim_report.o,$(SIM_OBJECTS))
$(OBJ)/fuzz/trace: LIBS := $(ZLIB_LIBS) $(ZSTD_LIBS) $(LIBS)
$(OBJ)/fuzz/trace: $(SIMULATOR)

.SECONDARY:
-include $(shell [ ! -d $(OBJ) ] || find $(OBJ) -name '*.d')

# ---- running ----------------------------------------------------------

PORT ?= 6379
MEMCACHE_PORT ?= 11211
NODES ?= 3

run: all ## build, then run three nodes until Ctrl-C; the first is on 6379 (redis) and 11211 (memcached)
	@for port in $(PORT) $(MEMCACHE_PORT); do \
	    if command -v nc >/dev/null && nc -z 127.0.0.1 $$port 2>/dev/null; then \
	        echo "Port $$port is taken, perhaps by another redis-server or memcached. Stop that"; \
	        echo "(sudo systemctl stop redis-server memcached), or choose other ports:"; \
	        echo "    make run PORT=16379 MEMCACHE_PORT=21211"; \
	        exit 1; \
	    fi; \
	done >&2
	@exec $(BIN)/corral up $(NODES) --port $(PORT) --memcache-port $(MEMCACHE_PORT) $(ARGS)

# ---- testing ----------------------------------------------------------

test: all $(TESTS) $(SIM) ## build, then run all unit and system tests
	@if [ -z "$(strip $(CMOCKA_LIBS))" ] || ! command -v bats >/dev/null; then \
	    echo "The tests need libcmocka-dev and bats: run make deps, then ./configure." >&2; \
	    exit 1; \
	fi
	@CORRAL_BIN="$(CURDIR)/$(BIN)" OBJ="$(OBJ)" VARIANT="$(VARIANT)" ONLY="$(ONLY)" \
	    $(TEST_RUNNER) tests/run $(TESTS) $(SIM) $(SYSTEM_TESTS)

# What it prints are the figures in docs/CLUSTER.md.
sim: $(SIM) ## the short stories of the simulated cluster, with their figures
	@$(SIM) $(SIM_ARGS)

sim-long: $(SIM) ## all of them: thousands of nodes, hours of simulated time
	@$(SIM) --long $(SIM_ARGS)

asan: ## all tests with the address and undefined-behaviour sanitizers
	@$(MAKE) VARIANT=asan test

# The thread sanitizer's map of memory has no room for much address randomization.
tsan: ## all tests with the thread sanitizer
	@bits=$$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0); \
	runner=; \
	if [ "$$bits" -gt 28 ] && setarch -R true 2>/dev/null; then runner="setarch -R"; fi; \
	$(MAKE) VARIANT=tsan TEST_RUNNER="$$runner" test

fuzz: ## feed every decoder with mutated input, FUZZ_SECONDS each
	@if echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 9; }' | \
	    clang -x c -w -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null; then \
	    $(MAKE) VARIANT=fuzz fuzz-each; \
	else \
	    echo "fuzz: skipped, because clang or its libFuzzer is missing (clang, libclang-rt-14-dev)"; \
	fi

# The seeds are only read: what is found goes to the object folder.
.PHONY: fuzz-each
fuzz-each: $(FUZZ_TARGETS)
	@failed=; \
	for name in $(FUZZ_NAMES); do \
	    seeds=tests/fuzz/corpus/$$name; \
	    found=$(OBJ)/corpus/$$name; \
	    log=$(OBJ)/fuzz/$$name.log; \
	    mkdir -p $$found; \
	    [ -d $$seeds ] || { echo "FAIL fuzz $$name: there is no $$seeds"; failed="$$failed $$name"; continue; }; \
	    if $(OBJ)/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	        -artifact_prefix=$(OBJ)/fuzz/$$name. $$found $$seeds >$$log 2>&1; then \
	        echo "ok   fuzz $$name: $$(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' $$log)"; \
	    else \
	        echo "FAIL fuzz $$name, see $$log"; \
	        tail -n 40 $$log; \
	        failed="$$failed $$name"; \
	    fi; \
	done; \
	[ -z "$$failed" ] || { echo "fuzz: failed:$$failed" >&2; exit 1; }

bench: all ## compare with redis-server and memcached, and write bench/RESULTS.md
	@bench/run

bench-herd: all ## the same for many clients that miss one key, writes bench/RESULTS-HERD.md
	@bench/run-herd

placement: $(OBJ)/tests/cluster/test_placement_figures ## measure how even the placement of keys is, for 3 to 1000 nodes
	@PLACEMENT_NODES=1000 $<

bench-cluster: all ## how a cluster notices, forwards and changes, beside serf and redis; as root; writes bench/RESULTS-CLUSTER.md
	@python3 bench/cluster.py

bench-eviction: all $(OBJ)/fast_clock.so ## hit ratios at equal RSS on traces, into bench/RESULTS-EVICTION.md
	@BENCH_FAST_CLOCK=$(OBJ)/fast_clock.so bench/eviction.sh $(TRACES)

# Replays a trace through every policy; the report is one page for a browser.
lab: $(BIN)/corral-sim ## what would each policy miss? make lab TRACE=path [LAB_ARGS='--sizes curve']
	@if [ -z "$(TRACE)" ]; then echo "make lab TRACE=path-of-a-trace; docs/SIMULATOR.md says of what kinds" >&2; exit 1; fi
	@$(BIN)/corral-sim "$(TRACE)" --out $(OBJ)/lab $(LAB_ARGS)
	@echo "The report: file://$(CURDIR)/$(OBJ)/lab/report.html"
	@[ -z "$$DISPLAY$$WAYLAND_DISPLAY" ] || ! command -v xdg-open >/dev/null || xdg-open $(OBJ)/lab/report.html

# ---- lint -------------------------------------------------------------

# find, not git, so that it works in a tarball too.
C_FILES = $(shell find protocol server cluster tests bench -name '*.[ch]' | sort)
SCRIPTS = $(shell find configure .ci/run tests bench -type f \( -name configure -o -name run -o -name 'run-*' -o -name '*.sh' \
                                                             -o -name '*.bash' \) | sort)
# legacyUninitvar cannot see a callee fill an array; its successor, uninitvar, can.
CPPCHECK = cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability \
           --error-exitcode=1 --inline-suppr --suppress=missingInclude \
           --suppress=missingIncludeSystem --suppress=unmatchedSuppression --suppress=legacyUninitvar \
           --template='{file}:{line}: {severity}: {message} [{id}]' -D_GNU_SOURCE -D__x86_64__ -D__SSE2__ -I.

lint: config.mk ## check format, scripts, that headers stand alone, and what cppcheck finds
	@clang-format --dry-run -Werror $(C_FILES)
	@for script in $(SCRIPTS); do \
	    if head -n 1 $$script | grep -q bash; then bash -n $$script; else sh -n $$script; fi || exit 1; \
	done
	@for header in $(filter %.h,$(C_FILES)); do \
	    $(CC) $(CPPFLAGS) $(CMOCKA_CFLAGS) -std=gnu11 $(ARCH_FLAGS) $(WARNINGS) -fsyntax-only -x c $$header || \
	        { echo "$$header does not compile alone" >&2; exit 1; }; \
	done
	@$(CPPCHECK) -j 2 $(filter protocol/%.c server/%.c cluster/%.c bench/%.c,$(C_FILES))
	@echo "lint: nothing to complain about"

# ---- installing -------------------------------------------------------

# The sample never replaces a configuration that is there already: it comes beside it.
install: all ## install programs, manual page, sample configuration, systemd unit (DESTDIR, PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8 \
	    $(DESTDIR)$(SYSCONFDIR)/corral $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	$(BIN)/corrald --man >$(OBJ)/corrald.8
	install -m 644 $(OBJ)/corrald.8 $(DESTDIR)$(PREFIX)/share/man/man8/corrald.8
	$(BIN)/corrald --sample-config >$(OBJ)/corral.conf
	target=$(DESTDIR)$(SYSCONFDIR)/corral/corral.conf; \
	    [ ! -e $$target ] || target=$$target.new; \
	    install -m 640 $(OBJ)/corral.conf $$target
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|' server/corrald.service.in \
	    >$(OBJ)/corrald.service
	install -m 644 $(OBJ)/corrald.service $(DESTDIR)$(PREFIX)/lib/systemd/system/corrald.service

clean: ## remove everything that was built, and the configuration
	rm -rf obj obj-debug obj-asan obj-tsan obj-fuzz bin config.mk config.h
