//! Bad input: each kind gets its own answer, which says what was wrong and where.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, assert_problem};

/// A body, and the status, code, position and words that it is answered with.
type Case<'a> = (&'a str, u16, &'a str, Option<&'a str>, &'a [&'a str]);

#[tokio::test]
async fn inputs_that_are_not_texts_are_refused_with_their_place() {
    let one_or_many = &["a string or a list of strings"];
    let cases: &[Case] = &[
        (r#"{"inputs": ""}"#, 422, "empty_input", Some("inputs[0]"), &["empty"]),
        (r#"{"inputs": " \n\t\u00a0"}"#, 422, "empty_input", Some("inputs[0]"), &["visible"]),
        (r#"{"inputs": ["a", ""]}"#, 422, "empty_input", Some("inputs[1]"), &["empty"]),
        (r#"{"inputs": []}"#, 422, "no_inputs", Some("inputs"), &["no inputs", "2048"]),
        (r#"{"inputs": 3}"#, 422, "invalid_request", Some("inputs"), one_or_many),
        (r#"{"inputs": true}"#, 422, "invalid_request", Some("inputs"), one_or_many),
        (r#"{"inputs": null}"#, 422, "invalid_request", Some("inputs"), one_or_many),
        (r#"{"inputs": {"a": 1}}"#, 422, "invalid_request", Some("inputs"), one_or_many),
        (r#"{"inputs": ["a", 5]}"#, 422, "invalid_request", Some("inputs[1]"), &["5", "string"]),
        (r#"{"inputs": [["a"]]}"#, 422, "invalid_request", Some("inputs[0]"), &["string"]),
        (r#"{"inputs": ["a", null]}"#, 422, "invalid_request", Some("inputs[1]"), &["null"]),
        (r#"{}"#, 422, "invalid_request", None, &["inputs", "missing"]),
    ];
    let app = TestApp::start().await;
    for route in ["/embed", "/classify"] {
        assert_refused(&app, route, cases).await;
    }
}

#[tokio::test]
async fn fields_that_do_not_exist_are_named() {
    let app = TestApp::start().await;
    for (route, body, field) in [
        ("/embed", json!({"inputs": "a", "nromalize": true}), "nromalize"),
        ("/classify", json!({"inputs": "a", "task": "topic"}), "task"),
        ("/train", json!({"examples": [], "lr": 0.1}), "lr"),
    ] {
        let (status, problem) = app.post(route, body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (422, Some("invalid_request")));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("unknown field") && detail.contains(field), "{detail}");
        assert!(detail.contains("expected"), "{detail} does not say what is allowed");
    }
    let body = json!({"examples": [{"text": "a", "label": "b"}]});
    let (status, problem) = app.post("/train", body).await;
    assert_eq!(status.as_u16(), 422);
    let position = problem["position"].as_str().unwrap();
    assert!(position.starts_with("examples[0]"), "{problem}");
}

#[tokio::test]
async fn numbers_that_json_does_not_have_are_refused() {
    let app = TestApp::start().await;
    for number in ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", ".5", "01"] {
        let body = format!(r#"{{"inputs": "a", "dimensions": {number}}}"#);
        let refused = app.send("/embed", "application/json", body).await;
        assert_problem(&refused, 400, "invalid_json", None, &["line 1 column"]);
        let body = format!(r#"{{"examples": [], "learning_rate": {number}}}"#);
        let refused = app.send("/train", "application/json", body).await;
        assert_problem(&refused, 400, "invalid_json", None, &["line 1 column"]);
    }
}

#[tokio::test]
async fn numbers_of_the_wrong_kind_are_refused_with_their_place() {
    let dimensions = Some("dimensions");
    let cases: &[Case] = &[
        (r#"{"inputs": "a", "dimensions": -1}"#, 422, "invalid_request", dimensions, &["-1"]),
        (r#"{"inputs": "a", "dimensions": 1.5}"#, 422, "invalid_request", dimensions, &["1.5"]),
        (r#"{"inputs": "a", "dimensions": "8"}"#, 422, "invalid_request", dimensions, &["\"8\""]),
        (
            r#"{"inputs": "a", "normalize": 1}"#,
            422,
            "invalid_request",
            Some("normalize"),
            &["boolean"],
        ),
        (
            r#"{"inputs": "a", "truncation_direction": "up"}"#,
            422,
            "invalid_request",
            Some("truncation_direction"),
            &["up", "Left", "Right"],
        ),
    ];
    assert_refused(&TestApp::start().await, "/embed", cases).await;
}

#[tokio::test]
async fn what_is_not_json_is_refused_with_the_place_of_the_fault() {
    let cases: &[Case] = &[
        (r#"{"inputs": "a""#, 400, "invalid_json", None, &["line 1 column 14"]),
        (r#"{"inputs": "a"} x"#, 400, "invalid_json", None, &["trailing", "column 17"]),
        (r#"{"inputs": "a"}{"inputs": "b"}"#, 400, "invalid_json", None, &["trailing"]),
        (r#"{'inputs': 'a'}"#, 400, "invalid_json", None, &["column 2"]),
        (r#"{"inputs": "\ud800"}"#, 400, "invalid_json", None, &["column"]),
        ("inputs=a", 400, "invalid_json", None, &["column 1"]),
        ("", 400, "empty_body", None, &["the body is empty"]),
        (" \n", 400, "empty_body", None, &["the body is empty"]),
    ];
    let app = TestApp::start().await;
    for route in ["/embed", "/classify"] {
        assert_refused(&app, route, cases).await;
    }
    let cases: &[Case] = &[
        (r#"{"examples": ["#, 400, "invalid_json", None, &["line 1 column 14"]),
        (r#"{"examples": []} x"#, 400, "invalid_json", None, &["trailing", "column 18"]),
        ("text,topic", 400, "invalid_json", None, &["column"]),
        ("", 400, "empty_body", None, &["the body is empty"]),
    ];
    assert_refused(&app, "/train", cases).await;
}

#[tokio::test]
async fn json_that_is_no_object_is_refused_in_the_words_of_json() {
    let app = TestApp::start().await;
    for route in ["/embed", "/classify", "/train"] {
        for (body, found) in [
            (r#"["a great film"]"#, "a list"),
            (r#""a great film""#, "a string"),
            ("3", "a number"),
            ("null", "null"),
            ("true", "a boolean"),
        ] {
            let refused = app.send(route, "application/json", body).await;
            assert_problem(&refused, 422, "invalid_request", None, &[found, "an object"]);
        }
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let app = TestApp::start().await;
    for (route, content_type, body) in [
        ("/embed", "application/json", b"{\"inputs\": \"caf\xe9\"}".as_slice()),
        ("/classify", "application/json", b"{\"inputs\": \"caf\xe9\"}"),
        ("/train", "application/json", b"{\"examples\": \"\xe9\"}"),
        ("/train", "application/x-ndjson", b"{\"text\": \"\xe9\"}"),
    ] {
        let (status, problem) = app.send(route, content_type, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert_eq!(problem["code"], "invalid_utf8", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        let place = body.iter().position(|&byte| byte == 0xe9).unwrap().to_string();
        assert!(detail.contains(&place), "{detail}");
    }
}

#[tokio::test]
async fn other_media_types_are_refused_with_those_that_are_taken() {
    let app = TestApp::start().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let body = r#"{"inputs": "a"}"#;
        for route in ["/embed", "/classify"] {
            let refused = app.send(route, content_type, body).await;
            let mentions = &[content_type, "application/json"];
            assert_problem(&refused, 415, "unsupported_media_type", None, mentions);
        }
        let refused = app.send("/train", content_type, body).await;
        let mentions = &[content_type, "application/json", "text/csv", "application/x-ndjson"];
        assert_problem(&refused, 415, "unsupported_media_type", None, mentions);
    }
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"]
    {
        let (status, _) = app.send("/embed", content_type, r#"{"inputs": "a"}"#).await;
        assert_eq!(status, StatusCode::OK, "{content_type}");
    }
    let without_type = app.request(Method::POST, "/embed").body(r#"{"inputs": "a"}"#);
    assert_eq!(answer(without_type).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_path_without_a_route_is_named() {
    let app = TestApp::start().await;
    for path in ["/embedding", "/embed/", "/heads/topic/nothing"] {
        let (status, problem) = app.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
        assert_eq!(problem["code"], "unknown_route", "{problem}");
    }
    assert_problem(&app.get("/embedding").await, 404, "unknown_route", None, &["/embedding"]);
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_a_problem_like_all_others() {
    let app = TestApp::start().await;
    for path in ["/heads/%FF", "/train/%FF", "/train/%FF/events"] {
        let (status, problem) = app.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert_eq!(problem["code"], "invalid_path", "{problem}");
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_take_is_refused_with_those_that_it_does() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        (Method::GET, "/embed", "POST"),
        (Method::DELETE, "/classify", "POST"),
        (Method::PUT, "/train", "GET,HEAD,POST"),
        (Method::POST, "/heads/topic", "DELETE,GET,HEAD,PUT"),
        (Method::POST, "/info", "GET,HEAD"),
        (Method::POST, "/readyz", "GET,HEAD"),
    ] {
        let response = app.request(method.clone(), path).send().await.unwrap();
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        let mut methods: Vec<&str> = allow.split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{path}");
        let refused = answer(app.request(method, path)).await;
        assert_problem(&refused, 405, "method_not_allowed", None, &[path, "allow"]);
    }
}

#[tokio::test]
async fn a_query_that_a_route_does_not_know_is_refused() {
    let app = TestApp::start().await;
    for (query, mention) in [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("state=done", "done"),
        ("page=2", "page"),
        ("before=yesterday", "`next` of a page"),
        ("before=", "`next` of a page"),
        // A UUID, but not as it is written here, where it would come before all others.
        ("before=01A2098B-E952-7606-B325-4B7336E6FAB1", "`next` of a page"),
    ] {
        let (status, problem) = app.get(&format!("/train?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(mention), "{detail}");
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_keeps_the_clients() {
    let app = TestApp::start().await;
    for (path, status) in [("/info", 200), ("/nothing", 404), ("/embed", 405), ("/readyz", 200)] {
        let own = app.request(Method::GET, path).header("x-request-id", "client-7").send().await;
        let own = own.unwrap();
        assert_eq!(own.status().as_u16(), status);
        assert_eq!(own.headers()["x-request-id"], "client-7", "{path}");
    }
    let made = async || {
        let response = app.request(Method::GET, "/info").send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let (one, other) = (made().await, made().await);
    assert!(!one.is_empty());
    assert_ne!(one, other);
}

async fn assert_refused(app: &TestApp, route: &str, cases: &[Case<'_>]) {
    for &(body, status, code, position, mentions) in cases {
        let refused: (StatusCode, Value) =
            app.send(route, "application/json", body.to_owned()).await;
        assert_eq!(refused.0.as_u16(), status, "{route} {body}: {}", refused.1);
        assert_problem(&refused, status, code, position, mentions);
    }
}
