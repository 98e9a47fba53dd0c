//! The allow table from outside: what passes, as what, and all that does not.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a panic is how a test fails, and a table is as long as it must be"
)]

use bearish_socket_guard::allowlist::{AllowedRequest, Endpoint, match_request};

const ID: &str = "4f1c0000000000000000000000000000000000000000000000000000000000aa";
const OURS: &str = "%7B%22label%22%3A%7B%22com.docker.compose.project%3Dp%22%3Atrue%7D";

fn match_line(line: &str) -> Result<AllowedRequest, String> {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    match_request(method, path, query, "p")
}

#[test]
fn allowed_request_is_rebuilt_from_the_allowlist() {
    let list = format!("/containers/json?filters={OURS}%7D");
    let all = format!("/containers/json?all=1&filters={OURS}%7D");
    let events = format!(
        "/v1.41/events?since=1.5&filters={OURS}%2C%22type%22%3A%7B%22container%22%3Atrue%7D%7D"
    );
    let one = |rest: &str| format!("/containers/{ID}/{rest}");
    let rows = [
        ("GET /_ping", Endpoint::Ping, "/_ping".to_owned()),
        ("HEAD /_ping", Endpoint::Ping, "/_ping".to_owned()),
        (
            "GET /v1.41/_ping?",
            Endpoint::Ping,
            "/v1.41/_ping".to_owned(),
        ),
        (
            "GET /v1.24/version",
            Endpoint::Version,
            "/v1.24/version".to_owned(),
        ),
        (
            "GET /v1.150/info",
            Endpoint::Info,
            "/v1.150/info".to_owned(),
        ),
        ("GET /containers/json", Endpoint::List, list),
        ("GET /containers/json?all=1", Endpoint::List, all),
        ("GET /v1.41/events?since=1.5", Endpoint::Events, events),
        (
            "GET /containers/trader-1/json",
            Endpoint::Inspect,
            one("json"),
        ),
        ("GET /containers/json/json", Endpoint::Inspect, one("json")),
        (
            "GET /containers/a.b_c-d/json?size=0",
            Endpoint::Inspect,
            one("json?size=0"),
        ),
        (
            "GET /containers/a/logs?follow=1&stdout=1&tail=all&details=0",
            Endpoint::Logs,
            one("logs?follow=1&stdout=1&tail=all&details=0"),
        ),
        ("POST /containers/a/start", Endpoint::Start, one("start")),
        (
            "POST /containers/a/stop?t=8",
            Endpoint::Stop,
            one("stop?t=8"),
        ),
        (
            "POST /containers/a/kill?signal=SIGRTMIN%2B3",
            Endpoint::Kill,
            one("kill?signal=SIGRTMIN%2B3"),
        ),
        (
            "POST /v1.41/containers/a/restart?t=0",
            Endpoint::Restart,
            format!("/v1.41{}", one("restart?t=0")),
        ),
    ];
    for (line, what, expected) in rows {
        let call = match_line(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        assert_eq!(
            (call.endpoint, call.request_target(ID)),
            (what, expected),
            "{line}"
        );
        assert_eq!(what.is_mutating(), line.starts_with("POST"), "{line}");
        // The look-up of the container uses the caller's version too.
        let path = line.split(' ').nth(1).unwrap();
        assert!(path.starts_with(call.version_prefix()), "{line}");
        let has_version = path.starts_with("/v1.");
        assert_eq!(call.version_prefix().is_empty(), !has_version, "{line}");
    }
}

/// Docker normalizes paths and accepts many spellings, so the proxy must deny every path that is not exact.
#[test]
fn path_that_is_not_on_the_allowlist_is_denied() {
    let paths = [
        "",
        "/",
        "//",
        "/_ping/",
        "//_ping",
        "/_PING",
        "/_ping%00",
        "/_ping;x",
        "*",
        "_ping",
        "/%5fping",
        "/v1.41",
        "/v1.41/",
        "/v1.41//info",
        "//v1.41/info",
        "/v1.41/v1.41/info",
        "/v1/info",
        "/v2.0/info",
        "/v1.x/info",
        "/v1.4 1/info",
        "/v1.041/info/",
        "/v1.1/info",
        "/v1.23/info",
        "/v1.0041/info",
        "/v1.-41/info",
        "/v1.+41/info",
        "/V1.41/info",
        "/v1.41.1/info",
        "/v1.41%2finfo",
        "/v/info",
        "/v1./info",
        "/v1.41/../info",
        "/v1.41/./info",
        "/info/../containers/create",
        "/info/..",
        "/Info",
        "/info/",
        "/info.json",
        "/version/",
        "/events/",
        "/system/df",
        "/session",
        "/grpc",
        "/auth",
        "/build",
        "/commit",
        "/containers",
        "/containers/",
        "/containers/create",
        "/containers/prune",
        "/containers/json/",
        "/containers//json",
        "/containers/../json",
        "/containers/./json",
        "/containers/.../json",
        "/containers/%2e%2e/json",
        "/containers/%2E%2e/images/json",
        "/containers/a/../b/json",
        "/containers/a%2fb/json",
        "/containers/a/b/json",
        "/containers/a b/json",
        "/containers/a%20/json",
        "/containers/-a/json",
        "/containers/.a/json",
        "/containers/_a/json",
        "/containers/a\\b/json",
        "/containers/a/json/",
        "/containers/a//json",
        "/containers/a/JSON",
        "/Containers/a/json",
        "/containers/a/json%3f",
        "/containers/a#/json",
        "/containers/\u{e9}/json",
        "/containers/a/exec",
        "/containers/a/attach",
        "/containers/a/attach/ws",
        "/containers/a/archive",
        "/containers/a/export",
        "/containers/a/top",
        "/containers/a/stats",
        "/containers/a/changes",
        "/containers/a/wait",
        "/containers/a/resize",
        "/containers/a/rename",
        "/containers/a/update",
        "/containers/a/pause",
        "/containers/a/unpause",
        "/containers/a/copy",
        "/containers/a/start/",
        "/containers/a/stop/../start",
        "/containers/a",
        "/exec/a/start",
        "/exec/a/json",
        "/images/json",
        "/images/create",
        "/images/a/json",
        "/images/load",
        "/networks",
        "/networks/create",
        "/volumes",
        "/volumes/create",
        "/secrets",
        "/configs",
        "/services",
        "/nodes",
        "/swarm",
        "/swarm/unlockkey",
        "/plugins",
        "/tasks",
        "/distribution/a/json",
    ];
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "get",
    ] {
        for path in paths {
            assert!(
                match_request(method, path, None, "p").is_err(),
                "{method} {path}"
            );
        }
    }
    let long = "a".repeat(129);
    assert!(match_request("GET", &format!("/containers/{long}/json"), None, "p").is_err());
}

