//! The files that the settings name: passwords, certificates, keys. They are read as they stand on the disk now, since
//! they are rotated, and may be written after the agent has started.

use std::fmt::Display;
use std::path::Path;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::endpoint::{Login, Password, RedisEndpoint, Secret, TlsFiles, redacted_path};
use crate::fault::{StoreError, StoreFault};

/// All that is needed to be let in, wherever it came from.
pub(super) struct LoadedFiles {
    pub redis: Option<Secret>,
    pub sentinel: Option<Secret>,
    /// `None`: without TLS.
    pub tls: Option<TlsCertificates>,
}

/// Every file that cannot be used, each with its flag and why.
#[derive(Default)]
struct Unusable {
    files: Vec<String>,
    fault: Option<StoreFault>,
}

impl LoadedFiles {
    /// Reads every file that the settings name, so that all problems are reported together.
    ///
    /// # Errors
    /// Some cannot be used.
    pub fn read(endpoint: &RedisEndpoint) -> Result<Self, StoreError> {
        let mut unusable = Unusable::default();
        let credentials = Self {
            redis: unusable.password("redis-password-file", &endpoint.login),
            sentinel: unusable.password("sentinel-password-file", &endpoint.sentinel_login),
            tls: endpoint.tls.as_ref().map(|files| unusable.tls(files)),
        };
        match unusable.fault {
            None => Ok(credentials),
            Some(fault) => Err(StoreError {
                fault,
                message: unusable.files.join("; "),
            }),
        }
    }
}

impl Unusable {
    fn keep<T>(
        &mut self,
        fault: StoreFault,
        flag: &str,
        path: &Path,
        read: Result<T, impl Display>,
    ) -> Option<T> {
        let tell = |why| {
            self.files
                .push(format!("--{flag}={}: {why}", redacted_path(path)));
            self.fault = Some(fault);
        };
        read.map_err(tell).ok()
    }

    fn password(&mut self, flag: &str, login: &Login) -> Option<Secret> {
        match login.password.as_ref()? {
            Password::Given(secret) => Some(secret.clone()),
            Password::File(path) => {
                self.keep(StoreFault::PasswordFile, flag, path, Secret::read(path))
            }
        }
    }

    fn tls(&mut self, files: &TlsFiles) -> TlsCertificates {
        // The first caller sets it for the process; any other finds the same one.
        let _ = default_provider().install_default();
        let ca = files.ca.as_ref();
        let root_cert = ca.and_then(|path| self.pem("redis-ca-file", path, authorities));
        let client = files.client.as_ref();
        let client_tls = client.and_then(|(cert, key)| {
            let chain = self.pem("redis-cert-file", cert, certificates);
            let private = self.pem("redis-key-file", key, private_key);
            let ((client_cert, chain), (client_key, private)) = (chain?, private?);
            let pair = CertifiedKey::from_der(chain, private, &default_provider());
            let pair =
                pair.map_err(|error| format!("it is not the key to --redis-cert-file ({error})"));
            self.keep(StoreFault::TlsFile, "redis-key-file", key, pair)?;
            Some(ClientTlsConfig {
                client_cert,
                client_key,
            })
        });
        TlsCertificates {
            client_tls,
            root_cert: root_cert.map(|(text, ())| text),
        }
    }

    /// The file's text, and what was found in it.
    fn pem<T>(
        &mut self,
        flag: &str,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<(Vec<u8>, T)> {
        let read = std::fs::read(path).map_err(|error| error.to_string());
        let read = read.and_then(|text| parse(&text).map(|found| (text, found)));
        self.keep(StoreFault::TlsFile, flag, path, read)
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    // What the parser says may quote the file, which may be a key.
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("it holds no certificates in PEM".into()),
    }
}

fn authorities(text: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("it is not the certificate of an authority ({error})"))?;
    }
    Ok(())
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // As above.
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| "it holds no private key in PEM, without a passphrase".into())
}
