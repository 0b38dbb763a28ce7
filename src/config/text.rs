//! Values that are written as text, with errors that say how to write them.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{self, Unexpected, Visitor};

use crate::auth::KeyHash;
use crate::telemetry::LogFilter;

/// `127.0.0.1:8080`, `[::]:80`.
pub fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse(deserializer, r#"an IP address and a port, such as "127.0.0.1:8080" or "[::]:80""#)
}

/// `info`, `info,polyhead::http=debug`.
pub fn log_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFilter, D::Error> {
    parse(deserializer, LogFilter::EXPECTED)
}

/// The SHA-256 of an API key.
pub fn key_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeyHash>, D::Error> {
    parse(deserializer, "64 hexadecimal digits, the SHA-256 of the key").map(Some)
}

/// `30s`, `250ms`, `1m 30s`.
pub mod duration {
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde::{Deserializer, de};

    pub use jiff::fmt::serde::unsigned_duration::friendly::compact::required::serialize;

    const EXPECTED: &str = r#"a duration that is not negative, such as "250ms", "30s" or "1m 30s""#;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let signed: SignedDuration = super::parse(deserializer, EXPECTED)?;
        Duration::try_from(signed).map_err(|_| {
            let found = format!("{signed:#}");
            de::Error::invalid_value(de::Unexpected::Str(&found), &EXPECTED)
        })
    }
}

fn parse<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
    expected: &'static str,
) -> Result<T, D::Error> {
    struct Text<T>(&'static str, PhantomData<T>);

    impl<T: FromStr> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Text(expected, PhantomData))
}
