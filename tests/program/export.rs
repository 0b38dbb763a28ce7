//! `polyhead export`: a graph that serves as the weights did, or a clear error and no file.

use std::fs;
use std::path::Path;

use serde_json::json;
use toml::toml;

use crate::process::Ended;
use crate::site::{Site, contents, copy_folder, in_repository};

#[test]
fn an_exported_graph_is_served_with_the_same_embeddings() {
    let texts = ["fun", "This is a great film!", "the stock market was not good", "42 zebras"];
    for fixture in ["mean-normalized", "mean-old-names", "cls", "cls-normalized-f16"] {
        let site = with_model(fixture, |_| {});
        let from_weights = site.start();
        let expected = from_weights.embed(&texts);
        from_weights.stop();

        let before = contents(&site.path().join("model"));
        let ended = site.run(&["export", "model"]);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        assert!(ended.stdout[0].starts_with("model/onnx/model.onnx: "), "{ended:#?}");
        let graph = site.path().join("model/onnx/model.onnx");
        let mut after = contents(&site.path().join("model"));
        after.retain(|(path, _)| *path != graph);
        assert_eq!(after, before, "the graph is all that export adds");

        site.configure(toml! {
            [models.tiny]
            path = "model"
            file = "onnx/model.onnx"
        });
        let from_graph = site.start();
        let info = from_graph.get("/info").body.to_string();
        assert!(info.contains("model/onnx/model.onnx"), "{info}");
        for (found, expected) in from_graph.embed(&texts).iter().zip(&expected) {
            for (found, expected) in found.iter().zip(expected) {
                // The same operators on the same numbers; only the graph normalises by itself.
                let tolerance = 1e-6 * expected.abs().max(1.0);
                assert!((found - expected).abs() <= tolerance, "{fixture}: {found}, {expected}");
            }
        }
        from_graph.stop();
    }
}

#[test]
fn the_graph_goes_where_it_is_asked_to_and_pools_as_it_is_asked_to() {
    let site = with_model("mean-normalized", |model| {
        fs::remove_dir_all(model.join("1_Pooling")).unwrap();
        fs::remove_file(model.join("modules.json")).unwrap();
    });
    let asked = ["--pooling", "cls", "--normalize", "true", "--output", "new/folder/graph.onnx"];
    let ended = site.run(&[&["export", "model"][..], &asked].concat());
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stdout[0].contains("cls") && ended.stdout[0].contains("true"), "{ended:#?}");
    assert!(site.path().join("new/folder/graph.onnx").is_file());
    assert!(!site.path().join("model/onnx").exists());
}

#[test]
fn an_export_can_be_repeated_over_an_older_graph() {
    let site = with_model("cls", |model| {
        fs::create_dir(model.join("onnx")).unwrap();
        fs::write(model.join("onnx/model.onnx"), "older").unwrap();
    });
    for _ in 0..2 {
        assert_eq!(site.run(&["export", "model"]).status.code(), Some(0));
        let graph = fs::read(site.path().join("model/onnx/model.onnx")).unwrap();
        assert!(graph.len() > 1000, "{} bytes", graph.len());
    }
}

#[test]
fn a_folder_that_cannot_be_exported_is_told_and_left_as_it_is() {
    type Damage = fn(&Path);
    let damage: [(&str, Damage, &[&str]); 7] = [
        ("onnx-token-states", |_| {}, &["model", "no safetensors"]),
        ("cls", remove_pooling, &["model", "--pooling", "mean", "cls"]),
        ("cls", |model| fs::remove_dir_all(model).unwrap(), &["model", "is missing"]),
        ("cls", |model| cut(&model.join("model.safetensors")), &["model.safetensors"]),
        ("cls", |model| cut(&model.join("config.json")), &["config.json", "not valid"]),
        ("cls", not_bert, &["config.json"]),
        ("cls", |model| fs::write(model.join("onnx"), "a file").unwrap(), &["onnx/model.onnx"]),
    ];
    for (fixture, damage, told) in damage {
        let site = with_model(fixture, damage);
        let before = contents(site.path());
        let message = refused(site.run(&["export", "model"]));
        for part in told {
            assert!(message.contains(part), "{part:?} is not said: {message}");
        }
        assert_eq!(contents(site.path()), before, "{message}");
    }
}

