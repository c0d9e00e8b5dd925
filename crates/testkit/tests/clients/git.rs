//! git over HTTP: clone and push, large packs in chunks.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Proxy, Scratch};

use crate::curl::forward;
use crate::gateway::Gateway;
use crate::program::Run;
use crate::program_or_skip;
use crate::web::{Pattern, Request, Response, Web};

/// Answers by `git http-backend`, which speaks CGI (RFC 3875).
fn backend(program: &Path, root: &Path, request: &Request, body: &[u8]) -> Response {
    let mut child = Command::new(program)
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", request.path())
        .env("QUERY_STRING", request.query())
        .env("CONTENT_TYPE", request.field("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.field("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", request.field("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend");
    let mut input = child.stdin.take().expect("stdin");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(body));
        child.wait_with_output().expect("git http-backend").stdout
    });
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a CGI head");
    let mut response = Response { status: 200, fields: Vec::new(), body: output[end + 4..].into() };
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a CGI field");
        match name {
            "Status" => response.status = value[..3].parse().expect("status"),
            _ => response.fields.push((name.to_owned(), value.to_owned())),
        }
    }
    response
}

fn git(program: &Path) -> Run {
    Run::new(program)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
        .args(["-c", "init.defaultBranch=main", "-c", "protocol.version=2"])
}

#[test]
fn clone_and_push_through_both_faces() {
    let program = program_or_skip!("BIFRONS_TEST_GIT", "git");
    let files = Scratch::new();
    let root = files.path().to_path_buf();
    let (bare, work): (PathBuf, PathBuf) = (root.join("project.git"), root.join("work"));
    if git(&program).args(["http-backend"]).finish().err.contains("is not a git command") {
        return println!("skipped: git has no http-backend");
    }
    git(&program).args(["init", "--quiet", "--bare"]).arg(&bare).finish().ok();
    let here = || git(&program).arg("-C").arg(&work);
    git(&program).arg("-C").arg(&bare).args(["config", "http.receivepack", "true"]).finish().ok();
    git(&program).args(["init", "--quiet"]).arg(&work).finish().ok();
    // Larger than what git sends in one piece (http.postBuffer, 1 MiB), and not compressible.
    Pattern::new().write_file(&work.join("large"), 60_000);
    let backend_program = program.clone();
    let origin = Web::with("127.0.0.1:0", None, move |request, body| {
        backend(&backend_program, &root, request, &body)
    });
    let face =
        Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url("")));
    let other = forward("");
    let (http, socks) =
        (format!("http://{}", other.first()), format!("socks5h://{}", other.first()));
    let ways = [
        (format!("http://{}/project.git", face.first()), ""),
        (origin.url("/project.git"), &*http),
        (origin.url_of("origin.localhost", "/project.git"), &*socks),
    ];
    for (number, (url, proxy)) in ways.into_iter().enumerate() {
        let proxy = format!("http.proxy={proxy}");
        std::fs::write(work.join("number"), number.to_string()).expect("write");
        here().args(["add", "."]).finish().ok();
        here().args(["commit", "--quiet", "-m", "more"]).finish().ok();
        here()
            // So small that the pack goes in chunks.
            .args(["-c", &proxy, "-c", "http.postBuffer=10000"])
            .args(["push", "--quiet", &url, "HEAD:main"])
            .finish()
            .ok();
        let clone = git(&program).args(["-c", &proxy, "clone", "--quiet", &url, "copy"]);
        let clone = clone.args(["--branch", "main"]).finish();
        assert_eq!(clone.code, Some(0), "{url}: {}", clone.text());
        assert_eq!(clone.file("copy/number"), number.to_string().into_bytes(), "{url}");
        Pattern::new().check(&clone.file("copy/large"), 60_000);
    }
    let chunked = |head: &String| head.contains("Transfer-Encoding: chunked\r\n");
    assert!(origin.heads().iter().any(chunked), "{:?}", origin.heads());
}

#[test]
fn through_a_gateway_that_asks_who_it_is() {
    let program = program_or_skip!("BIFRONS_TEST_GIT", "git");
    if git(&program).args(["http-backend"]).finish().err.contains("is not a git command") {
        return println!("skipped: git has no http-backend");
    }
    let files = Scratch::new();
    let root = files.path().to_path_buf();
    let (bare, work) = (root.join("project.git"), root.join("work"));
    git(&program).args(["init", "--quiet", "--bare"]).arg(&bare).finish().ok();
    git(&program).arg("-C").arg(&bare).args(["config", "http.receivepack", "true"]).finish().ok();
    git(&program).args(["init", "--quiet"]).arg(&work).finish().ok();
    let here = || git(&program).arg("-C").arg(&work);
    Pattern::new().write_file(&work.join("large"), 60_000);
    let backend_program = program.clone();
    let gateway =
        Gateway::with(move |request, body| backend(&backend_program, &root, request, &body));
    let digest = gateway.at("http").replace(
        &gateway.proxy.address("127.0.0.1:").to_string(),
        &gateway.proxy.address("127.0.0.8:").to_string(),
    );
    let ways = [
        (&gateway.plain, gateway.at("http"), "basic"),
        (&gateway.secret, gateway.at("http"), "anyauth"),
        (&gateway.plain, digest.clone(), "digest"),
        (&gateway.secret, digest, "anyauth"),
        (&gateway.secret, gateway.at("https"), "basic"),
        (&gateway.plain, gateway.at("socks5h"), "anyauth"),
    ];
    for (number, (origin, proxy, method)) in ways.into_iter().enumerate() {
        let settings = [
            format!("http.proxy={proxy}"),
            format!("http.proxyAuthMethod={method}"),
            format!("http.sslCAInfo={}", gateway.ca.display()),
            format!("http.proxySSLCAInfo={}", gateway.ca.display()),
        ];
        let with = |run: Run| settings.iter().fold(run, |run, setting| run.args(["-c", setting]));
        std::fs::write(work.join("number"), number.to_string()).expect("write");
        here().args(["add", "."]).finish().ok();
        here().args(["commit", "--quiet", "-m", "more"]).finish().ok();
        let url = origin.url("/project.git");
        // In chunks, which cannot be sent again after a 407.
        let push = with(here()).args(["-c", "http.postBuffer=10000"]);
        let push = push.args(["push", "--quiet", &url, "HEAD:main"]).finish();
        assert_eq!(push.code, Some(0), "{method} {proxy} {url}: {}", push.text());
        let clone = with(git(&program)).args(["clone", "--quiet", &url, "copy", "-b", "main"]);
        let clone = clone.finish();
        assert_eq!(clone.file("copy/number"), number.to_string().into_bytes(), "{}", clone.text());
        Pattern::new().check(&clone.file("copy/large"), 60_000);
    }
    gateway.check_origins();
    gateway.log();
}
