//! Keys and certificates on the command line: made by the program, used by it.

use std::fs;

use toml::{Table, toml};

use crate::process::{Process, Signal};
use crate::server::Server;
use crate::site::Site;

/// What `polyhead key` prints: the table for the configuration, and the key.
fn key(site: &Site, arguments: &[&str]) -> (Table, String) {
    let made = site.run(&[&["key"][..], arguments].concat());
    assert_eq!(made.status.code(), Some(0), "{made:#?}");
    let [told] = &made.stderr[..] else { panic!("the key is told once: {made:#?}") };
    let (_, key) = told.rsplit_once(' ').unwrap();
    let config = made.stdout.join("\n");
    assert!(!config.contains(key), "{config}");
    (config.parse().unwrap(), key.to_owned())
}

#[test]
fn a_key_that_the_program_made_opens_a_server_and_shows_nowhere() {
    let site = Site::new();
    let (config, key) = key(&site, &["ci", "--scopes", "infer,train"]);
    assert_eq!(config["auth"]["keys"]["ci"]["scopes"], vec!["infer", "train"].into());
    site.configure(config);
    fs::write(site.path().join("texts.txt"), "a film\n").unwrap();
    let server = Server::start(site.serve().env("RUST_LOG", "trace"));
    let embed = |key: Option<&str>| {
        let mut command = site.polyhead(&["embed", "texts.txt"]);
        command.env("POLYHEAD_SERVER", &server.url);
        if let Some(key) = key {
            command.env("POLYHEAD_API_KEY", key);
        }
        Process::spawn(&mut command).ended()
    };
    let allowed = embed(Some(&key));
    assert_eq!((allowed.status.code(), allowed.stdout.len()), (Some(0), 1), "{allowed:#?}");
    let refused = embed(None);
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
    assert!(refused.stderr[0].contains("this needs an API key"), "{refused:#?}");
    let wrong = embed(Some("ph_that-nobody-has"));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:#?}");
    assert!(wrong.stderr[0].contains("not known") && !wrong.stderr[0].contains("nobody-has"));
    let authorization = format!("Bearer {key}");
    let answer =
        server.request("GET", "/train", &[("authorization", authorization.as_str())], Vec::new());
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = server.end(Signal::Term);
    let log = ended.stderr.join("\n");
    assert!(log.contains("key=\"ci\""), "{log}");
    assert!(!log.contains(&key) && !log.contains("nobody-has"), "a key is in the log");
}

#[test]
fn help_does_not_show_the_key_of_the_environment() {
    let site = Site::new();
    let mut help = site.polyhead(&["embed", "--help"]);
    let help = Process::spawn(help.env("POLYHEAD_API_KEY", "ph_do-not-show-me")).ended();
    let text = help.stdout.join("\n");
    assert!(text.contains("POLYHEAD_API_KEY") && !text.contains("show-me"), "{text}");
}

#[test]
fn the_programs_own_clients_speak_https() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let site = Site::with(toml! { [server.tls] certificate = "server.pem"
    key = "server.key" });
    let file = |name: &str| site.path().join(name);
    fs::write(file("server.pem"), made.cert.pem()).unwrap();
    fs::write(file("server.key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(file("texts.txt"), "a film\n").unwrap();
    let server = Server::listening(&mut site.serve());
    let address = server.url.strip_prefix("https://").unwrap();
    server.process.stderr.line_with("ready");

    let checked =
        site.run(&["health", "--url", &format!("{}/readyz", server.url), "--ca", "server.pem"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:#?}");
    let unknown = site.run(&["health", "--url", &format!("{}/readyz", server.url)]);
    assert_eq!(unknown.status.code(), Some(1), "no authority vouches for it: {unknown:#?}");
    let mut own = site.polyhead(&["health", "--config", "polyhead.toml"]);
    let own = Process::spawn(own.env("POLYHEAD__SERVER__LISTEN", address)).ended();
    assert_eq!(own.status.code(), Some(0), "{own:#?}");

    let arguments = ["embed", "texts.txt", "--server", &server.url, "--ca"];
    let embedded = site.run(&[&arguments[..], &["server.pem"]].concat());
    assert_eq!((embedded.status.code(), embedded.stdout.len()), (Some(0), 1), "{embedded:#?}");
    let missing = site.run(&[&arguments[..], &["no.pem"]].concat());
    assert_eq!(missing.stderr.len(), 1, "{missing:#?}");
    assert!(missing.stderr[0].contains("no.pem"), "{missing:#?}");
    server.stop();
}

#[test]
fn a_server_that_others_reach_without_keys_says_so() {
    let warning = "no API key is asked for";
    let site = Site::new();
    let server = Server::start(site.serve().args(["--listen", "0.0.0.0:0"]));
    assert!(server.stop().stderr.iter().any(|line| line.contains(warning)));
    let local = site.start();
    assert!(!local.stop().stderr.iter().any(|line| line.contains(warning)));
}
