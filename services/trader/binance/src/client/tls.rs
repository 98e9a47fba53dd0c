//! Certificates and cryptography of calls and streams.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// One configuration for the process: it trusts the certificates of the host, as `SSL_CERT_FILE` or the default
/// places of the system have them.
static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(load);

/// The configuration for connections over TLS; `None` if the cryptography could not be set up.
pub(super) fn config() -> Option<Arc<ClientConfig>> {
    CONFIG.clone()
}

fn load() -> Option<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        warn!(
            error = errors.join("; "),
            "no certificates found; connections over TLS fail"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .inspect_err(|error| warn!(%error, "TLS setup failed"))
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(Arc::new(config))
}
