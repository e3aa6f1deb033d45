# Rules for nginx's makefile. The shared object is linked by cargo and brings its tables of modules
# itself, so nginx's auto/module has no part in it.

ngx_guard_name=ngx_http_websocket_guard_module
ngx_guard_objs=$(cd "$NGX_OBJS" && pwd)
ngx_guard_target=$ngx_guard_objs/addon/$ngx_guard_name

case "$NGX_MODULES_PATH" in
    /*) ngx_guard_path=$NGX_MODULES_PATH ;;
    *)  ngx_guard_path=$NGX_PREFIX/$NGX_MODULES_PATH ;;
esac

cat << END                                                    >> $NGX_MAKEFILE

modules:	$NGX_OBJS/$ngx_guard_name.so

# cargo knows best what has changed
.PHONY:	$ngx_guard_name
$ngx_guard_name:
	NGINX_SOURCE_DIR='$PWD' NGINX_BUILD_DIR='$ngx_guard_objs' \\
		cargo build --release --locked --lib \\
		--manifest-path '$ngx_addon_dir/Cargo.toml' --target-dir '$ngx_guard_target'

$NGX_OBJS/$ngx_guard_name.so:	$ngx_guard_name
	cp '$ngx_guard_target/release/lib$ngx_guard_name.so' \$@

install:	install_$ngx_guard_name
.PHONY:	install_$ngx_guard_name
install_$ngx_guard_name:	modules
	mkdir -p '\$(DESTDIR)$ngx_guard_path'
	rm -f '\$(DESTDIR)$ngx_guard_path/$ngx_guard_name.so'
	cp $NGX_OBJS/$ngx_guard_name.so '\$(DESTDIR)$ngx_guard_path'
END
