//! Passes what nginx-sys learned about the nginx tree to the compiler, as `cfg` values.
use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    declare("ngx_feature", "DEP_NGINX_FEATURES_CHECK", "DEP_NGINX_FEATURES");
    declare("ngx_os", "DEP_NGINX_OS_CHECK", "DEP_NGINX_OS");
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