#[test]
fn a_graph_that_cannot_take_its_place_leaves_nothing_behind() {
    let site = with_model("cls", |_| {});
    let before = contents(site.path());
    let message = refused(site.run(&["export", "model", "--output", "model"]));
    assert!(message.contains("model is there and is no ordinary file"), "{message}");
    assert_eq!(contents(site.path()), before);
}

#[test]
fn a_failed_export_leaves_the_older_graph() {
    let site = with_model("cls", |model| {
        fs::create_dir(model.join("onnx")).unwrap();
        fs::write(model.join("onnx/model.onnx"), "older").unwrap();
        cut(&model.join("model.safetensors"));
    });
    refused(site.run(&["export", "model"]));
    let graph = fs::read_to_string(site.path().join("model/onnx/model.onnx")).unwrap();
    assert_eq!(graph, "older");
}

#[test]
fn an_option_that_does_not_exist_lists_those_that_do() {
    let site = with_model("cls", |_| {});
    let ended = site.run(&["export", "model", "--pooling", "max"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    assert!(ended.stderr[0].contains("allowed: mean, cls"), "{ended:#?}");
    let ended = site.run(&["export", "model", "--precision", "bf16"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    assert!(ended.stderr[0].contains("allowed: fp32, int8"), "{ended:#?}");
}

#[test]
fn an_int8_graph_is_what_precision_int8_serves_from_the_weights() {
    let texts = ["fun", "This is a great film!", "the stock market was not good", "42 zebras"];
    let site = with_model("mean-normalized", |_| {});
    let asked = ["export", "model", "--precision", "int8", "--output", "int8.onnx"];
    let ended = site.run(&asked);
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stdout[0].contains(", int8, "), "{ended:#?}");

    site.configure(toml! {
        [models.tiny]
        path = "model"
        precision = "int8"
    });
    let from_weights = site.start();
    let info = from_weights.get("/info").body;
    assert_eq!(info["models"][0]["precision"], "int8", "{info}");
    let expected = from_weights.embed(&texts);
    from_weights.stop();

    fs::create_dir(site.path().join("model/onnx")).unwrap();
    fs::copy(site.path().join("int8.onnx"), site.path().join("model/onnx/model.onnx")).unwrap();
    site.configure(toml! {
        [models.tiny]
        path = "model"
        file = "onnx/model.onnx"
    });
    let from_graph = site.start();
    for (found, expected) in from_graph.embed(&texts).iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            // The same graph; only one of them normalises by itself.
            assert!((found - expected).abs() <= 1e-6, "{found}, {expected}");
        }
    }
    from_graph.stop();
}

/// A site that serves a changed copy of a fixture.
fn with_model(fixture: &str, change: impl FnOnce(&Path)) -> Site {
    let site = Site::with(toml! { [models.tiny] path = "model" });
    let model = site.path().join("model");
    copy_folder(&in_repository("tests/fixtures/tiny-bert").join(fixture), &model);
    change(&model);
    site
}

fn remove_pooling(model: &Path) {
    fs::remove_dir_all(model.join("1_Pooling")).unwrap();
}

fn cut(file: &Path) {
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
}

fn not_bert(model: &Path) {
    let file = model.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["model_type"] = json!("t5");
    fs::write(file, config.to_string()).unwrap();
}

/// The one line with which the program refused.
fn refused(ended: Ended) -> String {
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert_eq!(ended.stderr.len(), 1, "{ended:#?}");
    assert!(ended.stdout.is_empty(), "{ended:#?}");
    assert!(ended.stderr[0].starts_with("polyhead: "), "{ended:#?}");
    ended.stderr[0].clone()
}
