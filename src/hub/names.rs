//! What a user names: a repository, a revision, an endpoint, a token. Each is checked once, when
//! it is parsed, since all of them become parts of addresses, headers or paths.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

use super::HubError;

/// A model repository on the hub: `owner/name`, or `name` alone for the oldest ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoId(String);

/// A branch, tag, commit, or a pull request's `refs/pr/N`. `main` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

/// The hub's address, without a slash at the end. `https://huggingface.co` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

/// An access token. Never shown, in `Debug` neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl RepoId {
    /// The part after the owner.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        // The hub's own rules: huggingface_hub's `validate_repo_id`.
        let part_is_valid = |part: &str| {
            !part.is_empty()
                && part.bytes().all(is_name_byte)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        let valid = text.len() <= 96
            && text.split('/').count() <= 2
            && text.split('/').all(part_is_valid)
            && !text.ends_with(".git");
        if valid { Ok(Self(text.to_owned())) } else { Err(HubError::InvalidRepo(text.to_owned())) }
    }
}

impl Revision {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for Revision {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let part_is_valid = |part: &str| {
            !part.is_empty() && part.bytes().all(is_name_byte) && !part.starts_with(['-', '.'])
        };
        if text.split('/').all(part_is_valid) && !text.contains("..") {
            Ok(Self(text.to_owned()))
        } else {
            Err(HubError::InvalidRevision(text.to_owned()))
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self("https://huggingface.co".to_owned())
    }
}

impl FromStr for Endpoint {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let valid = Uri::from_str(text).is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.query().is_none()
        });
        if valid && !text.contains('#') {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(HubError::InvalidEndpoint(text.to_owned()))
        }
    }
}

impl Token {
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let token = text.trim();
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(token.to_owned()))
        } else {
            Err(HubError::InvalidToken)
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_hubs_rules() {
        for good in ["bert-base-uncased", "BAAI/bge-small-en-v1.5", "a_b/c.d"] {
            assert!(good.parse::<RepoId>().is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "a b/c", "a/b?x", "a/b#c",
            "a/b%2e", "a\\b", "-a/b", "a/b-", "a--b/c", "a/b.git", "é/b", "a/b\n",
        ] {
            assert!(bad.parse::<RepoId>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(97).parse::<RepoId>().is_err());
    }

    #[test]
    fn revisions_may_be_branches_tags_commits_and_pull_requests() {
        let commit = "e1b2c3d4e5f60718293a4b5c6d7e8f9012345678";
        for good in ["main", "v1.0", "refs/pr/1", commit] {
            assert!(good.parse::<Revision>().is_ok(), "{good}");
        }
        for bad in ["", "a//b", "/a", "a/", "../a", "a/../b", "a..b", "a b", "a?b", "a%2Fb", "-a"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_is_an_http_address_and_may_have_a_path() {
        let endpoint: Endpoint = "https://example.org/api/hf/".parse().unwrap();
        assert_eq!(endpoint.to_string(), "https://example.org/api/hf");
        for bad in ["", "huggingface.co", "ftp://a", "http://", "https://a/?b=c", "https://a/#b"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let token: Token = " hf_secret\n".parse().unwrap();
        assert_eq!(token.secret(), "hf_secret");
        assert!(!format!("{token:?}").contains("secret"));
        for bad in ["", " ", "two words", "line\nbreak"] {
            let error = bad.parse::<Token>().unwrap_err().to_string();
            assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
        }
    }
}
