//! TLS between the load and a proxy: one certificate for all, and a client that wants the same version, cipher and
//! group of each.

use std::path::Path;
use std::pin::Pin;

use anyhow::{Context, Result};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::{X509NameBuilder, X509};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::files::write;

/// What each proxy gets to agree on.
pub const SETTINGS: &str = "TLS 1.3, TLS_AES_128_GCM_SHA256, P-256, ECDSA certificate";

/// Writes certificate and key into one file, as every proxy can read them.
pub fn certificate(file: &Path) -> Result<()> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost")?;
    let name = name.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(&key)?;
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(2)?)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    let text = [certificate.build().to_pem()?, key.private_key_to_pem_pkcs8()?].concat();
    write(file, &String::from_utf8(text)?)
}

/// A connection to a proxy that speaks TLS.
pub async fn connect(stream: TcpStream) -> Result<SslStream<TcpStream>> {
    let context = context()?;
    let mut ssl = Ssl::new(&context)?;
    ssl.set_hostname("localhost")?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).connect().await.context("a TLS handshake")?;
    Ok(stream)
}

fn context() -> Result<SslContext> {
    let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
    context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_ciphersuites("TLS_AES_128_GCM_SHA256")?;
    context.set_groups_list("P-256")?;
    context.set_verify(SslVerifyMode::NONE);
    Ok(context.build())
}
