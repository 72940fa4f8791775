# llm_router: build, install and test, on PostgreSQL's extension framework (PGXS).
#
#   make                        build against the pg_config in PATH, or PG_CONFIG=...
#   make help                   every target, one line each
#
# The version stands in llm_router.control and nowhere else.

EXTENSION = llm_router
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" llm_router.control)
VERSIONED_SQL = $(EXTENSION)--$(EXTVERSION).sql

MODULE_big = llm_router
SOURCES = $(sort $(wildcard src/*.c src/*/*.c))
OBJS = $(SOURCES:.c=.o)
DEPENDENCIES = $(OBJS:.o=.d)
PGFILEDESC = "llm_router - LLM gateway"

DATA_built = $(VERSIONED_SQL)
DATA = $(sort $(wildcard sql/upgrade/*.sql))
EXTRA_CLEAN = $(DEPENDENCIES) $(EXTENSION)--*.sql results regression.diffs regression.out

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --encoding=UTF8

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) does not answer: run "bash test/install_dependencies.sh", or name one with PG_CONFIG=/usr/lib/postgresql/NN/bin/pg_config)
endif

# PostgreSQL's headers count as system headers, so that -Wextra speaks of this code only. A compiler newer than those
# tried may know new warnings: "make WERROR=" builds in spite of them.
WERROR = -Werror
WARNINGS = -Wall -Wextra $(WERROR) -Wno-unused-parameter
ifneq ($(findstring clang,$(shell $(CC) --version)),)
# PGXS passes the flags of the compiler that built PostgreSQL, usually gcc, whose printf attribute is gnu_printf.
WARNINGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-unused-command-line-argument -Wno-ignored-attributes
endif
PG_CFLAGS = $(WARNINGS) $(SANITIZE)
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(includedir_server) -isystem $(includedir_internal) -MMD -MP
PG_LDFLAGS = $(SANITIZE)
SHLIB_LINK = -lcurl -lssl -lcrypto

# installcheck below brings its own server. Bitcode would need the very clang that PostgreSQL was built with, to inline
# functions that wait on the network. Dependencies come from -MMD: PGXS's own scheme lets equal file names collide.
NO_INSTALLCHECK = 1
override with_llvm = no
override autodepend =

include $(PGXS)

-include $(DEPENDENCIES)

# The parts in the order of their names, which their numbers give.
$(VERSIONED_SQL): $(sort $(wildcard sql/install/*.sql)) $(EXTENSION).control
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; cat $(filter %.sql,$^); } > $@.tmp
	@mv $@.tmp $@

.PHONY: help lint-flags test-modules installcheck formatcheck pgtapcheck tapcheck test lint format bench fuzz quickstart sanitize valgrind

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo '  make, make install, make clean as with every PostgreSQL extension'

# Each of these starts a private server with the extension preloaded, so "make install" comes first.
TEST_ENV = PG_CONFIG='$(PG_CONFIG)'
PGTAP_TESTS = $(sort $(wildcard test/pgtap/*.sql))
PROVE_TESTS = $(sort $(wildcard test/t/*.pl))
PROVE_FLAGS =

installcheck: ## pg_regress (after make install; REGRESS=name for one)
	$(TEST_ENV) bash test/with_server.sh $(top_builddir)/src/test/regress/pg_regress --inputdir=. \
		--bindir='$(bindir)' $(REGRESS_OPTS) $(REGRESS)

formatcheck: test-modules ## golden pairs of requests and answers in each API format
	$(TEST_ENV) bash test/with_server.sh $(MAKE) --no-print-directory -s -C test/modules/formats PG_CONFIG='$(PG_CONFIG)' installcheck

pgtapcheck: ## pgTAP (PGTAP_TESTS=test/pgtap/x.sql for one)
	$(TEST_ENV) bash test/pgtap.sh $(PROVE_FLAGS) $(PGTAP_TESTS)

# Libraries with test functions; they stay where they are built.
TEST_MODULES = $(sort $(dir $(wildcard test/modules/*/Makefile)))

test-modules:
	@for module in $(TEST_MODULES); do $(MAKE) --no-print-directory -s -C $$module PG_CONFIG='$(PG_CONFIG)' || exit 1; done

tapcheck: test-modules ## TAP tests of processes (PROVE_TESTS=test/t/x.pl for one)
	$(TEST_ENV) bash test/tap.sh $(PROVE_FLAGS) $(PROVE_TESTS)

test: ## everything, from installing what is missing to the closing count
	bash test/run.sh

lint: ## format, static analysis, clang, layers, metadata
	$(TEST_ENV) bash test/lint/lint.sh

lint-flags:
	@echo '-std=gnu11 $(CPPFLAGS) $(WARNINGS) -Wdeclaration-after-statement' | sed 's/ -MMD -MP//'

format: ## lay out the C code with clang-format
	python=$$(bash test/lib/venv.sh '$(CURDIR)/.cache/lint' test/lint/requirements.txt) && \
		"$$(dirname "$$python")/clang-format" -i $(SOURCES) $(wildcard src/*.h src/*/*.h)

bench: ## speed and memory against a mock on loopback
	$(TEST_ENV) bash test/bench/run.sh

fuzz: ## parsers under ASAN and UBSAN (FUZZ_SECONDS=n in all)
	$(TEST_ENV) bash test/fuzz/run.sh $(FUZZ_SECONDS)

quickstart: ## a private server and a local model to try it on
	bash test/quickstart.sh

sanitize: ## pg_regress and pgTAP under ASAN and UBSAN
	$(TEST_ENV) bash test/sanitize.sh

valgrind: ## a short pg_regress under valgrind
	$(TEST_ENV) bash test/valgrind.sh
