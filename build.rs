//! Passes what nginx-sys learned about the nginx tree to the compiler, and binds what nginx-sys does
//! not bind, or not right.
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    declare("ngx_feature", "DEP_NGINX_FEATURES_CHECK", "DEP_NGINX_FEATURES");
    declare("ngx_os", "DEP_NGINX_OS_CHECK", "DEP_NGINX_OS");
    bind_bits(Path::new("src/nginx/bits.h"))
}

/// Emits `cfg(name = "value")` for each of the comma-separated values nginx-sys found.
fn declare(name: &str, known: &str, found: &str) {
    println!("cargo::rerun-if-env-changed={known}");
    println!("cargo::rerun-if-env-changed={found}");
    let known = env::var(known).unwrap_or_else(|_| "any()".into());
    println!("cargo::rustc-check-cfg=cfg({name}, values({known}))");
    for value in env::var(found).unwrap_or_default().split(',') {
        let value = value.trim();
        if !value.is_empty() {
            println!("cargo::rustc-cfg={name}=\"{value}\"");
        }
    }
}

/// Compiles the functions of `header` and binds them, with nginx-sys's types.
fn bind_bits(header: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", header.display());
    let include = env::var_os("DEP_NGINX_INCLUDE").ok_or("nginx-sys tells no include path")?;
    let include: Vec<PathBuf> = env::split_paths(&include).collect();
    let defines = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("there is no OUT_DIR")?);
    let wrappers = out.join("bits.c");

    bindgen::Builder::default()
        .header(header.to_string_lossy())
        .clang_args(include.iter().map(|path| format!("-I{}", path.display())))
        .clang_args(defines.split_whitespace())
        .allowlist_function("websocket_guard_.*")
        .allowlist_recursively(false)
        .wrap_static_fns(true)
        .wrap_static_fns_path(&wrappers)
        .wrap_static_fns_suffix("_")
        .generate()?
        .write_to_file(out.join("bits.rs"))?;

    let mut c = cc::Build::new();
    c.file(&wrappers).includes(&include).include(env::current_dir()?).warnings(false);
    for define in defines.split_whitespace() {
        c.flag(define);
    }
    c.try_compile("bits")?;
    Ok(())
}
