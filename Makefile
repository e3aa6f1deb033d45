# Build, test, lint and demo of ngx_http_websocket_guard_module: run "make help".

MODULE = ngx_http_websocket_guard_module
SO     = $(MODULE).so

# Where "make module" leaves the module.
MODULE_DIR ?= build

# An nginx source tree of your own to build for, and its build directory if that is not objs/ in it.
NGINX_SOURCE_DIR ?=
NGINX_BUILD_DIR  ?=
export NGINX_SOURCE_DIR NGINX_BUILD_DIR

# The nginx that tests, demo and install use with the module that is built for it.
NGINX_BINARY ?= $(or $(shell PATH="$$PATH:/usr/sbin" command -v nginx),/usr/sbin/nginx)
export NGINX_BINARY

# Where "make install" copies the module.
INSTALL_DIR ?= $(shell '$(NGINX_BINARY)' -V 2>&1 | sed -n 's,.*--modules-path=\([^ ]*\).*,\1,p')

# Perl library with Test::Nginx: our own small one, or lib/ of nginx's repository nginx-tests.
TEST_NGINX_LIB ?= t/lib

# The builds of nginx that every test runs on, those that it runs on a second time with nginx's own loop in
# the tunnels, and how many test files run at a time on each.
FLAVOURS        ?= debian debian13 vendored debian-next
NATIVE_FLAVOURS ?= $(or $(filter vendored,$(FLAVOURS)),$(FLAVOURS))
JOBS            ?=

# What is installed from Debian packages when missing. Rust comes from rustup: Debian 12's is too old.
BUILD_PACKAGES   = gcc make perl libclang-dev libpcre2-dev libssl-dev zlib1g-dev \
	$(if $(NGINX_SOURCE_DIR)$(NGINX_BUILD_DIR),,nginx nginx-dev)
TEST_PACKAGES    = python3 libprotocol-websocket-perl libio-socket-ssl-perl openssl curl g++ iproute2 pkg-config
# Modules of others that the guard has to live with.
TEST_PACKAGES   += $(addprefix libnginx-mod-,http-perl http-lua http-modsecurity http-image-filter nchan)
DEB_PACKAGES     = dpkg-dev debhelper
PACKAGE_TEST_PACKAGES = debootstrap lintian iproute2 python3-venv
INTEROP_PACKAGES = python3-venv nodejs npm chromium

# Which nginx "make module" builds for. Asked late, since "make setup" may change the answer.
FLAVOUR = $(if $(NGINX_SOURCE_DIR)$(NGINX_BUILD_DIR),custom,$\
	$(if $(shell test -x '$(NGINX_BINARY)' -a -f /usr/share/nginx/src/conf_flags && echo yes),debian,vendored))

# Flavours that are releases of Debian, whatever the host is.
RELEASES = debian12 debian13 debian-next

# Tree, build directory and binary of each flavour of nginx.
tree   = $(if $(filter custom,$1),$(abspath $(or $(NGINX_SOURCE_DIR),$(NGINX_BUILD_DIR)/..)),$(CURDIR)/build/$1/nginx-tree)
objs   = $(if $(filter custom,$1),$(abspath $(or $(NGINX_BUILD_DIR),$(NGINX_SOURCE_DIR)/objs)),$(call tree,$1)/objs)
binary = $(if $(filter debian,$1),$(NGINX_BINARY),$\
	$(if $(filter $(RELEASES),$1),$(CURDIR)/build/$1/nginx,$(call objs,$1)/nginx))

# Cargo with the nginx of a flavour, and without any for the crates that know nothing of nginx.
cargo      = NGINX_SOURCE_DIR='$(call tree,$1)' NGINX_BUILD_DIR='$(call objs,$1)' CARGO_TARGET_DIR=build/$1/target cargo
pure-cargo = CARGO_TARGET_DIR=build/target cargo

ECHO_BACKEND = $(CURDIR)/build/bin/echo-backend

# How t/run, prove and demo/run are called.
run-on           = '$1$2=$(call binary,$1),$(CURDIR)/build/$1/$(SO)'
jobs             = $(or $(JOBS),$(shell echo $$(((4 * $$(nproc) + $(words $1) - 1) / $(words $1)))))
prove            = prove -I '$(TEST_NGINX_LIB)' -I t/lib $(if $1,-j$(call jobs,$1))
demo-environment = NGINX_BINARY='$(call binary,$(FLAVOUR))' MODULE='$(CURDIR)/build/$(FLAVOUR)/$(SO)' \
	ECHO_BACKEND='$(ECHO_BACKEND)'

# Replaces a file only by a different one, and at once: an nginx may have it loaded.
put = mkdir -p '$(dir $2)' && { cmp -s $1 '$2' || { cp $1 '$2.new' && mv '$2.new' '$2'; }; }

sudo = $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := module
# Prerequisites run one after another: cargo, make and t/run use all processors by themselves.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

.PHONY: setup
setup: setup-build setup-test ## install what is missing to build and test (Debian packages)

