//! A trader that reaches its exchange over TLS: with a certificate of an authority that its host trusts, and with
//! certificates that it must reject.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bearish_tests::exchange::Exchange;
use bearish_tests::nats::NatsServer;
use bearish_tests::ports;
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::DEFAULT_TIMEOUT;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Host name by which traders call the exchange.
const HOST: &str = "localhost";

/// An authority, and the file by which a host trusts it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// Value for the trader's `SSL_CERT_FILE`.
    fn file(&self) -> String {
        let file: &Path = &self.folder.path().join("authority.pem");
        file.to_str().unwrap().to_owned()
    }

    /// A server's configuration with a certificate of this authority.
    fn server(&self, params: &CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        Arc::new(config.unwrap())
    }
}

fn certificate_of(host: &str) -> CertificateParams {
    CertificateParams::new(vec![host.to_owned()]).unwrap()
}

/// A port that speaks TLS and passes everything on to an exchange.
struct TlsFront {
    port: u16,
    _serving: JoinSet<()>,
}

impl TlsFront {
    async fn start(exchange: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let port = ports::reserve();
        let listener = TcpListener::bind((HOST, port)).await.unwrap();
        let acceptor = TlsAcceptor::from(config);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that rejects the certificate ends the handshake.
                    let Ok(mut client) = acceptor.accept(socket).await else {
                        return;
                    };
                    let mut server = TcpStream::connect(exchange).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self {
            port,
            _serving: serving,
        }
    }

    /// A paper trader that calls the exchange through this port.
    fn trader(&self, nats: &NatsServer, exchange: &Exchange, authority: &Authority) -> TraderSetup {
        TraderSetup::new("tls", nats, exchange)
            .env("BINANCE_REST_URL", &format!("https://{HOST}:{}", self.port))
            .env("BINANCE_WS_URL", &format!("wss://{HOST}:{}", self.port))
            .env("SSL_CERT_FILE", &authority.file())
    }
}

#[tokio::test]
async fn trader_reads_rules_candles_and_streams_over_tls() {
    let (nats, exchange) = (NatsServer::with_streams().await, Exchange::start(&[]).await);
    let authority = Authority::new("trusted");
    let server = authority.server(&certificate_of(HOST));
    let front = TlsFront::start(exchange.address(), server).await;
    let trader = front.trader(&nats, &exchange, &authority).start();
    // The clock of the exchange is paused until a stream is subscribed to.
    trader.wait_until_running().await;
    let before = exchange.now().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(
        exchange.now().await > before,
        "the trader receives no stream"
    );
}

#[tokio::test]
async fn certificate_that_is_not_the_exchanges_is_one_clear_line() {
    let (nats, exchange) = (NatsServer::with_streams().await, Exchange::start(&[]).await);
    let (authority, other) = (Authority::new("trusted"), Authority::new("other"));
    let mut expired = certificate_of(HOST);
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2020, 2, 1);
    let cases = [
        (
            &authority,
            certificate_of("other.example"),
            "certificate not valid for name \"localhost\"",
        ),
        (
            &authority,
            expired,
            "invalid peer certificate: certificate expired",
        ),
        (
            &other,
            certificate_of(HOST),
            "invalid peer certificate: UnknownIssuer",
        ),
    ];
    for (issuer, certificate, expected) in cases {
        let front = TlsFront::start(exchange.address(), issuer.server(&certificate)).await;
        let trader = front.trader(&nats, &exchange, &authority);
        let mut process = trader.flags("--paper --dry-run").start().into_process();
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let lines = process.out();
        assert_eq!(code, 69, "{lines:#?}");
        let failed = lines.iter().find(|line| line.starts_with("FAIL  exchange"));
        let failed = failed.unwrap_or_else(|| panic!("no failed check: {lines:#?}"));
        assert!(failed.contains(expected), "{expected}: {failed}");
        let address = format!("https://{HOST}:{}", front.port);
        assert!(failed.contains(&address), "{address}: {failed}");
    }
}