#[test]
fn path_is_allowed_with_its_own_method_only() {
    for path in [
        "_ping",
        "version",
        "info",
        "events",
        "containers/json",
        "containers/a/json",
    ] {
        for method in [
            "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "",
        ] {
            assert!(
                match_request(method, &format!("/{path}"), None, "p").is_err(),
                "{method} {path}"
            );
        }
    }
    for verb in ["start", "stop", "kill", "restart"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "post"] {
            let path = format!("/containers/a/{verb}");
            assert!(
                match_request(method, &path, None, "p").is_err(),
                "{method} {path}"
            );
        }
    }
    assert!(match_request("HEAD", "/info", None, "p").is_err());
}

#[test]
fn query_is_allowed_only_if_every_parameter_is_understood() {
    for line in [
        "GET /_ping?x",
        "GET /info?x=1",
        "GET /version?=",
        "GET /containers/json?all=yes",
        "GET /containers/json?all=1&all=0",
        "GET /containers/json?all=1&%61ll=0",
        "GET /containers/json?ALL=1",
        "GET /containers/json?before=a",
        "GET /containers/json?limit=-1",
        "GET /containers/json?filters=",
        "GET /containers/json?filters=x",
        "GET /containers/json?filters={}&filters={}",
        "GET /containers/json?filters={}&FILTERS={}",
        "GET /containers/json?filters[]={}",
        "GET /containers/json?filters={\"volume\":[\"x\"]}",
        "GET /containers/a/json?all=1",
        "GET /containers/a/logs?details=1",
        "GET /containers/a/logs?tail=-1",
        "GET /events?filters={\"type\":[\"image\"]}",
        "GET /events?since=1%0d%0aX:y",
        "GET /events?since=",
        "POST /containers/a/start?detachKeys=x",
        "POST /containers/a/start?checkpoint=x",
        "POST /containers/a/start?checkpoint-dir=/",
        "POST /containers/a/stop?t=-1",
        "POST /containers/a/stop?t=99999",
        "POST /containers/a/stop?t=1&t=2",
        "POST /containers/a/stop?t=1;signal=x",
        "POST /containers/a/kill?signal=",
        "POST /containers/a/kill?signal=a%20b",
        "POST /containers/a/kill?t=1",
    ] {
        assert!(match_line(line).is_err(), "{line}");
    }
    let long = format!("GET /containers/json?filters={}", "x".repeat(5000));
    assert!(match_line(&long).is_err());
}

#[test]
fn filter_can_only_narrow_the_own_project() {
    for filters in [
        "{}",
        "{\"label\":[\"com.docker.compose.project=other\"]}",
        "{\"label\":{\"com.docker.compose.project=other\":true}}",
        "{\"label\":[],\"label\":[]}",
    ] {
        let call = match_request(
            "GET",
            "/containers/json",
            Some(&format!("filters={filters}")),
            "p",
        );
        let target = call.unwrap().request_target("");
        assert!(
            target.contains("com.docker.compose.project%3Dp%22%3Atrue"),
            "{target}"
        );
    }
}

#[test]
fn grace_comes_from_caller_then_container_then_default() {
    let given = match_line("POST /containers/a/stop?t=3").unwrap();
    assert_eq!(given.grace(Some(8)), 3);
    let silent = match_line("POST /containers/a/stop").unwrap();
    assert_eq!((silent.grace(Some(8)), silent.grace(None)), (8, 10));
    assert_eq!(silent.grace(Some(u64::MAX)), 3600);
}