.PHONY: setup-build
setup-build: ## only what is missing to build the module
	@.ci/install-packages $(BUILD_PACKAGES)
	@command -v cargo >/dev/null || { echo 'Rust is not installed, see https://rustup.rs' >&2; exit 1; }

.PHONY: setup-test
setup-test: ## only what is missing for the tests in t/
	@.ci/install-packages $(TEST_PACKAGES)

.PHONY: setup-interop
setup-interop: ## install what is missing for "make interop"
	@.ci/install-packages $(INTEROP_PACKAGES)

.PHONY: module
module: ## build the module for the installed nginx (or NGINX_SOURCE_DIR=) into build/ (or MODULE_DIR=)
	@$(MAKE) --no-print-directory module-$(FLAVOUR)
	@$(call put,build/$(FLAVOUR)/$(SO),$(MODULE_DIR)/$(SO))
	@echo '$(MODULE_DIR)/$(SO)'

.PHONY: module-vendored
module-vendored: ## build the nginx of the crate nginx-src and the module for it

.PHONY: module-debian module-custom $(RELEASES:%=module-%)
module-debian module-vendored module-custom $(RELEASES:%=module-%): module-%:
	nginx-src/prepare $*
	$(call cargo,$*) build --release --locked --lib
	@$(call put,build/$*/target/release/lib$(MODULE).so,build/$*/$(SO))

.PHONY: echo-backend
echo-backend: ## build build/bin/echo-backend, which demo and interop talk to
	$(pure-cargo) build --release --locked -p websocket-guard-echo
	@$(call put,build/target/release/echo-backend,build/bin/echo-backend)

.PHONY: lint
lint: ## check format (rustfmt), who imports whom (.ci/imports) and code (clippy)
	cargo fmt --all --check
	.ci/imports --self-test
	.ci/imports core/src src
	nginx-src/prepare $(FLAVOUR)
	$(call cargo,$(FLAVOUR)) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: unit
unit: ## unit tests of the crates that need no nginx
	$(pure-cargo) test --workspace --exclude $(MODULE) --locked

# How long "make fuzz" runs each of its targets.
FUZZ_SECONDS ?= 600

.PHONY: fuzz fuzz-short
fuzz: setup ## fuzz what reads a peer's bytes, FUZZ_SECONDS for each target
	core/fuzz/run $(FUZZ_SECONDS)
fuzz-short: ## the same, 30 seconds for each target
	core/fuzz/run 30

.PHONY: findings-doc
findings-doc: ## write docs/findings.md anew from the catalogue
	$(pure-cargo) run --quiet --locked -p websocket-guard-core --example findings-doc

.PHONY: test
test: setup setup-interop lint unit fuzz-short module test-nginx test-packages release-check test-build interop demo-check ## everything

