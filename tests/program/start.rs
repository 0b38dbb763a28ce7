//! Starting the server, finding it, asking after it; what the command line and the environment say.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use toml::toml;

use crate::process::{Process, Signal};
use crate::server::Server;
use crate::site::Site;

#[test]
fn the_server_prints_the_port_it_got_and_becomes_ready() {
    let site = Site::with(toml! { [server] listen = "127.0.0.1:8080" });
    let server = Server::start(site.serve().args(["--listen", "127.0.0.1:0"]));
    let port: u16 = server.address().strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0);
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.embed(&["fun"])[0].len(), 32);
    let ended = server.stop();
    assert_eq!(ended.stdout.len(), 1, "standard output is for the address: {:#?}", ended.stdout);
}

#[test]
fn two_servers_that_ask_for_any_port_get_different_ones() {
    let (one, other) = (Site::new(), Site::new());
    assert_ne!(one.start().url, other.start().url);
}

#[test]
fn the_health_command_tells_ready_from_not_ready_and_from_gone() {
    let site = Site::new();
    let server = site.start();
    let url = format!("{}/readyz", server.url);
    let health = || site.run(&["health", "--url", &url]);

    let ready = health();
    assert_eq!(ready.status.code(), Some(0), "{ready:#?}");

    let missing = site.run(&["health", "--url", &format!("{}/nothing", server.url)]);
    assert_eq!(missing.status.code(), Some(1), "{missing:#?}");
    assert!(missing.stderr[0].contains("404"), "{missing:#?}");

    server.end(Signal::Kill);
    let gone = health();
    assert_eq!(gone.status.code(), Some(1), "{gone:#?}");
    assert_eq!(gone.stderr.len(), 1, "{gone:#?}");
    assert!(gone.stderr[0].contains(&url), "{gone:#?}");
}

#[test]
fn version_and_help_name_the_program_and_its_commands() {
    let site = Site::new();
    let version = site.run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(version.stdout, [format!("polyhead {}", env!("CARGO_PKG_VERSION"))]);

    let help = site.run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = help.stdout.join("\n");
    for command in ["serve", "pull", "export", "health"] {
        assert!(text.contains(&format!("\n  {command} ")), "{command}: {text}");
    }
    let help = site.run(&["serve", "--help"]).stdout.join("\n");
    assert!(help.contains("--config <FILE>") && help.contains("--listen <ADDRESS:PORT>"), "{help}");
}

#[test]
fn a_misspelt_command_or_argument_is_a_usage_error_with_a_hint() {
    let site = Site::new();
    for (arguments, hint) in [
        (&["sevre"][..], "serve"),
        (&["serve", "--confg", "x"], "--config"),
        (&["serve", "--listen", "8080"], "--listen <ADDRESS:PORT>"),
        (&[], "Usage: polyhead <COMMAND>"),
    ] {
        let ended = site.run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
        assert!(ended.stderr.join("\n").contains(hint), "{arguments:?}: {ended:#?}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = toml! { [training] serve_untrained = false };
    settings.insert("server".into(), toml! { listen = "" }.into());
    settings["server"]["listen"] = taken.local_addr().unwrap().to_string().into();
    let site = Site::with(settings);
    let server = Server::start(
        site.serve()
            .env("POLYHEAD__SERVER__LISTEN", "127.0.0.1:0")
            .env("POLYHEAD__TRAINING__SERVE_UNTRAINED", "true")
            .env("POLYHEAD__TASKS__TOPIC__LABELS", r#"["News", "Sport"]"#)
            .env("POLYHEAD__STORE__URL", "sqlite://elsewhere/heads.db"),
    );
    assert_eq!(server.get("/heads/topic").body["labels"], json!(["News", "Sport"]));
    let answer = server.post("/classify", &json!({"inputs": "fun", "tasks": ["topic"]}));
    assert_eq!(answer.body["results"][0]["topic"]["trained"], false, "{answer:?}");
    assert!(site.path().join("elsewhere/heads.db").is_file());
    assert!(!site.data().exists());
}

#[test]
fn an_argument_wins_over_the_environment() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(
        site.serve()
            .env("POLYHEAD__SERVER__LISTEN", taken.local_addr().unwrap().to_string())
            .args(["--listen", "127.0.0.1:0"]),
    );
    server.stop();
}

#[test]
fn the_runtimes_telemetry_is_switched_off_whatever_the_environment_says() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    let site = Site::new();
    for value in [None, Some("0"), Some("1")] {
        let mut command = site.serve();
        match value {
            Some(value) => command.env(VARIABLE, value),
            None => command.env_remove(VARIABLE),
        };
        let server = Server::start(&mut command);
        assert_eq!(variable(&server, VARIABLE).as_deref(), Some("1"), "{value:?}");
        server.stop();
    }
}

#[test]
fn freed_memory_goes_back_to_the_system_unless_the_operator_settled_that() {
    const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
    let site = Site::new();
    for (given, expected) in [(None, "131072"), (Some("1048576"), "1048576")] {
        let mut command = site.serve();
        match given {
            Some(given) => command.env(VARIABLE, given),
            None => command.env_remove(VARIABLE),
        };
        let server = Server::start(&mut command);
        assert_eq!(variable(&server, VARIABLE).as_deref(), Some(expected));
        server.stop();
    }
}

/// A variable of the server's environment.
fn variable(server: &Server, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", server.process.id())).unwrap();
    let mut variables = environment
        .split(|&byte| byte == 0)
        .filter_map(|variable| str::from_utf8(variable).unwrap().split_once('='));
    variables.find(|&(found, _)| found == name).map(|(_, value)| value.to_owned())
}

#[test]
fn health_checks_are_answered_while_the_models_are_being_loaded() {
    let site = Site::new();
    let server = Server::listening(&mut loading_for_ever(&site));
    assert_eq!(server.get("/livez").status, 200);
    for path in ["/readyz", "/health", "/startupz"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.code()), (503, "starting"), "{path}: {answer:?}");
    }
    let early = server.post("/embed", &json!({"inputs": "fun"}));
    assert_eq!((early.status, early.code()), (503, "starting"), "{early:?}");
    let health = site.run(&["health", "--url", &format!("{}/readyz", server.url)]);
    assert_eq!(health.status.code(), Some(1), "{health:#?}");
    assert!(health.stderr[0].contains("503"), "{health:#?}");
}

/// A server whose model never finishes loading: one of its files is a pipe that nobody writes to.
pub fn loading_for_ever(site: &Site) -> std::process::Command {
    let model = site.path().join("model");
    crate::site::copy_folder(&crate::site::tiny(), &model);
    fs::remove_file(model.join("config.json")).unwrap();
    let made = Process::spawn(site.command("mkfifo").arg(model.join("config.json"))).ended();
    assert!(made.status.success(), "{made:#?}");
    site.configure(toml! { [models.tiny] path = "model" });
    site.serve()
}
