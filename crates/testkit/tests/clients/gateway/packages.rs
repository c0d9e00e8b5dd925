//! What fetches packages: apt, pip and npm, from small archives of the test's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testkit::Scratch;

use super::{Gateway, text};
use crate::program::Run;
use crate::program_or_skip;
use crate::web::{Request, Response};

/// Serves the files of a folder; `index.html` for the folders in it.
fn files(root: PathBuf) -> impl Fn(&Request, Vec<u8>) -> Response + Clone + Send + Sync + 'static {
    move |request, _| {
        let mut path = root.join(request.path().trim_start_matches('/').replace("..", ""));
        if path.is_dir() {
            path.push("index.html");
        }
        let kind =
            if path.ends_with("index.html") { "text/html" } else { "application/octet-stream" };
        fs::read(path).map_or_else(|_| Response::not_found(), |bytes| Response::ok(kind, bytes))
    }
}

/// A command that only prepares.
#[track_caller]
fn prepare(command: &mut Command) -> String {
    let output = command.output().expect("start");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// An archive with so many packages.
fn debian(count: usize) -> Scratch {
    let archive = Scratch::new();
    let mut index = String::new();
    for number in 0..count {
        let tree = archive.path().join(format!("tree{number}"));
        fs::create_dir_all(tree.join("DEBIAN")).expect("a folder");
        let control = format!(
            "Package: tiny{number}\nVersion: 1.0\nArchitecture: all\n\
             Maintainer: Test <test@example.com>\nDescription: nothing\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).expect("write");
        let name = format!("tiny{number}.deb");
        let deb = archive.path().join(&name);
        prepare(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&deb));
        let sum = prepare(Command::new("sha256sum").arg(&deb));
        let (sum, _) = sum.split_once(' ').expect("a sum");
        let size = fs::metadata(&deb).expect("a file").len();
        let more = format!("Filename: ./{name}\nSize: {size}\nSHA256: {sum}\n\n");
        index.push_str(&(control + &more));
    }
    archive.write("Packages", index);
    archive
}

/// apt asks for many files at once on one connection, and reads the answers as they come.
#[test]
fn apt() {
    let program = program_or_skip!("BIFRONS_TEST_APT", "apt-get");
    program_or_skip!("BIFRONS_TEST_DPKG_DEB", "dpkg-deb");
    const COUNT: usize = 12;
    let archive = debian(COUNT);
    let gateway = Gateway::with(files(archive.path().to_path_buf()));
    let mut fetched = 0;
    for (scheme, origin) in
        [("http", &gateway.plain), ("http", &gateway.secret), ("socks5h", &gateway.plain)]
    {
        let home = Scratch::new();
        for folder in ["lists/partial", "archives/partial", "etc"] {
            fs::create_dir_all(home.path().join(folder)).expect("a folder");
        }
        home.write("status", "");
        let list = format!("deb [trusted=yes] {} ./\n", origin.url("/"));
        let list = home.write("etc/sources.list", list);
        let at = |name: &str| home.path().join(name).display().to_string();
        let apt = |proxy: &str| {
            Run::new(&program)
                .env("APT_CONFIG", "/dev/null")
                .args(["-q", "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Debug::NoLocking=1"])
                .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"])
                .args(["-o", "Acquire::Retries=0", "-o", "Acquire::http::Pipeline-Depth=10"])
                .args(["-o", &format!("Dir::Etc::SourceList={}", list.display())])
                .args(["-o", &format!("Dir::State::Lists={}", at("lists"))])
                .args(["-o", &format!("Dir::State::Status={}", at("status"))])
                .args(["-o", &format!("Dir::Cache={}", at(""))])
                .args(["-o", &format!("Acquire::https::CaInfo={}", text(&gateway.ca))])
                .args(["-o", &format!("Acquire::http::Proxy={proxy}")])
                .args(["-o", &format!("Acquire::https::Proxy={proxy}")])
        };
        let proxy = gateway.at(scheme);
        let said = apt(&proxy).arg("update").finish();
        assert_eq!(said.code, Some(0), "{scheme}: {}", said.text());
        let names = (0..COUNT).map(|number| format!("tiny{number}"));
        let said = apt(&proxy).arg("download").args(names).finish();
        assert_eq!(said.code, Some(0), "{scheme}: {}", said.text());
        for number in 0..COUNT {
            let got = said.file(&format!("tiny{number}_1.0_all.deb"));
            let whole = fs::read(archive.path().join(format!("tiny{number}.deb"))).expect("read");
            assert!(got == whole, "{scheme}: {number}: {} of {} bytes", got.len(), whole.len());
        }
        fetched += COUNT;
    }
    assert!(gateway.check_exit() > fetched);
    // To servers behind a SOCKS proxy it sends the credentials of the proxy itself.
    let relayed = gateway.plain.heads().into_iter().filter(|head| head.contains("\nVia:"));
    assert!(relayed.clone().count() > COUNT);
    assert!(relayed.clone().all(|head| !head.contains("Proxy-")), "{:?}", gateway.plain.heads());
    gateway.log();
}

/// `wheel.py FILE` makes a package with nothing in it.
const WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    info = "tiny-1.0.dist-info/"
    wheel.writestr("tiny.py", "said = 'hello'\n" * 5000)
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
"#;

#[test]
fn pip() {
    let Some(python) = crate::program::python("pip, socks") else { return };
    let index = Scratch::new();
    let folder = index.path().join("simple/tiny");
    fs::create_dir_all(&folder).expect("a folder");
    let name = "tiny-1.0-py3-none-any.whl";
    Run::new(&python).args(["-c", WHEEL]).arg(folder.join(name)).finish().ok();
    let page = format!("<!doctype html><a href=\"{name}\">{name}</a>");
    fs::write(folder.join("index.html"), page).expect("write");
    let gateway = Gateway::with(files(index.path().to_path_buf()));
    for (scheme, origin) in
        [("http", &gateway.plain), ("http", &gateway.secret), ("socks5h", &gateway.plain)]
    {
        let said = Run::new(&python)
            .args(["-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"])
            .args(["--retries", "0", "--cert", text(&gateway.ca), "--proxy", &gateway.at(scheme)])
            .args(["download", "--no-deps", "--index-url", &origin.url("/simple/"), "tiny"])
            .finish();
        assert_eq!(said.code, Some(0), "{scheme}: {}", said.text());
        assert_eq!(said.file(name), fs::read(folder.join(name)).expect("read"), "{scheme}");
    }
    assert_eq!(gateway.check_origins(), 6);
    assert!(gateway.log().iter().all(|line| line["status"] == 200));
}

#[test]
fn npm() {
    let npm = program_or_skip!("BIFRONS_TEST_NPM", "npm");
    let registry = Scratch::new();
    fs::create_dir(registry.path().join("package")).expect("a folder");
    registry.write("package/package.json", r#"{"name": "tiny", "version": "1.0.0"}"#);
    registry.write("package/index.js", "module.exports = 'hello';\n".repeat(5000));
    let tar = registry.path().join("tiny.tgz");
    prepare(
        Command::new("tar").arg("-C").arg(registry.path()).arg("-czf").arg(&tar).arg("package"),
    );
    let serve = files(registry.path().to_path_buf());
    let gateway = Gateway::with(move |request, body| match request.path() {
        "/tiny" => {
            let tarball = format!("http://{}/tiny.tgz", request.field("host").expect("Host"));
            let document = serde_json::json!({
                "name": "tiny",
                "dist-tags": { "latest": "1.0.0" },
                "versions": { "1.0.0": {
                    "name": "tiny", "version": "1.0.0", "dist": { "tarball": tarball },
                } },
            });
            Response::ok("application/json", document.to_string())
        }
        _ => serve(request, body),
    });
    let run = Run::new(&npm)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"])
        .arg("--no-update-notifier")
        .args([&format!("--registry={}", gateway.plain.url("/")), "--noproxy="])
        .args([&format!("--proxy={}", gateway.at("http")), "tiny"]);
    let said = run.finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    let got = said.file("node_modules/tiny/index.js");
    assert_eq!(got, fs::read(registry.path().join("package/index.js")).expect("read"));
    assert_eq!(gateway.check_origins(), 2, "{:?}", gateway.plain.heads());
    gateway.log();
}