.PHONY: test-nginx
test-nginx: $(FLAVOURS:%=module-%) ## t/*.t on each nginx in FLAVOURS (all by default), JOBS= at a time
	t/run $(foreach f,$(FLAVOURS),$(call run-on,$f)) -- $(call prove,$(FLAVOURS)) t/*.t
	TEST_NGINX_GLOBALS_HTTP='websocket_guard_tunnel native;' \
		t/run $(foreach f,$(NATIVE_FLAVOURS),$(call run-on,$f,-native)) -- $(call prove,$(NATIVE_FLAVOURS)) t/*.t

.PHONY: test-one
test-one: $(FLAVOURS:%=module-%) ## one test file on each nginx in FLAVOURS: make test-one T=t/foo.t
	t/run $(foreach f,$(FLAVOURS),$(call run-on,$f)) -- $(call prove) -v $(T)

.PHONY: test-build
test-build: module-debian module-vendored ## nginx's own configure, a module for another nginx, the container image
	t/build/configure.sh
	t/build/container.py

.PHONY: interop
interop: setup-interop $(FLAVOURS:%=module-%) echo-backend ## real WebSocket clients and servers through each nginx
	$(foreach f,$(FLAVOURS),ECHO_BACKEND='$(ECHO_BACKEND)' t/run $(call run-on,$f) -- t/interop/run &&) true

.PHONY: demo
demo: setup module echo-backend ## serve a WebSocket page through nginx until Ctrl-C
	$(demo-environment) demo/run

.PHONY: demo-check
demo-check: setup module echo-backend ## the same, but connect, echo and exit
	$(demo-environment) demo/run --check

.PHONY: install
install: module ## copy the module to the modules directory of the installed nginx
	$(if $(DESTDIR),,$(sudo)) \
		install -D -m 644 '$(MODULE_DIR)/$(SO)' '$(DESTDIR)$(INSTALL_DIR)/$(SO)'

# The release of Debian that "make deb" packs the module for. Its nginx is the installed one where that is the
# host's, else an unpacked one.
HOST_RELEASE := $(shell . /etc/os-release && echo "$$VERSION_CODENAME")
RELEASE      ?= $(HOST_RELEASE)
release-flavour = $(or $(strip $(foreach f,$(RELEASES),$(if $(filter $1,$(shell nginx-src/debian codename $f)),$f))),$\
	$(error no flavour of nginx is of Debian "$1"))
deb-flavour   = $(if $(filter $(HOST_RELEASE),$1),debian,$(call release-flavour,$1))

.PHONY: setup-deb
setup-deb: ## only what is missing for "make deb"
	@.ci/install-packages $(DEB_PACKAGES)

.PHONY: deb
deb: setup-build setup-deb ## build the Debian package for RELEASE= (by default the host's) into build/
	@$(MAKE) --no-print-directory module-$(call deb-flavour,$(RELEASE))
	@packaging/build $(RELEASE) $(call deb-flavour,$(RELEASE)) build/deb

# The releases whose packages are tried.
PACKAGE_RELEASES ?= bookworm trixie

.PHONY: packages
packages: setup-build setup-deb
	set -e; for r in $(PACKAGE_RELEASES); do $(MAKE) --no-print-directory deb RELEASE=$$r; done

.PHONY: test-packages
test-packages: packages ## each release's package in a fresh system (as root): install, upgrade, remove
	@.ci/install-packages $(PACKAGE_TEST_PACKAGES)
	$(sudo) t/packages/run $(foreach r,$(PACKAGE_RELEASES),$r=build/$(call release-flavour,$r))

.PHONY: release-check
release-check: packages ## whether versions, changelogs, generated documentation and packages agree
	packaging/release-check '$(call tree,$(FLAVOUR))' build/deb/*.deb

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build target

# apache2-bin is the program of apache2 without its service.
BENCH_PACKAGES = haproxy caddy apache2-bin valgrind
BENCH          = $(CURDIR)/build/bin/websocket-guard-bench
BENCH_QUICK   ?=
# A quick run is no result to keep, and not to be quoted.
BENCH_OUTPUT  ?= $(if $(BENCH_QUICK),build/bench,docs)
bench           = $(BENCH) --nginx '$(call binary,$(FLAVOUR))' --module '$(CURDIR)/build/$(FLAVOUR)/$(SO)' \
	$(if $(BENCH_QUICK),--quick)

.PHONY: bench-setup
bench-setup: setup ## install what is missing for "make bench"
	@.ci/install-packages $(BENCH_PACKAGES)

.PHONY: bench-tool
bench-tool:
	$(pure-cargo) build --release --locked -p websocket-guard-bench
	@$(call put,build/target/release/websocket-guard-bench,$(BENCH))

.PHONY: bench
bench: bench-setup module bench-tool ## measure all and write docs/benchmarks.md (BENCH_QUICK=1: a look, in build/bench/)
	$(bench) --output '$(BENCH_OUTPUT)' $(if $(BENCH_QUICK),,--quote README.md)
	@echo '$(BENCH_OUTPUT)/benchmarks.md'

.PHONY: bench-config
bench-config: bench-setup module bench-tool ## only the load of a configuration of 50,000 locations
	@$(bench) configuration

# How long the sweep (t/sweep.t) goes through its product on each nginx, and how much longer than in "make test" the
# tests with random input run; each prints its seed, and WEBSOCKET_GUARD_SEED repeats it.
SWEEP_SECONDS  ?= 570
STRESS_PACKAGES = valgrind
STRESS_FLAVOURS = debian vendored
stress-prove    = prove --timer -I '$(TEST_NGINX_LIB)' -I t/lib

.PHONY: stress-setup
stress-setup: setup ## install what is missing for "make stress"
	@.ci/install-packages $(STRESS_PACKAGES)

.PHONY: stress
stress: stress-setup $(STRESS_FLAVOURS:%=module-%) stress-sweep stress-valgrind ## 20 minutes of attack: all that must not cost a worker

.PHONY: stress-sweep
stress-sweep: $(STRESS_FLAVOURS:%=module-%) ## only the sweep and the tests with random input
	WEBSOCKET_GUARD_SWEEP=$(SWEEP_SECONDS) t/run $(foreach f,$(STRESS_FLAVOURS),$(call run-on,$f)) -- $(stress-prove) t/sweep.t
	WEBSOCKET_GUARD_FUZZ=5 WEBSOCKET_GUARD_SEED=$${WEBSOCKET_GUARD_SEED:-$$$$} \
		t/run $(foreach f,$(STRESS_FLAVOURS),$(call run-on,$f)) -- $(stress-prove) -j2 t/fuzz_*.t

# t/valgrind/excluded says which files are not run there, and why.
VALGRIND_TESTS ?= $(filter-out $(shell sed -n 's,^\([a-z_%]*\.t\) .*,t/\1,p' t/valgrind/excluded),$(wildcard t/*.t))

.PHONY: stress-valgrind
stress-valgrind: module-debian ## only the tests under valgrind's memcheck, on Debian's nginx
	VALGRIND_NGINX='$(call binary,debian)' TEST_NGINX_SLOWNESS=4 \
		t/run 'valgrind=$(CURDIR)/t/valgrind/nginx,$(CURDIR)/build/debian/$(SO)' -- \
		$(stress-prove) -j$(shell nproc) $(VALGRIND_TESTS)
