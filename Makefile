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

# Perl library with Test::Nginx: our own small one, or lib/ of nginx's repository nginx-tests.
TEST_NGINX_LIB ?= t/lib

# The builds of nginx that every test runs on, and how many test files run at a time on each.
FLAVOURS ?= debian vendored
JOBS     ?= $(shell echo $$((2 * $$(nproc))))

# What is installed from Debian packages when missing. Rust comes from rustup: Debian 12's is too old.
PACKAGES         = gcc make perl libclang-dev nginx nginx-dev libpcre2-dev libssl-dev zlib1g-dev
TEST_PACKAGES    = libprotocol-websocket-perl libio-socket-ssl-perl openssl curl
INTEROP_PACKAGES = python3 python3-venv nodejs npm chromium

# Which nginx "make module" builds for. Asked late, since "make setup" may change the answer.
FLAVOUR = $(if $(NGINX_SOURCE_DIR)$(NGINX_BUILD_DIR),custom,$\
	$(if $(shell test -f /usr/share/nginx/src/conf_flags && echo yes),debian,vendored))

# Tree, build directory and binary of each flavour of nginx.
tree   = $(if $(filter custom,$1),$(abspath $(or $(NGINX_SOURCE_DIR),$(NGINX_BUILD_DIR)/..)),$(CURDIR)/build/$1/nginx-tree)
objs   = $(if $(filter custom,$1),$(abspath $(or $(NGINX_BUILD_DIR),$(NGINX_SOURCE_DIR)/objs)),$(call tree,$1)/objs)
binary = $(if $(filter debian,$1),$(NGINX_BINARY),$(call objs,$1)/nginx)

# Cargo with the nginx of a flavour, and without any for the crates that know nothing of nginx.
cargo      = NGINX_SOURCE_DIR='$(call tree,$1)' NGINX_BUILD_DIR='$(call objs,$1)' CARGO_TARGET_DIR=build/$1/target cargo
pure-cargo = CARGO_TARGET_DIR=build/target cargo

# Replaces a file only by a different one, and at once: an nginx may have it loaded.
put = mkdir -p '$(dir $2)' && { cmp -s $1 '$2' || { cp $1 '$2.new' && mv '$2.new' '$2'; }; }

.DEFAULT_GOAL := module
# Prerequisites run one after another; cargo, make and prove use all processors by themselves.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

.PHONY: setup
setup: ## install what is missing to build and test (Debian packages)
	.ci/install-packages $(PACKAGES) $(TEST_PACKAGES)

.PHONY: setup-interop
setup-interop: ## install what is missing for "make interop"
	.ci/install-packages $(INTEROP_PACKAGES)

.PHONY: module
module: ## build $(MODULE_DIR)/ngx_http_websocket_guard_module.so
	@$(MAKE) --no-print-directory module-$(FLAVOUR)
	$(call put,build/$(FLAVOUR)/$(SO),$(MODULE_DIR)/$(SO))

.PHONY: module-vendored
module-vendored: ## build the same for the nginx of crate nginx-src
module-%:
	nginx-src/prepare $*
	$(call cargo,$*) build --release --locked --lib
	@$(call put,build/$*/target/release/lib$(MODULE).so,build/$*/$(SO))

.PHONY: echo-backend
echo-backend: ## build build/bin/echo-backend
	$(pure-cargo) build --release --locked -p websocket-guard-echo
	@$(call put,build/target/release/echo-backend,build/bin/echo-backend)

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build target
