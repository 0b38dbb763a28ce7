//! A polyhead server, as the commands that are its clients reach it.

use std::fmt;
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{HeaderValue, Response, header};
use ureq::{Agent, Body, RequestBuilder, SendBody};

use crate::cli::authority::Authority;

/// Where the server is, and who asks it.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// The server's address.
    #[arg(
        long,
        value_name = "URL",
        env = "POLYHEAD_SERVER",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// Where the server asks for an API key. POLYHEAD_API_KEY is the better place: arguments show in process
    /// lists.
    #[arg(long, value_name = "KEY", env = "POLYHEAD_API_KEY", hide_env_values = true)]
    api_key: Option<ApiKey>,
    #[command(flatten)]
    authority: Authority,
}

/// An API key, shown by no `Debug`.
#[derive(Clone)]
struct ApiKey(String);

/// A client of one server.
pub struct Client {
    agent: Agent,
    /// Without a slash at its end.
    server: String,
    /// `Bearer KEY`.
    authorization: Option<HeaderValue>,
}

/// What the server said to a request that it did not answer as asked.
#[derive(Debug, thiserror::Error)]
#[error("{detail}{}", .position.as_ref().map(|it| format!(" (at {it})")).unwrap_or_default())]
pub struct Refusal {
    pub detail: String,
    /// Where in the request, such as `inputs[3]`.
    pub position: Option<String>,
}

/// The part of an `application/problem+json` that people read.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    position: Option<String>,
}

const CONNECT: Duration = Duration::from_secs(10);

/// A stream of events says at least every 15 seconds that it is there.
const SILENCE: Duration = Duration::from_secs(60);

/// For how long to come again to a server that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// # Errors
    /// The key cannot be sent, or the file of authorities not be read.
    pub fn client(&self) -> anyhow::Result<Client> {
        let server = self.server.trim_end_matches('/');
        let server = match server.contains("://") {
            true => server.to_owned(),
            false => format!("http://{server}"),
        };
        let authorization = self.api_key.as_ref().map(ApiKey::authorization).transpose()?;
        let config = Agent::config_builder()
            .tls_config(self.authority.tls()?)
            .http_status_as_error(false)
            .user_agent(concat!("polyhead/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE));
        // A server on this machine is asked itself, never through what HTTP_PROXY names.
        let config = if is_local(&server) { config.proxy(None) } else { config };
        Ok(Client { agent: config.build().into(), server, authorization })
    }
}

impl ApiKey {
    fn authorization(&self) -> anyhow::Result<HeaderValue> {
        // The key itself is not told.
        HeaderValue::try_from(format!("Bearer {}", self.0))
            .ok()
            .context("the API key has characters that cannot be sent")
    }
}

impl From<String> for ApiKey {
    fn from(key: String) -> ApiKey {
        ApiKey(key)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(..)")
    }
}

impl Client {
    /// The server's address, as users write it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A job's events, from behind the one with the id `seen`.
    pub fn events(&self, job: &str, seen: Option<&str>) -> anyhow::Result<impl Read + use<>> {
        let mut request = self.with_key(self.agent.get(self.url(&format!("/train/{job}/events"))));
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        Ok(self.checked(request.call())?.into_body().into_reader())
    }

    /// The answer to a JSON body. A server that is busy is asked again as soon as it allows.
    pub fn post(&self, path: &str, body: &Value, accept: &str) -> anyhow::Result<Response<Body>> {
        let began = Instant::now();
        loop {
            let request = self.with_key(self.agent.post(self.url(path)));
            let request = request.header(header::ACCEPT, accept);
            let answer = request.content_type("application/json").send(body.to_string());
            match answer.as_ref().ok().and_then(come_again_after) {
                Some(pause) if began.elapsed() + pause < PATIENCE => sleep(pause),
                _ => return self.checked(answer),
            }
        }
    }

    /// Sends what `body` gives as it comes, and gives the JSON of the answer.
    pub fn upload(
        &self,
        path: &str,
        query: Vec<(&str, String)>,
        media_type: &str,
        body: &mut dyn Read,
    ) -> anyhow::Result<Value> {
        let request = self.with_key(self.agent.post(self.url(path))).query_pairs(query);
        let answer = request.content_type(media_type).send(SendBody::from_reader(body));
        json(self.checked(answer)?)
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn checked(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<Response<Body>> {
        let mut answer = answer.with_context(|| format!("cannot reach {}", self.server))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let refusal = match serde_json::from_str(&text) {
            Ok(Problem { detail, position }) => Refusal { detail, position },
            Err(_) => Refusal {
                detail: format!("{} answers {status}, and not as polyhead does", self.server),
                position: None,
            },
        };
        Err(refusal.into())
    }
}

/// The JSON of an answer, however long.
pub fn json(answer: Response<Body>) -> anyhow::Result<Value> {
    let reader = std::io::BufReader::new(answer.into_body().into_reader());
    serde_json::from_reader(reader).context("the server's answer is not JSON")
}

/// What a server that is busy asks for (RFC 9110, section 10.2.3).
fn come_again_after(answer: &Response<Body>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (answer.status().as_u16() == 429).then(|| Duration::from_secs(seconds))
}

fn is_local(server: &str) -> bool {
    let host = server.parse::<ureq::http::Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned()));
    host.is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_scheme_and_end_in_a_slash() {
        for (given, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("https://example.org/embeddings/", "https://example.org/embeddings"),
        ] {
            let server =
                Server { server: given.to_owned(), api_key: None, authority: Authority::default() };
            assert_eq!(server.client().unwrap().server(), expected);
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/x"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["http://10.0.0.1", "https://example.org", "http://localhost.example.org"] {
            assert!(!is_local(remote), "{remote}");
        }
    }
}
