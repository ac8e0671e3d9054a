//! Where the agent asks whether the miner is healthy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

/// On loopback only: any other address is another machine's miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerProbe {
    pub address: SocketAddr,
    pub how: ProbeHow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeHow {
    /// GET this path: 200 to 399 is healthy.
    Http { path: String },
    /// `grpc.health.v1.Health/Check` of this service.
    Grpc { service: String },
    /// Connect to the port: accepting is healthy.
    Tcp,
}

const EXPECTED: &str =
    "http://127.0.0.1:PORT[/path], grpc://127.0.0.1:PORT[/service] or tcp://127.0.0.1:PORT";

impl MinerProbe {
    /// # Errors
    /// What is expected instead, without any part of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            // The parser reads the host as an address only for http://.
            Some(Host::Domain("localhost")) => Ipv4Addr::LOCALHOST.into(),
            Some(Host::Domain(name)) => name.parse().map_err(|_| EXPECTED)?,
            None => return Err(EXPECTED),
        };
        let bare = url.username().is_empty() && url.password().is_none();
        let port = url.port_or_known_default();
        let Some(port) = port.filter(|_| ip.is_loopback() && bare) else {
            return Err(EXPECTED);
        };
        let path = url.path().trim_start_matches('/');
        let how = match url.scheme() {
            "http" => ProbeHow::Http {
                path: match url.query() {
                    Some(query) => format!("/{path}?{query}"),
                    None => format!("/{path}"),
                },
            },
            "grpc" => ProbeHow::Grpc {
                service: path.into(),
            },
            "tcp" if path.is_empty() => ProbeHow::Tcp,
            _ => return Err(EXPECTED),
        };
        Ok(Self {
            address: SocketAddr::new(ip, port),
            how,
        })
    }
}

impl fmt::Display for MinerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.how {
            // A query may hold a token.
            ProbeHow::Http { path } => match path.split_once('?') {
                Some((path, _)) => write!(f, "http://{address}{path}?…"),
                None => write!(f, "http://{address}{path}"),
            },
            ProbeHow::Grpc { service } => write!(f, "grpc://{address}/{service}"),
            ProbeHow::Tcp => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_loopback_can_be_probed() {
        for text in [
            "http://127.0.0.1:80/",
            "grpc://127.0.0.1:9000/miner.v1.Miner",
            "grpc://[::1]:9000/",
            "tcp://127.0.0.2:7",
        ] {
            assert_eq!(MinerProbe::parse(text).unwrap().to_string(), text);
        }
        let deep = MinerProbe::parse("http://127.0.0.1:8080/health?token=hunter2").unwrap();
        assert_eq!(deep.to_string(), "http://127.0.0.1:8080/health?…");
        let path = "/health?token=hunter2".into();
        assert_eq!(deep.how, ProbeHow::Http { path });
        let local = MinerProbe::parse("tcp://localhost:7").unwrap();
        assert_eq!(local.to_string(), "tcp://127.0.0.1:7");
        for text in [
            "",
            "127.0.0.1:80",
            "http://10.0.0.1/health",
            "http://miner/health",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:7/path",
            "https://127.0.0.1/",
            "http://u:p@127.0.0.1/",
        ] {
            assert!(MinerProbe::parse(text).is_err(), "{text}");
        }
    }
}
