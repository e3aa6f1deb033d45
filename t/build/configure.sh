#!/usr/bin/env bash
# Builds the module by nginx's own configure, and loads modules into the wrong nginx.
# Needs the outcome of "make module-debian module-vendored".
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
name=ngx_http_websocket_guard_module
# Kept for the next time: what takes long here is cargo compiling the same dependencies.
work=$root/build/configure
tree=$work/nginx-tree

main() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT

    fresh_tree
    add_module_is_refused
    add_dynamic_module_builds
    modules_of_another_nginx_are_refused
}

# The vendored source without the sanitizer; nothing else about it differs from a download.
fresh_tree() {
    rm -rf "$tree"
    mkdir -p "$work"
    cp -r "$root/build/vendored/nginx-tree" "$tree"
    rm -rf "$tree/objs" "$tree/Makefile"
}

add_module_is_refused() {
    if (cd "$tree" && auto/configure --with-compat --add-module="$root") >"$scratch/log" 2>&1; then
        fail "configure accepts --add-module"
    fi
    expect "needs --add-dynamic-module instead of --add-module" "$scratch/log"
    echo "ok - configure --add-module is refused"
}

add_dynamic_module_builds() {
    local installed=$scratch/root/usr/nginx
    (
        cd "$tree"
        auto/configure --prefix=/usr/nginx --with-cc-opt=-O0 --add-dynamic-module="$root"
        # configure's build directory is new, cargo's is not
        mkdir -p "$work/target" objs/addon
        ln -s "$work/target" objs/addon/$name
        make -j"$(nproc)"
        make install DESTDIR="$scratch/root"
    ) >"$work/log" 2>&1 || fail "configure or make failed" "$work/log"
    cmp "$tree/objs/$name.so" "$installed/modules/$name.so"

    check_configuration "$tree/objs/nginx" "$installed/modules/$name.so" >"$scratch/log" 2>&1 ||
        fail "nginx does not load the module" "$scratch/log"
    expect "test is successful" "$scratch/log"
    echo "ok - configure --add-dynamic-module builds and installs a module that loads"
}

modules_of_another_nginx_are_refused() {
    # The same version, but configured with --with-compat
    refused "$tree/objs/nginx" "$root/build/vendored/$name.so" "is not binary compatible"
    refused "$NGINX_BINARY" "$root/build/vendored/$name.so" "version [0-9]* instead of [0-9]*"
    echo "ok - modules for another nginx are refused"
}

refused() { # NGINX MODULE PATTERN
    if check_configuration "$1" "$2" >"$scratch/log" 2>&1; then
        fail "\"$1\" loads the module of another nginx" "$scratch/log"
    fi
    expect "$3" "$scratch/log"
}

check_configuration() { # NGINX MODULE
    cat >"$scratch/nginx.conf" <<END
load_module $2;
pid nginx.pid;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:8080;
        location / {
            websocket_guard on;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
END
    "$1" -t -p "$scratch" -c nginx.conf -e stderr
}

expect() { # PATTERN FILE
    grep -q "$1" "$2" || fail "\"$1\" is not in the output" "$2"
}

fail() { # SENTENCE [FILE]
    echo "not ok - $1" >&2
    [ -z "${2-}" ] || tail -n 20 "$2" >&2
    exit 1
}

main
